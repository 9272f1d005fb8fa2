"""The thread that sends deliveries: when it runs, how it ends, and what it does not wait for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from helpers.simulator import (
    Receiver,
    connect,
    pass_time,
    request_with,
)
from helpers.waiting import until
from magic_hour_provider.simulator import Simulator, Summary
from magic_hour_provider.simulator.webhooks import queue

Create = Callable[..., str]
HELD_S = 600
Poll = Callable[..., dict[str, Any]]


def senders() -> set[threading.Thread]:
    """Return the running threads that send webhooks: also those of a simulator that many tests share."""
    return {thread for thread in threading.enumerate() if thread.name == "magic-hour-webhooks"}


def test_no_thread_without_webhooks(sim: Simulator, create: Create) -> None:
    """Without webhooks there is no thread for them."""
    before = senders()
    create()
    sim.advance(1000)
    assert (sim.summary(), senders() - before) == (Summary(creates=1, credits=10), set())


def test_closing_cuts_what_is_under_way() -> None:
    """A simulator closes at once although a receiver keeps it waiting, and its thread is gone."""
    hold, before = threading.Event(), senders()
    with Receiver(lambda *_: 200 if hold.wait(HELD_S) else 500) as receiver:
        with Simulator(manual_clock=True) as sim, connect(sim) as http:
            sim.add_webhook(receiver.url, response_timeout=HELD_S)
            http.post("/v1/ai-image-generator", json=request_with(seconds=0))
            until(lambda: receiver.requests)
            with pytest.raises(TimeoutError, match="webhook deliveries still under way: 1"):
                sim.wait_for_deliveries(timeout=0.01)
            assert (len(senders() - before), sim.summary().creates) == (1, 1)
            started = time.monotonic()
        assert time.monotonic() - started < HELD_S / 10
        assert senders() <= before
        hold.set()


def test_a_receiver_that_asks_back(sim: Simulator, client: httpx.Client, create: Create) -> None:
    """While it receives a delivery, a receiver may poll the job, create another one and move the clock."""
    seen = []

    def ask(number: int, body: dict[str, Any]) -> int:
        seen.append(client.get(f"/v1/image-projects/{body['payload']['id']}").json()["status"])
        if number == 2:
            create()
            sim.advance(1000)
        return 200

    with Receiver(ask) as receiver:
        sim.add_webhook(receiver.url)
        create()
        pass_time(sim, 1000)
        sim.wait_for_deliveries()
    assert (seen, sim.summary()) == (["complete"] * 4, Summary(creates=2, credits=20, polls=4, deliveries=4))


def test_what_waits_is_bounded(sim: Simulator, create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that is away does not fill the memory: what is too much is abandoned, and counted so."""
    monkeypatch.setattr(queue, "_MAX_WAITING", 3)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        sim.add_webhook(f"http://127.0.0.1:{closed.getsockname()[1]}/", events=["image.completed"])
        for _ in range(5):
            create()
        pass_time(sim, 1000)
    stats = sim.stats()["webhooks"]
    assert (stats["sent"], stats["no_response"], stats["abandoned"], stats["waiting"]) == (3, 3, 2, 3)
    assert sim.summary().creates == 5


@pytest.mark.parametrize("url", ["http://example.com/", ["http://127.0.0.1:1/", "http://example.com/"]])
def test_a_bad_address_at_the_start(url: Any) -> None:
    """A simulator with a webhook that leads elsewhere is not even created."""
    with pytest.raises(ValueError, match="this machine only"):
        Simulator(webhook=url)
