"""Secrets are loaded off the event loop, cached for a short time, and only for the configured connections."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter

import pytest

from helpers.clocks import MovableTime, set_clock
from helpers.waiting import HANG_S
from magic_hour_provider.clock import SimulatedClock
from magic_hour_provider.plugin.webhooks import secrets as module
from magic_hour_provider.plugin.webhooks.secrets import WebhookSecrets, get_webhook_conn_ids, load_webhook_secrets

CONFIGURED = frozenset({"mine", "other"})

pytestmark = pytest.mark.usefixtures("clock")  # tests move the time


class Connections:
    """Connections that can be changed, with the number of lookups of each."""

    def __init__(self, **secrets):
        self.secrets, self.lookups, self.threads = secrets, Counter(), set()

    def load(self, conn_id):
        """Load the secrets of a connection."""
        self.lookups[conn_id] += 1
        self.threads.add(threading.current_thread())
        found = self.secrets.get(conn_id, ())
        if isinstance(found, Exception):
            raise found
        return found


def test_many_deliveries_are_one_lookup(clock):
    """Those that come at once share it, in a thread; a changed secret is used half a minute later."""
    connections = Connections(mine=("old",))

    async def story():
        secrets = WebhookSecrets(CONFIGURED, connections.load)
        assert await asyncio.gather(*(secrets.get("mine") for _ in range(50))) == [("old",)] * 50
        connections.secrets["mine"] = ("new", "old")
        assert await secrets.get("mine") == ("old",)
        clock.advance(31)
        assert await secrets.get("mine") == ("new", "old")

    asyncio.run(story())
    assert connections.lookups == {"mine": 2}
    assert threading.main_thread() not in connections.threads


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_machine_whose_clock_is_set(monkeypatch, hours):
    """A replaced secret is refused, and the new one accepted, after half a minute, however the clock is set."""
    connections, time, set_by = Connections(mine=("old",)), MovableTime(), MovableTime()

    class SetClock(SimulatedClock):
        def now(self):
            return set_by.now()

        def monotonic(self):
            return self.timekeeper.now()

    set_clock(monkeypatch, SetClock(time))

    async def story():
        secrets = WebhookSecrets(CONFIGURED, connections.load)
        assert await secrets.get("mine") == ("old",)
        connections.secrets["mine"] = ("new",)
        set_by.advance(hours * 3600)
        assert await secrets.get("mine") == ("old",)
        time.advance(31)
        assert await secrets.get("mine") == ("new",)

    asyncio.run(story())


def test_a_secret_that_is_added(clock):
    """It is used half a minute later too: that there was none is cached like any other result."""
    connections = Connections()

    async def story():
        secrets = WebhookSecrets(CONFIGURED, connections.load)
        assert await secrets.get("mine") == ()
        connections.secrets["mine"] = ("new",)
        assert await secrets.get("mine") == ()
        clock.advance(31)
        assert await secrets.get("mine") == ("new",)

    asyncio.run(story())


def test_names_that_strangers_make_up():
    """No connection is looked up for ten thousand of them, nothing is kept, and the configured one is found."""
    connections = Connections(mine=("secret",), magic_hour_secret=("secret",))

    async def story():
        secrets = WebhookSecrets(CONFIGURED, connections.load)
        for number in range(10_000):
            assert await secrets.get(f"made_up_{number}") == ()
        for name in ("magic_hour_secret", "", "a/b", "MINE", "mine ", "x" * 10_000, "a\n", "é'", "\0"):
            assert await secrets.get(name) == ()
        assert await secrets.get("mine") == ("secret",)
        assert (secrets._cached.keys(), secrets._lookups) == ({"mine"}, {})

    asyncio.run(story())
    assert connections.lookups == {"mine": 1}


def test_a_store_of_secrets_that_fails(caplog):
    """As long as it fails there is no secret, with a line in the log; the failure is not cached."""
    connections = Connections(mine=ConnectionError("the vault is unavailable"))
    secrets = WebhookSecrets(CONFIGURED, connections.load)
    assert asyncio.run(secrets.get("mine")) == ()
    connections.secrets["mine"] = ("secret",)
    assert asyncio.run(secrets.get("mine")) == ("secret",)
    assert any("could not be read" in line for line in caplog.messages)


def test_a_store_of_secrets_that_is_slow(monkeypatch):
    """The event loop runs meanwhile, the other connection is served, and the response does not wait for ever."""
    asked, release = threading.Event(), threading.Event()

    def load(conn_id):
        if conn_id == "mine":
            asked.set()
            assert release.wait(HANG_S)
        return ("secret",)

    async def story():
        secrets = WebhookSecrets(CONFIGURED, load)
        monkeypatch.setattr(module, "_TIMEOUT_S", 0.05)
        waiting = asyncio.create_task(secrets.get("mine"))
        await asyncio.to_thread(asked.wait)
        monkeypatch.setattr(module, "_TIMEOUT_S", 60)
        assert await secrets.get("other") == ("secret",)
        assert await waiting == (), "it gave up while the lookup was still under way"
        assert not release.is_set()
        release.set()
        await asyncio.gather(*secrets._lookups.values())
        assert await secrets.get("mine") == ("secret",)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("setting", "conn_ids"),
    [
        (None, {"magic_hour_default"}),
        ("a", {"a"}),
        (" a, b ,,\nc ", {"a", "b", "c"}),
        ("", set()),
    ],
)
def test_the_setting(monkeypatch, setting, conn_ids):
    """Connection ids are separated by commas; by default there is the default connection, and by choice none."""
    monkeypatch.delenv("AIRFLOW__MAGIC_HOUR__WEBHOOK_CONN_IDS", raising=False)
    if setting is not None:
        monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__WEBHOOK_CONN_IDS", setting)
    assert get_webhook_conn_ids() == conn_ids


@pytest.mark.parametrize(
    ("extra", "secrets"),
    [
        ({"webhook_secret": "one"}, ("one",)),
        ({"webhook_secret": "one two"}, ("one", "two")),
        ({"webhook_secret": ["one", "two"]}, ("one", "two")),
        ({"webhook_secret": ""}, ()),
        ({"webhook_secret": 7}, ()),
        ({}, ()),
    ],
    ids=str,
)
def test_the_connections_extra(monkeypatch, extra, secrets, caplog):
    """One secret or several; a value of another type is none, and logged without its value."""
    monkeypatch.setenv("AIRFLOW_CONN_HOOKED", json.dumps({"conn_type": "magic_hour", "extra": extra}))
    assert load_webhook_secrets("hooked") == secrets
    assert any("webhook_secret must be" in line for line in caplog.messages) == (extra.get("webhook_secret") == 7)
