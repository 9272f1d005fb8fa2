"""The pytest plugin: its fixture, its marker, its setting, and what it says about mistakes."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from magic_hour_provider import clock
from magic_hour_provider.api.webhooks import read_delivery, split_secrets, verify
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.simulator import Simulator

pytest_plugins = ["pytester"]

IMAGE_REQUEST = {"image_count": 1, "style": {"prompt": "a lighthouse at dawn"}}


def creates(sim: Simulator) -> int:
    """How many creates the simulator accepted."""
    return int(sim.stats()["creates"]["accepted"])


def test_the_connection_leads_to_the_simulator(magic_hour_simulator):
    """A hook with nothing but the default connection reaches it, and the counters say what was bought."""
    with MagicHourHook().get_conn() as client:
        assert client.base_url == magic_hour_simulator.url
        job = client.create("ai-image-generator", IMAGE_REQUEST)
    assert [made["id"] for made in magic_hour_simulator.jobs()] == [job.id]
    assert creates(magic_hour_simulator) == 1


def test_waiting_takes_no_time(magic_hour_simulator):
    """An hour of waiting, on a worker and on an event loop, is an hour of the simulator and an instant of ours."""
    began, before = time.monotonic(), clock.current().now()
    clock.current().sleep(1800)
    asyncio.run(clock.current().async_sleep(1800))
    assert 3600 <= clock.current().now() - before < 3660
    assert magic_hour_simulator.now() >= before + 3600
    assert time.monotonic() - began < 60


def test_webhooks(magic_hour_simulator):
    """The simulator sends webhooks, and the connection has the secret with which a receiver can check them."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.headers, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        magic_hour_simulator.add_webhook(f"http://127.0.0.1:{server.server_address[1]}/hook")
        with MagicHourHook().get_conn() as client:
            job = client.create("ai-image-generator", IMAGE_REQUEST)
        clock.current().sleep(60)
        magic_hour_simulator.wait_for_deliveries()
        server.shutdown()
    secrets = split_secrets(MagicHourHook().get_connection("magic_hour_default").extra_dejson["webhook_secret"])
    for headers, body in received:
        verify(body, headers, secrets, clock.current().now())
    assert [read_delivery(body).key for _, body in received] == [f"{job.id}:image.started", f"{job.id}:image.completed"]
    assert creates(magic_hour_simulator) == 1


@pytest.mark.magic_hour(real_time=True, conn_id=["one", "TWO"], credits=7, tier="pro")
def test_options(magic_hour_simulator):
    """Options set the account and name the connections; with real_time nobody's clock is touched."""
    for conn_id in ("one", "two"):
        with MagicHourHook(conn_id).get_conn() as client:
            account = client.get_account()
            assert (account.credits, account.tier) == (7, "pro")
    assert "AIRFLOW_CONN_MAGIC_HOUR_DEFAULT" not in os.environ
    assert abs(clock.current().now() - time.time()) < 5
    magic_hour_simulator.advance(3600)
    assert abs(clock.current().now() - time.time()) < 5


@pytest.mark.magic_hour(speed=1, credits=5)
class TestTheNearerMarkerCounts:
    """A marker on a test adds to the one on its class."""

    @pytest.mark.magic_hour(credits=9)
    def test_of_two(self, magic_hour_simulator):
        """The test's credits are taken."""
        assert magic_hour_simulator.stats()["credits"]["balance"] == 9


SUITE = """
import os
import httpx
from magic_hour_provider import clock
real, seen = clock.current(), {{}}

def test_with(magic_hour_simulator):
    seen["url"] = magic_hour_simulator.url
    assert magic_hour_simulator.url in os.environ["AIRFLOW_CONN_MAGIC_HOUR_DEFAULT"]
    assert "MAGIC_HOUR_API_KEY" not in os.environ
    {body}

def test_after():
    assert os.environ["AIRFLOW_CONN_MAGIC_HOUR_DEFAULT"] == "{{}}"
    assert os.environ["MAGIC_HOUR_API_KEY"] == "mhk_live_real"
    assert clock.current() is real
    try:
        httpx.get(seen["url"])
    except httpx.ConnectError:
        return
    raise AssertionError("it still listens")
"""


@pytest.mark.parametrize("body", ["pass", "raise OSError"], ids=["passing", "failing"])
def test_everything_is_undone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, body: str):
    """After a test, also a failing one, connection, key and clock are as before, and nobody listens any more."""
    monkeypatch.setenv("AIRFLOW_CONN_MAGIC_HOUR_DEFAULT", "{}")
    monkeypatch.setenv("MAGIC_HOUR_API_KEY", "mhk_live_real")
    pytester.makepyfile(SUITE.format(body=body))
    passed = 2 if body == "pass" else 1
    pytester.runpytest_inprocess("--strict-markers").assert_outcomes(passed=passed, failed=2 - passed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("sped=20", "The marker magic_hour has no option 'sped': it takes speed, credits,"),
        ("20", "The marker magic_hour takes its options by name, such as speed=20, not 20."),
        ("speed=0", "magic_hour_simulator cannot start: speed must be a number above 0, not 0."),
        ("speed=True", "The marker magic_hour option speed must be a number above 0, not True."),
        ("credits=-1", "magic_hour_simulator cannot start: credits must be 0 or more, not -1."),
        ("credits='9'", "The marker magic_hour option credits must be a whole number, not '9'."),
        ("tier='gold'", "magic_hour_simulator cannot start: tier must be one of free,"),
        ("conn_id=[]", "The marker magic_hour option conn_id must be a connection id or a list of them, not []."),
        ("webhook=8080", "The marker magic_hour option webhook must be an http address of this machine, not 8080."),
        ("webhook='http://10.0.0.1/'", "cannot start: The simulator sends webhooks to this machine only"),
        ("real_time=1", "The marker magic_hour option real_time must be True or False, not 1."),
    ],
)
def test_bad_options(pytester: pytest.Pytester, options: str, words: str):
    """A bad option is one sentence at the test's set-up, and nothing is started."""
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.magic_hour({options})
        def test_it(magic_hour_simulator):
            raise AssertionError
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    assert words in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize(("setting", "outcome"), [("5", {"passed": 1}), ("fast", {"errors": 1}), ("0", {"errors": 1})])
def test_the_setting(pytester: pytest.Pytester, setting: str, outcome: dict[str, int]):
    """``magic_hour_speed`` is the speed where a test names none: a job of 5 s is over after one; others are errors."""
    pytester.makeini(f"[pytest]\nmagic_hour_speed = {setting}")
    pytester.makepyfile(
        f"""
        from magic_hour_provider.hooks.magic_hour import MagicHourHook

        def test_it(magic_hour_simulator):
            with MagicHourHook().get_conn() as client:
                client.create("ai-image-generator", {IMAGE_REQUEST})
            magic_hour_simulator.advance(1.1)
            assert [job["status"] for job in magic_hour_simulator.jobs()] == ["complete"]
            assert magic_hour_simulator.stats()["creates"]["accepted"] == 1
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(**outcome)
    assert ("must be a number above 0" in result.stdout.str()) == ("errors" in outcome)


def test_the_fixture_is_documented(pytester: pytest.Pytester):
    """``pytest --fixtures`` and ``pytest --markers`` tell what there is."""
    fixtures = pytester.runpytest_inprocess("--fixtures").stdout.str()
    assert "magic_hour_simulator" in fixtures
    assert "An offline Magic Hour for this test" in fixtures
    assert "@pytest.mark.magic_hour(speed=1, credits=100_000" in pytester.runpytest_inprocess("--markers").stdout.str()
