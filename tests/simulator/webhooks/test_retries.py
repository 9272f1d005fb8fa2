"""Retries of deliveries that were not accepted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from helpers.simulator import (
    NOW,
    Receiver,
    delivery_outcomes,
    pass_time,
    request_with,
)
from helpers.waiting import HANG_S
from magic_hour_provider.api.webhooks import verify
from magic_hour_provider.simulator import Simulator, Summary
from magic_hour_provider.simulator.webhooks.registration import DEFAULT_SECRET

Create = Callable[..., str]
Poll = Callable[..., dict[str, Any]]
DAY_S = 24 * 3600


def test_retries_with_doubling_waits(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """After an answer that is not 2xx the same body comes again after 1, 2, 4 and 8 s, until it is accepted."""
    receiver.answer = lambda number, _: 200 if number == 5 else 500
    hooked.add_webhook(receiver.url, events=["image.completed"])
    create()
    pass_time(hooked, 1000)
    counts = [len(receiver.requests)]
    for wait in (1, 2, 4, 8):
        pass_time(hooked, wait - 0.01)
        counts.append(len(receiver.requests))
        pass_time(hooked, 0.01)
        counts.append(len(receiver.requests))
    assert counts == [1, 1, 2, 2, 3, 3, 4, 4, 5]
    pass_time(hooked, DAY_S)
    assert len({body for _, body in receiver.requests}) == 1
    for (headers, body), late in zip(receiver.requests, (0, 1, 3, 7, 15), strict=True):
        verify(body, headers, [DEFAULT_SECRET], NOW + 1000 + late)
    assert delivery_outcomes(hooked) == [
        *[("image.completed", number, "refused", 500) for number in range(1, 5)],
        ("image.completed", 5, "accepted", 200),
    ]
    stats = hooked.stats()["webhooks"]
    assert (stats["sent"], stats["accepted"], stats["refused"], stats["waiting"], stats["due"]) == (5, 1, 4, 0, 0)
    assert hooked.summary() == Summary(creates=1, credits=10, deliveries=5)


def test_retries_end_after_a_day(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """What is refused for 24 hours is abandoned, after 17 attempts, and counted so."""
    receiver.answer = lambda *_: 404
    hooked.add_webhook(receiver.url, events=["image.completed"])
    create()
    pass_time(hooked, 1000, *[2**exponent for exponent in range(20)])
    assert len(receiver.requests) == 17
    *attempts, last = delivery_outcomes(hooked)
    assert {attempt[2:] for attempt in attempts} == {("refused", 404)}
    assert last == ("image.completed", 17, "abandoned", None)
    assert {name: hooked.stats()["webhooks"][name] for name in ("sent", "abandoned", "waiting")} == {
        "sent": 17,
        "abandoned": 1,
        "waiting": 0,
    }
    assert hooked.summary().creates == 1


@pytest.mark.parametrize("status", [301, 307, 400, 401, 410, 429, 503])
def test_only_2xx_is_an_answer(hooked: Simulator, receiver: Receiver, create: Create, status: int) -> None:
    """A redirect is not followed, and a refusal of any kind is retried."""
    receiver.answer = lambda number, _: status if number == 1 else 299
    create(request=request_with(seconds=0))
    hooked.wait_for_deliveries()
    pass_time(hooked, 1)
    assert [attempt[2:] for attempt in delivery_outcomes(hooked)] == [("refused", status), ("accepted", 299)]
    assert (len(receiver.requests), hooked.summary().creates) == (2, 1)


def test_nobody_listens(sim: Simulator, create: Create) -> None:
    """Where nothing listens, or something that is no HTTP does, the delivery is retried."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        sim.add_webhook(f"http://127.0.0.1:{busy.getsockname()[1]}/")
        create(request=request_with(seconds=0))
        sim.wait_for_deliveries()
        busy.listen()

        def mumble() -> None:
            busy.settimeout(10)
            connection = busy.accept()[0]
            connection.recv(65536)
            connection.sendall(b"220 smtp.example.com\r\n")
            connection.close()

        listener = threading.Thread(target=mumble)
        listener.start()
        pass_time(sim, 1)
        listener.join(HANG_S)
    assert [attempt[1:] for attempt in delivery_outcomes(sim)] == [(1, "no_response", None), (2, "no_response", None)]
    assert sim.stats()["webhooks"]["waiting"] == 1
    assert sim.summary() == Summary(creates=1, credits=10, deliveries=2)


def test_a_slow_response_is_none(sim: Simulator, receiver: Receiver, create: Create) -> None:
    """A response that takes too long counts as none, although the receiver has the delivery: it comes twice."""
    done = threading.Event()

    def hesitate(number: int, _: Any) -> int:
        if number == 1:
            done.wait(HANG_S)
        return 200

    receiver.answer = hesitate
    sim.add_webhook(receiver.url, response_timeout=0.2)
    create(request=request_with(seconds=0))
    sim.wait_for_deliveries()
    sim.add_webhook(receiver.url, response_timeout=60)  # the retry has the time that a busy machine needs
    pass_time(sim, 1)
    done.set()
    assert [attempt[1:] for attempt in delivery_outcomes(sim)] == [(1, "timeout", None), (2, "accepted", 200)]
    assert (len(receiver.requests), sim.summary().creates) == (2, 1)
