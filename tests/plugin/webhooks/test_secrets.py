"""Secrets are resolved off the event loop, kept for a short time, and strangers cannot make that expensive."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter

import pytest

from helpers.webhooks import MovedClock
from magic_hour_provider.plugin.webhooks import secrets as module
from magic_hour_provider.plugin.webhooks.secrets import WebhookSecrets, load_webhook_secrets


class Connections:
    """Connections that can be changed, with a count of how often each was looked up."""

    def __init__(self, **secrets):
        self.secrets, self.looked_up, self.threads = secrets, Counter(), set()

    def __call__(self, conn_id):
        """Resolve a connection."""
        self.looked_up[conn_id] += 1
        self.threads.add(threading.current_thread())
        found = self.secrets.get(conn_id, ())
        if isinstance(found, Exception):
            raise found
        return found


def test_many_deliveries_are_one_lookup():
    """Those that come at once wait for the same one, in a thread; a changed secret counts half a minute later."""
    connections, clock = Connections(mine=("old",)), MovedClock()

    async def story():
        secrets = WebhookSecrets(connections, clock, frozenset)
        assert await asyncio.gather(*(secrets.of("mine") for _ in range(50))) == [("old",)] * 50
        connections.secrets["mine"] = ("new", "old")
        assert await secrets.of("mine") == ("old",)
        clock.advance(31)
        assert await secrets.of("mine") == ("new", "old")

    asyncio.run(story())
    assert connections.looked_up == {"mine": 2}
    assert threading.main_thread() not in connections.threads


def test_a_secret_that_is_added_counts_soon():
    """That there was none is kept for a few seconds only."""
    connections, clock = Connections(), MovedClock()

    async def story():
        secrets = WebhookSecrets(connections, clock, frozenset)
        assert await secrets.of("mine") == ()
        connections.secrets["mine"] = ("new",)
        assert await secrets.of("mine") == ()
        clock.advance(6)
        assert await secrets.of("mine") == ("new",)

    asyncio.run(story())


def test_names_that_strangers_make_up():
    """Ten thousand of them cost few lookups and little memory, and the real connection is found all the same."""
    connections, clock = Connections(mine=("secret",)), MovedClock()

    async def story():
        secrets = WebhookSecrets(connections, clock, frozenset)
        assert await secrets.of("mine") == ("secret",)
        for number in range(10_000):
            assert await secrets.of(f"made_up_{number}") == ()
            if number % 100 == 0:
                clock.advance(31 if number % 1000 == 0 else 1)
        assert await secrets.of("mine") == ("secret",)
        assert len(secrets._known) <= module._MOST_KEPT

    asyncio.run(story())
    assert connections.looked_up["mine"] == 2
    assert connections.looked_up.total() < 1500


@pytest.mark.parametrize("name", ["magic_hour_default", "in_the_database", "had_one"])
def test_expected_names_do_not_wait_for_strangers(name):
    """While a hundred made-up names come every second, from the start and after a failed lookup."""
    connections, clock, found = Connections(**{name: ("secret",)}), MovedClock(), []

    async def story():
        secrets = WebhookSecrets(connections, clock, lambda: frozenset({"in_the_database"}))
        if name == "had_one":
            assert await secrets.of(name) == ("secret",)
        for second in range(60):
            # Airflow hides a store that fails, here when what was found first is no longer kept.
            connections.secrets[name] = () if 25 <= second < 40 else ("secret",)
            for number in range(100):
                assert await secrets.of(f"made_up_{second}_{number}") == ()
                clock.advance(0.01)
            found.append(await secrets.of(name) == ("secret",))
        assert all(found[:25]) and not any(found[33:40]) and all(found[46:])

    asyncio.run(story())


def test_strangers_names_in_a_slow_store():
    """They take no thread of the others, and only so many are under way."""
    release, asked = threading.Event(), Counter()

    def slow(conn_id):
        asked[conn_id] += 1
        if conn_id != "magic_hour_default":
            release.wait(10)
        return ("secret",) if conn_id == "magic_hour_default" else ()

    async def story():
        secrets = WebhookSecrets(slow, clock := MovedClock(), frozenset)
        strangers = []
        for number in range(200):
            strangers.append(asyncio.create_task(secrets.of(f"made_up_{number}")))
            await asyncio.sleep(0)
            clock.advance(1)
        async with asyncio.timeout(2):
            assert await secrets.of("magic_hour_default") == ("secret",)
            await asyncio.to_thread(lambda: None)
        assert len(secrets._asked) <= module._BURST
        release.set()
        await asyncio.gather(*strangers)

    asyncio.run(story())


def test_a_name_that_is_none():
    """No connection is looked up for it."""
    connections = Connections()
    secrets = WebhookSecrets(connections, MovedClock(), frozenset)
    for name in ("", "a/b", "a b", "x" * 251, "a\n", "é'"):
        assert asyncio.run(secrets.of(name)) == ()
    assert connections.looked_up == {}


def test_a_store_of_secrets_that_fails(caplog):
    """As long as it fails there is none, with a line in the log; it is asked again."""
    connections = Connections(mine=ConnectionError("the vault is away"))
    secrets = WebhookSecrets(connections, MovedClock(), frozenset)
    assert asyncio.run(secrets.of("mine")) == ()
    connections.secrets["mine"] = ("secret",)
    assert asyncio.run(secrets.of("mine")) == ("secret",)
    assert any("could not be read" in line for line in caplog.messages)


def test_a_store_of_secrets_that_is_slow(monkeypatch):
    """The loop goes on meanwhile, and the answer does not wait for it longer than Magic Hour does."""
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    release = threading.Event()

    def slow(conn_id):
        release.wait(10)
        return ("secret",)

    async def story():
        secrets = WebhookSecrets(slow, MovedClock(), frozenset)
        begun, ticks = time.monotonic(), 0
        asked = asyncio.create_task(secrets.of("mine"))
        while not asked.done():
            await asyncio.sleep(0.001)
            ticks += 1
        assert (await asked, ticks > 5, time.monotonic() - begun < 5) == ((), True, True)
        release.set()
        async with asyncio.timeout(10):
            while await secrets.of("mine") != ("secret",):  # noqa: ASYNC110 (what is waited for has no event)
                await asyncio.sleep(0.005)

    asyncio.run(story())


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
    """One secret or several; what is no secret is none, and said in the log without its value."""
    monkeypatch.setenv("AIRFLOW_CONN_HOOKED", json.dumps({"conn_type": "magic_hour", "extra": extra}))
    assert load_webhook_secrets("hooked") == secrets
    assert any("webhook_secret must be" in line for line in caplog.messages) == (extra.get("webhook_secret") == 7)
