"""Webhooks: where they may lead, their options, and how their deliveries are signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as some

from helpers.simulator import (
    Receiver,
    pass_time,
    request_with,
)
from magic_hour_provider.api.webhooks import SignatureError, read_delivery, sign, verify
from magic_hour_provider.simulator import Simulator, Summary
from magic_hour_provider.simulator.webhooks.registration import DEFAULT_SECRET, WebhookError, sign_delivery

Create = Callable[..., str]
Poll = Callable[..., dict[str, Any]]
CONTRACT = json.loads((Path(__file__).parents[2] / "data" / "webhook_events.json").read_text())


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
    """The usual ways to write this machine's own address are accepted."""
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
    """Webhooks are added, listed without their secret, and removed by HTTP, and the attempts can be read."""
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
    """A webhook added again with another secret is one webhook, and retries are signed with the new one."""
    receiver.answer = lambda number, _: 401 if number == 1 else 200
    sim.add_webhook(receiver.url, secret="whsec_old")
    create(request=request_with(seconds=0))
    sim.wait_for_deliveries()
    sim.add_webhook(receiver.url, secret="whsec_new")
    pass_time(sim, 1)
    for (headers, body), secret in zip(receiver.requests, ("whsec_old", "whsec_new"), strict=True):
        verify(body, headers, [secret], sim.now())
    assert (len(sim.webhooks()), sim.summary().creates) == (1, 1)


def test_removing_webhooks_ends_their_retries(hooked: Simulator, receiver: Receiver, create: Create) -> None:
    """What waits for a webhook that is gone is never sent."""
    receiver.answer = lambda *_: 500
    create(request=request_with(seconds=0))
    hooked.wait_for_deliveries()
    assert hooked.stats()["webhooks"]["waiting"] == 1
    hooked.clear_webhooks()
    pass_time(hooked, 1000)
    assert (len(receiver.requests), hooked.stats()["webhooks"]["waiting"], hooked.summary().creates) == (1, 0, 1)
