"""Deliveries: which events are sent, when, and what they say."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from helpers.simulator import (
    EXAMPLES,
    IMAGE_REQUEST,
    LIP_SYNC_REQUEST,
    NOW,
    VIDEO_REQUEST,
    Receiver,
    connect,
    pass_time,
    request_with,
)
from helpers.waiting import until
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.webhooks import verify
from magic_hour_provider.simulator import Behavior, Simulator, Summary
from magic_hour_provider.simulator.webhooks.registration import EVENTS

Create = Callable[..., str]
Poll = Callable[..., dict[str, Any]]
CONTRACT = json.loads((Path(__file__).parents[2] / "data" / "webhook_events.json").read_text())
NAME = "Büro, naïve €"

REQUESTS = {"video": ("text-to-video", VIDEO_REQUEST), "image": ("ai-image-generator", IMAGE_REQUEST)}
REQUESTS["audio"] = ("ai-voice-generator", EXAMPLES["ai-voice-generator"]["json"])


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_follows_the_description(hooked: Simulator, receiver: Receiver, create: Create, event: str) -> None:
    """Each of the nine documented events is sent, and is what the published description says."""
    kind, _, what = event.partition(".")
    if what == "errored":
        hooked.inject_fault("job-outcome", status="error", code="no_source_face")
    job = create(*REQUESTS[kind])
    pass_time(hooked, 10_000)
    (sent,) = [body for body in receiver.bodies if body["type"] == event]
    jsonschema.validate(sent, CONTRACT["events"][event]["schema"])
    payload = sent["payload"]
    assert (payload["id"], payload["status"]) == (job, CONTRACT["events"][event]["project_status"])
    assert (payload["error"] or {}).get("code") == ("no_source_face" if what == "errored" else None)
    assert len(payload["downloads"]) == (what == "completed")
    assert hooked.summary().creates == 1


def test_the_events_are_the_documented_ones() -> None:
    """The simulator knows the events of the description and no others."""
    assert set(EVENTS) == set(CONTRACT["events"])


@pytest.mark.parametrize(("slug", "request_"), [*REQUESTS.values(), ("lip-sync", LIP_SYNC_REQUEST)])
def test_the_payload_is_what_a_poll_returns(
    hooked: Simulator, receiver: Receiver, create: Create, poll: Poll, slug: str, request_: dict[str, Any]
) -> None:
    """At each event's own moment a poll returns the same fields and values, links included, and the links work."""
    job = create(slug, request_)
    seconds = hooked.jobs()[0]["seconds"]
    for part in (0.2, 0.8):
        pass_time(hooked, part * seconds)
        assert receiver.bodies[-1]["payload"] == poll(job, TOOLS[slug].kind)
    assert [event.partition(".")[2] for event in receiver.events] == ["started", "completed"]
    assert httpx.get(receiver.bodies[-1]["payload"]["downloads"][0]["url"]).status_code == 200
    assert hooked.summary().creates == 1


def test_a_long_step_shows_each_event_as_of_its_time(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """When the clock jumps over a whole job, it started unsettled and without files, and completed settled."""
    create("lip-sync", LIP_SYNC_REQUEST)
    pass_time(hooked, 100_000)
    started, completed = (body["payload"] for body in receiver.bodies)
    assert (started["status"], started["credits_charged"], started["downloads"]) == ("rendering", 300, [])
    assert (completed["status"], completed["credits_charged"]) == ("complete", 240)
    assert hooked.summary() == Summary(creates=1, credits=240, deliveries=2)


def test_a_poll_does_not_change_the_deliveries(
    hooked: Simulator, receiver: Receiver, create: Create, poll: Poll
) -> None:
    """A poll before the deliveries, after the clock has jumped, does not change what they say."""
    job = create("lip-sync", LIP_SYNC_REQUEST)
    hooked.advance(100_000)
    assert poll(job, "video")["credits_charged"] == 240
    hooked.wait_for_deliveries()
    assert [body["payload"]["credits_charged"] for body in receiver.bodies] == [300, 240]
    assert hooked.summary().creates == 1


def test_names_in_any_script(hooked: Simulator, receiver: Receiver, client: httpx.Client) -> None:
    """Names are sent as UTF-8, as in the documented sample; half a character pair is escaped and harms nobody."""
    for name in (NAME, "\ud800"):
        body = json.dumps(IMAGE_REQUEST | {"name": name})
        assert client.post("/v1/ai-image-generator", content=body).status_code == 200
    pass_time(hooked, 1000)
    assert sorted({body["payload"]["name"] for body in receiver.bodies}) == [NAME, "\ud800"]
    assert any(NAME.encode() in body for _, body in receiver.requests)
    assert hooked.summary().creates == 2


@pytest.mark.parametrize(
    ("words", "events"),
    [
        ("", ["started", "completed"]),
        ("[[error]]", ["started", "errored"]),
        ("[[canceled]]", ["started"]),
        ("[[deleted]]", ["started"]),
        ("[[rendering]]", ["started"]),
        ("[[final-status:dreaming]]", ["started"]),
        ("[[final-status:draft]]", ["started"]),
        ("[[queued]]", []),
        ("[[seconds:0]]", ["completed"]),
    ],
)
def test_what_a_job_sends(hooked: Simulator, receiver: Receiver, create: Create, words: str, events: list[str]) -> None:
    """A job sends what it reaches: nothing when it is canceled, deleted or stays, no start if it takes no time."""
    create(request={"image_count": 1, "style": {"prompt": f"A lighthouse {words}"}})
    pass_time(hooked, *[1000] * 3)
    assert receiver.events == [f"image.{event}" for event in events]
    assert (hooked.summary().creates, hooked.stats()["webhooks"]["waiting"]) == (1, 0)


@pytest.mark.parametrize(("status", "events"), [("error", ["image.errored"]), ("canceled", []), ("gone", [])])
def test_immediate_outcomes(
    hooked: Simulator, receiver: Receiver, create: Create, status: str, events: list[str]
) -> None:
    """A job that has ended before its first poll has not started, and sends its end without time passing."""
    hooked.inject_fault("job-outcome", status=status, immediately=True)
    create()
    hooked.wait_for_deliveries()
    assert receiver.events == events
    pass_time(hooked, 1000)
    assert (receiver.events, hooked.summary().creates) == (events, 1)


def test_face_detection_sends_nothing(hooked: Simulator, receiver: Receiver, create: Create, upload: Any) -> None:
    """Face detection has no webhook."""
    create("face-detection", {"assets": {"target_file_path": upload(b"x", "image", "png")}})
    pass_time(hooked, 10_000)
    assert (receiver.events, hooked.jobs()[0]["status"], hooked.summary().creates) == ([], "complete", 1)


def test_deleted_jobs_send_nothing(receiver: Receiver) -> None:
    """A job deleted while it ran has sent its start, and nothing follows, whatever the deletion does to it."""
    for effect in ("removed", "canceled"):
        with Simulator(manual_clock=True, behavior=Behavior(delete_active=effect)) as sim, connect(sim) as http:
            sim.add_webhook(receiver.url)
            job = http.post("/v1/ai-image-generator", json=request_with()).json()["id"]
            pass_time(sim, 50)
            assert http.delete(f"/v1/image-projects/{job}").status_code == 204
            pass_time(sim, 1000)
            assert sim.summary().creates == 1
    assert receiver.events == ["image.started"] * 2


def test_they_come_when_the_clock_says(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """A job of 100 s starts after 20 and completes after 100 s of the clock: nothing comes before."""
    create(request=request_with())
    seen = []
    for step in (19.9, 0.1, 79.9, 0.1):
        pass_time(hooked, step)
        seen.append(len(receiver.requests))
    assert seen == [0, 1, 1, 2]
    stamps = [int(headers["magic-hour-event-timestamp"]) - NOW for headers, _ in receiver.requests]
    assert stamps == [20, 100]
    assert hooked.now() == NOW + 100
    assert hooked.summary() == Summary(creates=1, credits=10, deliveries=2)


def test_they_come_by_themselves(receiver: Receiver) -> None:
    """With a clock that runs, nobody has to move it or to ask."""
    with Simulator(webhook=receiver.url) as sim, connect(sim) as http:
        http.post("/v1/ai-image-generator", json=request_with(seconds=0.4))
        until(lambda: len(receiver.requests) == 2)
        sim.wait_for_deliveries()
        assert sim.summary() == Summary(creates=1, credits=10, deliveries=2)
    assert receiver.events == ["image.started", "image.completed"]


def test_only_events_that_are_wanted(sim: Simulator, receiver: Receiver, create: Create) -> None:
    """A webhook gets the events chosen for it; two webhooks get theirs each, with their own secrets."""
    with Receiver() as other:
        sim.add_webhook(receiver.url, events=["image.completed", "video.started"])
        sim.add_webhook(other.url, secret="whsec_other")
        create()
        create("text-to-video", VIDEO_REQUEST)
        pass_time(sim, 10_000)
        assert sorted(receiver.events) == ["image.completed", "video.started"]
        assert sorted(other.events) == ["image.completed", "image.started", "video.completed", "video.started"]
        for headers, body in other.requests:
            verify(body, headers, ["whsec_other"], sim.now())
    assert sim.summary() == Summary(creates=2, credits=130, deliveries=6)


def test_a_webhook_added_late(sim: Simulator, receiver: Receiver, create: Create) -> None:
    """A webhook gets what happens after it was added, also to jobs created before, and nothing of the past."""
    create(request=request_with())
    sim.advance(50)
    sim.add_webhook(receiver.url)
    pass_time(sim, 1000)
    assert (receiver.events, sim.summary().creates) == (["image.completed"], 1)


def test_a_jobs_deliveries_keep_their_order(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """Sixty jobs that end in one step: every event arrives once, each job's start before its end."""

    def hesitate(number: int, _: Any) -> int:
        time.sleep(0.001 * (number % 5))
        return 200

    receiver.answer = hesitate
    jobs = [create() for _ in range(60)]
    pass_time(hooked, 1000)
    events: dict[str, list[str]] = {}
    for body in receiver.bodies:
        events.setdefault(body["payload"]["id"], []).append(body["type"])
    assert events == {job: ["image.started", "image.completed"] for job in jobs}
    assert hooked.summary() == Summary(creates=60, credits=600, deliveries=120)
