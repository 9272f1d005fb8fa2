"""Faults injected into deliveries and their signatures."""

from __future__ import annotations

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
from magic_hour_provider.api.webhooks import SignatureError, verify
from magic_hour_provider.simulator import Simulator, Summary
from magic_hour_provider.simulator.faults.catalog import FAULTS, WEBHOOK
from magic_hour_provider.simulator.webhooks.registration import DEFAULT_SECRET

Create = Callable[..., str]
Poll = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("fault", "options", "events"),
    [
        ("lost-delivery", {}, ["completed"]),
        ("lost-delivery", {"event": "completed"}, ["started"]),
        ("lost-delivery", {"count": None}, []),
        ("lost-delivery", {"every": 2}, ["started"]),
        ("lost-delivery", {"tool": "text-to-video"}, ["started", "completed"]),
        ("lost-delivery", {"prompt": "lighthouse"}, ["completed"]),
        ("lost-delivery", {"prompt": "windmill"}, ["started", "completed"]),
        ("duplicate-delivery", {}, ["started", "started", "completed"]),
        ("duplicate-delivery", {"event": "completed"}, ["started", "completed", "completed"]),
        ("out-of-order-delivery", {}, ["completed", "started"]),
        ("late-delivery", {"seconds": 500}, ["completed", "started"]),
        ("late-delivery", {"seconds": 500, "event": "completed"}, ["started", "completed"]),
    ],
)
def test_faults_of_deliveries(
    hooked: Simulator, receiver: Receiver, create: Create, fault: str, options: dict[str, Any], events: list[str]
) -> None:
    """A delivery is lost, doubled, late or out of order; all that arrive are signed rightly; one job is created."""
    hooked.inject_fault(fault, **options)
    create(request=request_with())
    pass_time(hooked, *[10] * 70)
    assert [event.partition(".")[2] for event in receiver.events] == events
    for headers, body in receiver.requests:
        verify(body, headers, [DEFAULT_SECRET], float(headers["magic-hour-event-timestamp"]))
    stats = hooked.stats()
    assert stats["webhooks"]["lost"] == (fault == "lost-delivery") * (2 - len(events))
    injected = [attempt for attempt in hooked.deliveries() if attempt["fault"] == fault]
    assert len(injected) == stats["faults_injected"].get(fault, 0) * (2 if fault.startswith("dup") else 1)
    assert (stats["creates"]["accepted"], stats["webhooks"]["accepted"]) == (1, len(events))
    assert (stats["webhooks"]["waiting"], stats["webhooks"]["due"]) == (0, 0)


def test_late_and_out_of_order_by_the_clock(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """A late delivery comes so many seconds of the clock later, one out of order when the job is over."""
    hooked.inject_fault("late-delivery", seconds=30, prompt="first")
    hooked.inject_fault("out-of-order-delivery", prompt="second")
    first, second = create(request=request_with("first")), create(request=request_with("second [[canceled]]"))
    pass_time(hooked, 49)
    assert receiver.requests == []
    pass_time(hooked, 1)
    assert [body["payload"]["id"] for body in receiver.bodies] == [first]
    pass_time(hooked, 50)
    assert sorted((body["payload"]["id"], body["type"]) for body in receiver.bodies[1:]) == sorted(
        [(first, "image.completed"), (second, "image.started")]
    )
    assert hooked.summary().creates == 2


def test_every_second_delivery_is_lost(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """Of the deliveries of twenty jobs every second is lost for ever, and recorded, one by one."""
    hooked.inject_fault("lost-delivery", every=2)
    for _ in range(20):
        create()
    pass_time(hooked, *[1000] * 5)
    assert len(receiver.requests) == 20
    assert [attempt["outcome"] for attempt in hooked.deliveries()].count("lost") == 20
    assert hooked.stats()["webhooks"] == {
        "sent": 20,
        "accepted": 20,
        "refused": 0,
        "no_response": 0,
        "timeout": 0,
        "lost": 20,
        "abandoned": 0,
        "due": 0,
        "waiting": 0,
    }
    assert hooked.summary().creates == 20


@pytest.mark.parametrize(
    ("fault", "options"), [("wrong-signature", {}), ("expired-timestamp", {}), ("expired-timestamp", {"seconds": 301})]
)
def test_faults_of_signatures(sim: Simulator, create: Create, fault: str, options: dict[str, Any]) -> None:
    """A receiver that verifies refuses a forged or an old attempt, and accepts the retry, which is signed rightly."""
    refusals = []

    def check(number: int, _: Any) -> int:
        headers, body = receiver.requests[number - 1]
        try:
            verify(body, headers, [DEFAULT_SECRET], sim.now())
        except SignatureError:
            refusals.append(headers)
            return 401
        return 204

    with Receiver(check) as receiver:
        sim.add_webhook(receiver.url)
        sim.inject_fault(fault, **options)
        create(request=request_with(seconds=0))
        sim.wait_for_deliveries()
        pass_time(sim, 1)
    assert [attempt[1:] for attempt in delivery_outcomes(sim)] == [(1, "refused", 401), (2, "accepted", 204)]
    assert [attempt["fault"] for attempt in sim.deliveries()] == [fault, None]
    assert sim.stats()["faults_injected"] == {"job-duration": 1, fault: 1}
    (headers,) = refusals
    if fault == "expired-timestamp":  # rightly signed: what a replay looks like
        then = float(headers["magic-hour-event-timestamp"])
        assert then == NOW - options.get("seconds", 3600)
        verify(receiver.requests[0][1], headers, [DEFAULT_SECRET], then)
    assert sim.summary() == Summary(creates=1, credits=10, deliveries=2)


def test_every_fault_of_webhooks_is_tested() -> None:
    """A new fault of deliveries is one that these tests must cover."""
    tested = {"lost-delivery", "duplicate-delivery", "late-delivery", "out-of-order-delivery"}
    assert tested | {"wrong-signature", "expired-timestamp"} == {
        name for name, kind in FAULTS.items() if WEBHOOK in kind.endpoints
    }
