"""Webhooks that the simulator sends: which, when, how they are signed, and what can be made to go wrong."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as some

from helpers.simulator import EXAMPLES, IMAGE_REQUEST, NOW, Receiver, connect
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.webhooks import SignatureError, read_delivery, sign, verify
from magic_hour_provider.simulator import Behavior, Simulator, Summary
from magic_hour_provider.simulator.faults.catalog import FAULTS, WEBHOOK
from magic_hour_provider.simulator.webhooks import queue
from magic_hour_provider.simulator.webhooks.registration import DEFAULT_SECRET, EVENTS, WebhookError, sign_delivery

Create = Callable[..., str]
Poll = Callable[..., dict[str, Any]]

CONTRACT = json.loads((Path(__file__).parent.parent / "data" / "webhook_events.json").read_text())
VIDEO = {"end_seconds": 5, "style": {"prompt": "A lighthouse at dawn"}}
LIP_SYNC = {
    "assets": {
        "audio_file_path": "https://example.com/a.mp3",
        "video_file_path": "https://example.com/a.mp4",
        "video_source": "file",
    },
    "start_seconds": 0,
    "end_seconds": 10,
}
NAME = "Büro, naïve €"
DAY_S = 24 * 3600


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


@pytest.fixture
def hooked(sim: Simulator, receiver: Receiver) -> Simulator:
    """The simulator, with a webhook that leads to the receiver."""
    sim.add_webhook(receiver.url)
    return sim


def pass_time(sim: Simulator, *seconds: float) -> None:
    """Move the simulator's clock, each time until what is due has been sent."""
    for step in seconds:
        sim.advance(step)
        sim.wait_for_deliveries()


def ending(words: str = "", seconds: float = 100) -> dict[str, Any]:
    """Return a request for a picture whose words decide how it ends."""
    return {"image_count": 1, "style": {"prompt": f"A lighthouse [[seconds:{seconds:g}]] {words}"}}


def outcomes(sim: Simulator) -> list[tuple[str, int, str, int | None]]:
    """Return the attempts: event, number, outcome and status."""
    return [(one["type"], one["attempt"], one["outcome"], one["status"]) for one in sim.deliveries()]


# --- how they are signed


def test_signatures_agree_with_the_documented_ones() -> None:
    """The simulator, which shares no code with the receiving side, signs the documented samples as documented."""
    samples = CONTRACT["samples"]
    for sample in samples["deliveries"]:
        timestamp = int(sample["headers"]["magic-hour-event-timestamp"])
        assert sign_delivery(sample["raw_body"].encode(), samples["secret"], timestamp) == sample["headers"]


@given(some.binary(), some.text(some.characters(exclude_categories=["Cs"])), some.integers(0, 10**12))
def test_both_sides_sign_alike(body: bytes, secret: str, timestamp: int) -> None:
    """For any body, secret and time the simulator's signature is that of the receiving side."""
    assert sign_delivery(body, secret, timestamp) == sign(body, secret, timestamp)


def test_a_delivery_is_verified_and_read(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """What arrives is JSON, passes verification with the secret and with no other, and names the job."""
    job = create()
    pass_time(hooked, 1000)
    for headers, body in receiver.requests:
        verify(body, headers, [DEFAULT_SECRET], hooked.now())
        with pytest.raises(SignatureError):
            verify(body, headers, ["whsec_other"], hooked.now())
        assert headers["content-type"] == "application/json"
        assert (read_delivery(body).id, read_delivery(body).kind) == (job, "image")
    assert [read_delivery(body).event for _, body in receiver.requests] == ["started", "completed"]
    assert hooked.summary() == Summary(creates=1, credits=10, deliveries=2)
    assert str(hooked.summary()) == "1 create, 10 credits, 2 deliveries"


# --- what they say


REQUESTS = {"video": ("text-to-video", VIDEO), "image": ("ai-image-generator", IMAGE_REQUEST)}
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


@pytest.mark.parametrize(("slug", "request_"), [*REQUESTS.values(), ("lip-sync", LIP_SYNC)])
def test_the_payload_is_what_a_look_answers(
    hooked: Simulator, receiver: Receiver, create: Create, poll: Poll, slug: str, request_: dict[str, Any]
) -> None:
    """At each event's own moment a look answers the same fields and values, links included, and the links work."""
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
    create("lip-sync", LIP_SYNC)
    pass_time(hooked, 100_000)
    started, completed = (body["payload"] for body in receiver.bodies)
    assert (started["status"], started["credits_charged"], started["downloads"]) == ("rendering", 300, [])
    assert (completed["status"], completed["credits_charged"]) == ("complete", 240)
    assert hooked.summary() == Summary(creates=1, credits=240, deliveries=2)


def test_a_look_comes_no_sooner_than_the_event(
    hooked: Simulator, receiver: Receiver, create: Create, poll: Poll
) -> None:
    """Who looks first after the clock has jumped does not change what the deliveries say."""
    job = create("lip-sync", LIP_SYNC)
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


# --- which are sent, and when


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
    """A job sends what it passes: nothing when it is canceled, vanishes or stays, and no start if it takes no time."""
    create(request={"image_count": 1, "style": {"prompt": f"A lighthouse {words}"}})
    pass_time(hooked, *[1000] * 3)
    assert receiver.events == [f"image.{event}" for event in events]
    assert (hooked.summary().creates, hooked.stats()["webhooks"]["waiting"]) == (1, 0)


@pytest.mark.parametrize(("status", "events"), [("error", ["image.errored"]), ("canceled", []), ("gone", [])])
def test_endings_at_once(hooked: Simulator, receiver: Receiver, create: Create, status: str, events: list[str]) -> None:
    """A job that has ended before anybody could look has not started, and tells its ending without time passing."""
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
    """A job deleted while it ran has told its start, and nothing follows, whatever the deletion does to it."""
    for effect in ("removed", "canceled"):
        with Simulator(manual_clock=True, behavior=Behavior(delete_active=effect)) as sim, connect(sim) as http:
            sim.add_webhook(receiver.url)
            job = http.post("/v1/ai-image-generator", json=ending()).json()["id"]
            pass_time(sim, 50)
            assert http.delete(f"/v1/image-projects/{job}").status_code == 204
            pass_time(sim, 1000)
            assert sim.summary().creates == 1
    assert receiver.events == ["image.started"] * 2


def test_they_come_when_the_clock_says(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """A job of 100 s starts after 20 and completes after 100: nothing comes before, and no real time passes."""
    began = time.monotonic()
    create(request=ending())
    seen = []
    for step in (19.9, 0.1, 79.9, 0.1):
        pass_time(hooked, step)
        seen.append(len(receiver.requests))
    assert seen == [0, 1, 1, 2]
    stamps = [int(headers["magic-hour-event-timestamp"]) - NOW for headers, _ in receiver.requests]
    assert stamps == [20, 100]
    assert time.monotonic() - began < 20
    assert hooked.summary() == Summary(creates=1, credits=10, deliveries=2)


def test_they_come_by_themselves(receiver: Receiver) -> None:
    """With a clock that runs, nobody has to move it or to ask."""
    with Simulator(webhook=receiver.url) as sim, connect(sim) as http:
        http.post("/v1/ai-image-generator", json=ending(seconds=0.4))
        deadline = time.monotonic() + 20
        while len(receiver.requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        sim.wait_for_deliveries()
        assert sim.summary() == Summary(creates=1, credits=10, deliveries=2)
    assert receiver.events == ["image.started", "image.completed"]


def test_only_events_that_are_wanted(sim: Simulator, receiver: Receiver, create: Create) -> None:
    """A webhook gets the events chosen for it; two webhooks get theirs each, with their own secrets."""
    with Receiver() as other:
        sim.add_webhook(receiver.url, events=["image.completed", "video.started"])
        sim.add_webhook(other.url, secret="whsec_other")
        create()
        create("text-to-video", VIDEO)
        pass_time(sim, 10_000)
        assert sorted(receiver.events) == ["image.completed", "video.started"]
        assert sorted(other.events) == ["image.completed", "image.started", "video.completed", "video.started"]
        for headers, body in other.requests:
            verify(body, headers, ["whsec_other"], sim.now())
    assert sim.summary() == Summary(creates=2, credits=130, deliveries=6)


def test_a_webhook_made_late(sim: Simulator, receiver: Receiver, create: Create) -> None:
    """A webhook gets what happens after it was made, also to jobs made before, and nothing of the past."""
    create(request=ending())
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


# --- repeats


def test_repeats_with_doubling_waits(hooked: Simulator, receiver: Receiver, create: Create) -> None:
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
    assert outcomes(hooked) == [
        *[("image.completed", number, "refused", 500) for number in range(1, 5)],
        ("image.completed", 5, "accepted", 200),
    ]
    stats = hooked.stats()["webhooks"]
    assert (stats["sent"], stats["accepted"], stats["refused"], stats["waiting"], stats["due"]) == (5, 1, 4, 0, 0)
    assert hooked.summary() == Summary(creates=1, credits=10, deliveries=5)


def test_repeats_end_after_a_day(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """What is refused for 24 hours is dropped, after 17 attempts, and the books say so."""
    receiver.answer = lambda *_: 404
    hooked.add_webhook(receiver.url, events=["image.completed"])
    create()
    pass_time(hooked, 1000, *[2**exponent for exponent in range(20)])
    assert len(receiver.requests) == 17
    *attempts, last = outcomes(hooked)
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
    """A redirect is not followed, and a refusal of any kind is repeated."""
    receiver.answer = lambda number, _: status if number == 1 else 299
    create(request=ending(seconds=0))
    hooked.wait_for_deliveries()
    pass_time(hooked, 1)
    assert [attempt[2:] for attempt in outcomes(hooked)] == [("refused", status), ("accepted", 299)]
    assert (len(receiver.requests), hooked.summary().creates) == (2, 1)


def test_nobody_listens(sim: Simulator, create: Create) -> None:
    """Where nobody listens, or something that is no HTTP does, the delivery is repeated, and arrives later."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        sim.add_webhook(f"http://127.0.0.1:{busy.getsockname()[1]}/")
        create(request=ending(seconds=0))
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
        listener.join(10)
    assert [attempt[1:] for attempt in outcomes(sim)] == [(1, "no_response", None), (2, "no_response", None)]
    assert sim.stats()["webhooks"]["waiting"] == 1
    assert sim.summary() == Summary(creates=1, credits=10, deliveries=2)


def test_a_slow_answer_is_none(sim: Simulator, receiver: Receiver, create: Create) -> None:
    """An answer that takes too long counts as none, although the receiver has the delivery: it comes twice."""
    done = threading.Event()

    def hesitate(number: int, _: Any) -> int:
        if number == 1:
            done.wait(20)
        return 200

    receiver.answer = hesitate
    sim.add_webhook(receiver.url, response_timeout=0.2)
    create(request=ending(seconds=0))
    sim.wait_for_deliveries()
    pass_time(sim, 1)
    done.set()
    assert [attempt[1:] for attempt in outcomes(sim)] == [(1, "timeout", None), (2, "accepted", 200)]
    assert (len(receiver.requests), sim.summary().creates) == (2, 1)


# --- what can be made to go wrong


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
    """A delivery is lost, doubled, late or out of order as ordered; all that arrive are good; the job is made once."""
    hooked.inject_fault(fault, **options)
    create(request=ending())
    pass_time(hooked, *[10] * 70)
    assert [event.partition(".")[2] for event in receiver.events] == events
    for headers, body in receiver.requests:
        verify(body, headers, [DEFAULT_SECRET], float(headers["magic-hour-event-timestamp"]))
    books = hooked.stats()
    assert books["webhooks"]["lost"] == (fault == "lost-delivery") * (2 - len(events))
    struck = [attempt for attempt in hooked.deliveries() if attempt["fault"] == fault]
    assert len(struck) == books["faults_injected"].get(fault, 0) * (2 if fault.startswith("dup") else 1)
    assert (books["creates"]["accepted"], books["webhooks"]["accepted"]) == (1, len(events))
    assert (books["webhooks"]["waiting"], books["webhooks"]["due"]) == (0, 0)


def test_late_and_out_of_order_by_the_clock(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """A late delivery comes so many seconds of the clock later, one out of order when the job is over."""
    hooked.inject_fault("late-delivery", seconds=30, prompt="first")
    hooked.inject_fault("out-of-order-delivery", prompt="second")
    first, second = create(request=ending("first")), create(request=ending("second [[canceled]]"))
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
    """Of the deliveries of twenty jobs every second is lost for ever, as the books say, one by one."""
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
    """A receiver that verifies refuses a forged or an old attempt, and accepts the repeat, which is signed rightly."""
    refusals = []

    def judge(number: int, _: Any) -> int:
        headers, body = receiver.requests[number - 1]
        try:
            verify(body, headers, [DEFAULT_SECRET], sim.now())
        except SignatureError:
            refusals.append(headers)
            return 401
        return 204

    with Receiver(judge) as receiver:
        sim.add_webhook(receiver.url)
        sim.inject_fault(fault, **options)
        create(request=ending(seconds=0))
        sim.wait_for_deliveries()
        pass_time(sim, 1)
    assert [attempt[1:] for attempt in outcomes(sim)] == [(1, "refused", 401), (2, "accepted", 204)]
    assert [attempt["fault"] for attempt in sim.deliveries()] == [fault, None]
    assert sim.stats()["faults_injected"] == {"job-duration": 1, fault: 1}
    (headers,) = refusals
    if fault == "expired-timestamp":  # rightly signed: what a replay looks like
        then = float(headers["magic-hour-event-timestamp"])
        assert then == NOW - options.get("seconds", 3600)
        verify(receiver.requests[0][1], headers, [DEFAULT_SECRET], then)
    assert sim.summary() == Summary(creates=1, credits=10, deliveries=2)


def test_every_fault_of_webhooks_is_tested() -> None:
    """A fault that the simulator learns is one that these tests must judge."""
    tested = {"lost-delivery", "duplicate-delivery", "late-delivery", "out-of-order-delivery"}
    assert tested | {"wrong-signature", "expired-timestamp"} == {
        name for name, kind in FAULTS.items() if WEBHOOK in kind.endpoints
    }


# --- registering them


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        8080,
        "https://127.0.0.1/hook",
        "http://example.com/",
        "http://127.0.0.1.example.com/",
        "http://10.0.0.1:8080/",
        "http://0.0.0.0:8080/",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1@example.com/",
        "http://user:word@127.0.0.1/",
        "http://127.0.0.1\\@example.com/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:port/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/#part",
        "http://127.0.0.1/\r\nHost: example.com",
        "http://localhost.example.com/",
        "http://[::2]/",
        "//127.0.0.1/",
        "ftp://127.0.0.1/",
    ],
)
def test_only_to_this_machine(sim: Simulator, url: Any) -> None:
    """Any other address is refused in a sentence that names one that works, by Python and by HTTP."""
    with pytest.raises(WebhookError, match=r"to this machine only: use an address such as http://127\.0\.0\.1:8080"):
        sim.add_webhook(url)
    answer = httpx.post(f"{sim.url}/_simulator/webhooks", json={"url": url})
    assert answer.status_code == 400
    assert "this machine only" in answer.json()["message"]
    assert sim.webhooks() == []


@pytest.mark.parametrize(
    "url", ["http://localhost", "http://127.0.0.1:1", "http://[::1]:8080/a/b?c=d", "http://localhost?x"]
)
def test_addresses_of_this_machine(sim: Simulator, url: str) -> None:
    """The usual ways to write this machine's own address are taken."""
    sim.add_webhook(url)
    assert [webhook["url"] for webhook in sim.webhooks()] == [url]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"secret": ""}, "secret must be printable text"),
        ({"secret": 5}, "secret must be printable text"),
        ({"secret": "\ud800"}, "secret must be printable text"),
        ({"events": []}, "events must be a list with some of video.started"),
        ({"events": "video.started"}, "events must be a list"),
        ({"events": ["video.canceled"]}, "events must be a list"),
        ({"events": [["video.started"]]}, "events must be a list"),
        ({"response_timeout": 0}, "response_timeout must be a number of seconds above 0"),
        ({"response_timeout": "long"}, "response_timeout must be a number"),
        ({"response_timeout": True}, "response_timeout must be a number"),
        ({"color": "red"}, "no option ['color']: it takes url, secret, events, response_timeout"),
    ],
)
def test_bad_options(sim: Simulator, options: dict[str, Any], words: str) -> None:
    """An option that makes no sense is refused with what would."""
    body = json.dumps({"url": "http://127.0.0.1:1/", **options})
    answer = httpx.post(f"{sim.url}/_simulator/webhooks", content=body)
    assert (answer.status_code, sim.webhooks()) == (400, [])
    assert words in answer.json()["message"]


def test_webhooks_over_http(sim: Simulator, receiver: Receiver, create: Create) -> None:
    """Webhooks are made, listed without their secret, and removed by HTTP, and the attempts can be read."""
    control = httpx.Client(base_url=f"{sim.url}/_simulator", verify=False)
    made = control.post("/webhooks", json={"url": receiver.url, "secret": "whsec_mine", "events": ["image.completed"]})
    listed = {"url": receiver.url, "events": ["image.completed"], "response_timeout": 10.0}
    assert (made.status_code, made.json(), control.get("/webhooks").json()) == (201, listed, [listed])
    job = create()
    control.post("/advance", json={"seconds": 1000})
    sim.wait_for_deliveries()
    (attempt,) = control.get("/deliveries").json()
    assert attempt == {
        "at": "2026-05-28T20:43:20.000Z",
        "url": receiver.url,
        "type": "image.completed",
        "id": job,
        "attempt": 1,
        "outcome": "accepted",
        "status": 200,
        "fault": None,
    }
    assert control.get("/stats").json()["webhooks"]["accepted"] == 1
    assert (control.delete("/webhooks").status_code, control.get("/webhooks").json()) == (204, [])
    create()
    pass_time(sim, 1000)
    assert (len(receiver.requests), sim.summary().creates) == (1, 2)


def test_a_new_secret(sim: Simulator, receiver: Receiver, create: Create) -> None:
    """A webhook made again with another secret is one webhook, and repeats are signed with the new one."""
    receiver.answer = lambda number, _: 401 if number == 1 else 200
    sim.add_webhook(receiver.url, secret="whsec_old")
    create(request=ending(seconds=0))
    sim.wait_for_deliveries()
    sim.add_webhook(receiver.url, secret="whsec_new")
    pass_time(sim, 1)
    for (headers, body), secret in zip(receiver.requests, ("whsec_old", "whsec_new"), strict=True):
        verify(body, headers, [secret], sim.now())
    assert (len(sim.webhooks()), sim.summary().creates) == (1, 1)


def test_removing_webhooks_ends_their_repeats(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """What waits for a webhook that is gone is never sent."""
    receiver.answer = lambda *_: 500
    create(request=ending(seconds=0))
    hooked.wait_for_deliveries()
    assert hooked.stats()["webhooks"]["waiting"] == 1
    hooked.clear_webhooks()
    pass_time(hooked, 1000)
    assert (len(receiver.requests), hooked.stats()["webhooks"]["waiting"], hooked.summary().creates) == (1, 0, 1)


# --- the machinery


def senders() -> list[str]:
    """Return the names of the running threads that send webhooks."""
    return [thread.name for thread in threading.enumerate() if thread.name == "magic-hour-webhooks"]


def test_no_thread_without_webhooks(sim: Simulator, create: Create) -> None:
    """Who has no webhooks has no thread for them."""
    create()
    sim.advance(1000)
    assert (sim.summary(), senders()) == (Summary(creates=1, credits=10), [])


def test_closing_cuts_what_is_under_way() -> None:
    """A simulator closes at once although a receiver keeps it waiting, and its thread is gone."""
    hold = threading.Event()
    with Receiver(lambda *_: 200 if hold.wait(30) else 500) as receiver:
        with Simulator(manual_clock=True, webhook=receiver.url) as sim, connect(sim) as http:
            http.post("/v1/ai-image-generator", json=ending(seconds=0))
            deadline = time.monotonic() + 10
            while not receiver.requests and time.monotonic() < deadline:
                time.sleep(0.005)
            with pytest.raises(TimeoutError, match="webhook deliveries still under way: 1"):
                sim.wait_for_deliveries(timeout=0.01)
            assert (senders(), sim.summary().creates) == (["magic-hour-webhooks"], 1)
            started = time.monotonic()
        assert time.monotonic() - started < 5
        assert senders() == []
        hold.set()


def test_a_receiver_that_asks_back(sim: Simulator, client: httpx.Client, create: Create) -> None:
    """While it takes a delivery, a receiver may look at the job, make another one and move the clock."""
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
    """A receiver that is away does not fill the memory: what is too much is given up, and the books say so."""
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
    """A simulator with a webhook that leads elsewhere is not even made."""
    with pytest.raises(ValueError, match="this machine only"):
        Simulator(webhook=url)
