"""Injected faults: what the client sees, and what is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from helpers.simulator import IMAGE_REQUEST
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.faults.catalog import FaultError

Create = Callable[..., str]
Poll = Callable[..., dict[str, Any]]
CREATE = "/v1/ai-image-generator"


def _creates(sim: Simulator) -> tuple[int, int]:
    creates = sim.stats()["creates"]
    return creates["accepted"], creates["refused"]


def test_close_after_accept(sim: Simulator, client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    """The job is created and charged, and the client gets no response; the next create gets one."""
    sim.inject_fault("close-after-accept")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.post(CREATE, json=IMAGE_REQUEST)
    assert _creates(sim) == (1, 0)
    assert sim.stats()["credits"]["charged"] == sim.jobs()[0]["credits_charged"] > 0
    assert client.post(CREATE, json=IMAGE_REQUEST).status_code == 200
    assert _creates(sim) == (2, 0)
    assert not caplog.records or all(record.levelname != "ERROR" for record in caplog.records)


def test_close_after_accept_holds(sim: Simulator, client: httpx.Client) -> None:
    """The client is kept waiting, and then the connection closes."""
    sim.inject_fault("close-after-accept", hold_seconds=0.1)
    started = time.monotonic()
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.post(CREATE, json=IMAGE_REQUEST)
    assert time.monotonic() - started >= 0.1
    assert _creates(sim) == (1, 0)


def test_status(sim: Simulator, client: httpx.Client) -> None:
    """The create is answered with the injected status, so many times, and no job is created."""
    sim.inject_fault("status", status=429, retry_after=7, count=2)
    for _ in range(2):
        answer = client.post(CREATE, json=IMAGE_REQUEST)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
        assert set(answer.json()) == {"code", "message"}
    assert client.post(CREATE, json=IMAGE_REQUEST).status_code == 200
    assert _creates(sim) == (1, 2)


def test_status_bodies(sim: Simulator, client: httpx.Client) -> None:
    """The body can be HTML, raw text, nothing, or JSON with a code of one's own."""
    sim.inject_fault("status", status=502, html=True)
    sim.inject_fault("status", status=500, body="")
    sim.inject_fault("status", status=403, body='{"message": "Not in your plan"}')
    sim.inject_fault("status", status=402, code="plan_upgrade_required", message="Upgrade.")
    sim.inject_fault("status", status=204)
    answers = [client.post(CREATE, json=IMAGE_REQUEST) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [502, 500, 403, 402, 204]
    assert answers[0].headers["content-type"].startswith("text/html")
    assert answers[1].content == b""
    assert answers[2].json() == {"message": "Not in your plan"}
    assert answers[3].json() == {"code": "plan_upgrade_required", "message": "Upgrade."}
    assert _creates(sim) == (0, 5)


def test_accept_then_status(sim: Simulator, client: httpx.Client) -> None:
    """A charged job hides behind a 500, and behind a 200 without an id."""
    sim.inject_fault("accept-then-status", status=500)
    sim.inject_fault("accept-then-status", status=200, body="{}")
    assert client.post(CREATE, json=IMAGE_REQUEST).status_code == 500
    answer = client.post(CREATE, json=IMAGE_REQUEST)
    assert (answer.status_code, answer.json()) == (200, {})
    assert _creates(sim) == (2, 0)


def test_an_accepting_fault_waits_for_an_accepted_create(sim: Simulator, client: httpx.Client) -> None:
    """A create that is refused by itself does not use the fault up."""
    sim.inject_fault("accept-then-status", status=500)
    assert client.post(CREATE, json={}).status_code == 400
    assert client.post(CREATE, json=IMAGE_REQUEST).status_code == 500
    assert _creates(sim) == (1, 1)


@pytest.mark.parametrize(
    "endpoint", ["get-job", "upload-urls", "upload", "download", "account", "saved-items", "delete"]
)
def test_other_endpoints(sim: Simulator, client: httpx.Client, create: Create, poll: Poll, endpoint: str) -> None:
    """A status and a closed connection are injected at their endpoint, once, and not elsewhere."""
    job, *spares = [create() for _ in range(4)]
    spare = iter(spares)
    sim.advance(1000)
    link = poll(job)["downloads"][0]["url"]
    items = {"items": [{"type": "image", "extension": "png"}]}
    put = client.post("/v1/files/upload-urls", json=items).json()["items"][0]["upload_url"]
    requests: dict[str, Callable[[], httpx.Response]] = {
        "get-job": lambda: client.get(f"/v1/image-projects/{job}"),
        "upload-urls": lambda: client.post("/v1/files/upload-urls", json=items),
        "upload": lambda: client.put(put, content=b"x"),
        "download": lambda: client.get(link),
        "account": lambda: client.get("/v1/account"),
        "saved-items": lambda: client.get("/v1/saved-items"),
        "delete": lambda: client.delete(f"/v1/image-projects/{next(spare)}"),
    }
    sim.inject_fault("status", endpoint=endpoint, status=503)
    usual = {name: 204 if name == "delete" else 200 for name in requests}
    assert {name: request().status_code for name, request in requests.items()} == usual | {endpoint: 503}
    sim.inject_fault("close-after-accept", endpoint=endpoint)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        requests[endpoint]()
    assert requests[endpoint]().status_code == usual[endpoint]
    assert _creates(sim) == (4, 0)
    assert sim.stats()["deletes"] == (2 if endpoint == "delete" else 1)


def test_a_fault_can_be_for_one_tool(sim: Simulator, client: httpx.Client, create: Create, poll: Poll) -> None:
    """A fault that is for one tool is not injected into others, at creates and at polls."""
    sim.inject_fault("status", status=500, tool="photo-colorizer")
    sim.inject_fault("status", status=500, tool="photo-colorizer", endpoint="get-job")
    job = create()
    assert poll(job)["status"] == "queued"
    request = {"assets": {"image_file_path": "https://example.com/a.png"}}
    assert client.post("/v1/photo-colorizer", json=request).status_code == 500
    other = create("photo-colorizer", request)
    assert client.get(f"/v1/image-projects/{other}").status_code == 500
    assert poll(other)["status"] == "queued"
    assert _creates(sim) == (2, 1)


def test_outcome_error(sim: Simulator, create: Create, poll: Poll) -> None:
    """A job fails with the injected code, and its credits are refunded."""
    sim.inject_fault("job-outcome", status="error", code="no_source_face", message="No face.")
    job = create()
    sim.advance(1000)
    assert poll(job)["error"] == {"code": "no_source_face", "message": "No face."}
    assert poll(job)["credits_charged"] == 0
    money = sim.stats()["credits"]
    assert money["refunded"] == money["charged"] > 0
    assert _creates(sim) == (1, 0)


def test_outcome_canceled(sim: Simulator, create: Create, poll: Poll) -> None:
    """A canceled job has neither files nor an error, and its credits are refunded."""
    sim.inject_fault("job-outcome", status="canceled", immediately=True)
    job = create()
    details = poll(job)
    assert (details["status"], details["error"], details["downloads"]) == ("canceled", None, [])
    assert sim.stats()["credits"]["balance"] == 100_000
    assert _creates(sim) == (1, 0)


@pytest.mark.parametrize("status", ["draft", "queued", "rendering", "daydreaming"])
def test_outcome_other(sim: Simulator, create: Create, poll: Poll, status: str) -> None:
    """A job stays in any status that is neither success nor failure, and stays charged."""
    sim.inject_fault("job-outcome", status=status)
    job = create()
    sim.advance(100_000)
    assert poll(job)["status"] == status
    assert poll(job)["credits_charged"] > 0
    assert _creates(sim) == (1, 0)


@pytest.mark.parametrize("immediately", [True, False])
def test_outcome_gone(sim: Simulator, client: httpx.Client, create: Create, immediately: bool) -> None:
    """A job is not found once its time is over, or from the first poll on."""
    sim.inject_fault("job-outcome", status="gone", immediately=immediately)
    job = create()
    assert client.get(f"/v1/image-projects/{job}").status_code == (404 if immediately else 200)
    sim.advance(1000)
    assert client.get(f"/v1/image-projects/{job}").status_code == 404
    assert sim.jobs()[0]["status"] == "gone"
    assert _creates(sim) == (1, 0)


def test_seconds(sim: Simulator, create: Create, poll: Poll) -> None:
    """The next job takes the injected time."""
    sim.inject_fault("job-duration", seconds=12)
    job = create()
    sim.advance(11.9)
    assert poll(job)["status"] == "rendering"
    sim.advance(0.1)
    assert poll(job)["status"] == "complete"
    assert _creates(sim) == (1, 0)


def test_how_often(sim: Simulator, client: httpx.Client) -> None:
    """A probability of 1 and a count of None are injected every time, 0 never, and a count bounds a probability."""
    answers = []
    for options in ({"probability": 1}, {"count": None}, {"probability": 0}, {"probability": 1, "count": 2}):
        sim.inject_fault("status", endpoint="account", status=503, **options)
        answers.append([client.get("/v1/account").status_code for _ in range(3)])
        sim.clear_faults()
    assert answers == [[503] * 3, [503] * 3, [200] * 3, [503, 503, 200]]


def test_every_second(sim: Simulator, client: httpx.Client) -> None:
    """Every second or third request gets it, for ever or so many times; one that fails by itself does not count."""
    injected = []
    for options in ({"every": 2}, {"every": 3}, {"every": 2, "count": 1}, {"every": 1, "count": 1}):
        sim.inject_fault("status", endpoint="account", status=503, **options)
        injected.append([client.get("/v1/account").status_code == 503 for _ in range(6)])
        sim.clear_faults()
    assert injected[0] == [False, True] * 3
    assert injected[1] == [False, False, True] * 2
    assert injected[2] == [False, True, False, False, False, False]
    assert injected[3] == [True, False, False, False, False, False]
    sim.inject_fault("accept-then-status", status=500, every=2)
    answers = [client.post(CREATE, json=body).status_code for body in (IMAGE_REQUEST, {}, IMAGE_REQUEST)]
    assert (answers, _creates(sim)) == ([200, 400, 500], (2, 1))


def test_a_fault_put_back_stays_in_its_place(sim: Simulator, client: httpx.Client) -> None:
    """Faults that wait for an accepted create keep their place in the queue."""
    sim.inject_fault("accept-then-status", status=500)
    sim.inject_fault("accept-then-status", status=502)
    assert client.post(CREATE, json={}).status_code == 400
    assert [pending["status"] for pending in sim.pending_faults()] == [500, 502]
    assert sim.stats()["faults_injected"] == {}
    assert [client.post(CREATE, json=IMAGE_REQUEST).status_code for _ in range(2)] == [500, 502]
    assert _creates(sim) == (2, 1)


def test_faults_over_http(sim: Simulator, client: httpx.Client) -> None:
    """Faults are injected, listed and removed by HTTP without a key."""
    url = f"{sim.url}/_simulator/faults"
    assert httpx.post(url, json={"fault": "status", "status": 500, "count": 5}).status_code == 204
    assert client.post(CREATE, json=IMAGE_REQUEST).status_code == 500
    pending = {"fault": "status", "endpoint": "create", "status": 500, "count": 5, "remaining": 4, "triggered": 1}
    assert httpx.get(url).json() == sim.pending_faults() == [pending]
    assert httpx.delete(url).status_code == 204
    assert httpx.get(url).json() == []
    assert client.post(CREATE, json=IMAGE_REQUEST).status_code == 200
    assert _creates(sim) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({}, "close-after-accept"),
        ({"fault": "explode"}, "accept-then-status"),
        ({"fault": ["status"]}, "accept-then-status"),
        ({"fault": "status"}, "200 to 599"),
        ({"fault": "status", "status": 99}, "200 to 599"),
        ({"fault": "status", "status": "500"}, "200 to 599"),
        ({"fault": "status", "status": 500, "count": 0}, "count"),
        ({"fault": "status", "status": 500, "count": 1.5}, "count"),
        ({"fault": "status", "status": 500, "every": 0}, "every"),
        ({"fault": "status", "status": 500, "every": True}, "every"),
        ({"fault": "status", "status": 500, "endpoint": "webhook"}, "can only be 'create' or"),
        ({"fault": "lost-delivery", "endpoint": "create"}, "can only be 'webhook'"),
        ({"fault": "lost-delivery", "event": "canceled"}, "started or completed or errored"),
        ({"fault": "late-delivery"}, "seconds must say"),
        ({"fault": "out-of-order-delivery", "event": "completed"}, "no option"),
        ({"fault": "expired-timestamp", "seconds": -1}, "0 or more"),
        ({"fault": "wrong-signature", "tool": "moon"}, "text-to-video"),
        ({"fault": "status", "status": 500, "endpoint": "moon"}, "upload-urls"),
        ({"fault": "status", "status": 500, "endpoint": []}, "upload-urls"),
        ({"fault": "status", "status": 500, "tool": "moon"}, "text-to-video"),
        ({"fault": "status", "status": 500, "tool": []}, "text-to-video"),
        ({"fault": "status", "status": 500, "tool": "lip-sync", "endpoint": "account"}, "tool"),
        ({"fault": "status", "status": 500, "retry_after": -1}, "retry_after"),
        ({"fault": "status", "status": 500, "html": 1}, "html"),
        ({"fault": "status", "status": 500, "body": 1}, "body"),
        ({"fault": "status", "status": 500, "hold_seconds": 1}, "retry_after"),
        ({"fault": "close-after-accept", "hold_seconds": "long"}, "hold_seconds"),
        ({"fault": "job-outcome"}, "canceled"),
        ({"fault": "job-outcome", "status": 500}, "canceled"),
        ({"fault": "job-outcome", "status": "error", "endpoint": "get-job"}, "create"),
        ({"fault": "job-duration"}, "seconds"),
        ({"fault": "latency"}, "seconds"),
        ({"fault": "latency", "seconds": -1}, "0 or more"),
        ({"fault": "slow", "endpoint": "download"}, "bytes_per_second"),
        ({"fault": "slow", "bytes_per_second": 0}, "above 0"),
        ({"fault": "stall", "hold_seconds": -1}, "hold_seconds"),
        ({"fault": "expired-link", "endpoint": "get-job"}, "'upload' or 'download'"),
        ({"fault": "truncated", "endpoint": "upload"}, "can only be 'create' or 'get-job'"),
        ({"fault": "no-id", "endpoint": "get-job"}, "can only be 'create'"),
        ({"fault": "status", "status": 500, "probability": 1.1}, "from 0 to 1"),
        ({"fault": "status", "status": 500, "probability": "often"}, "from 0 to 1"),
        ({"fault": "status", "status": 500, "prompt": "("}, "regular expression"),
        ({"fault": "status", "status": 500, "prompt": ""}, "text to search for"),
        ({"fault": "status", "status": 500, "prompt": 7}, "text to search for"),
        ({"fault": "status", "status": 500, "prompt": "x", "endpoint": "upload"}, "belong to no job"),
        ({"fault": "job-duration", "seconds": float("1e400")}, "JSON"),
    ],
)
def test_bad_faults(sim: Simulator, fault: dict[str, Any], words: str) -> None:
    """A fault that makes no sense is refused with a sentence that says what would."""
    body = b'{"fault": "job-duration", "seconds": Infinity}' if words == "JSON" else None
    answer = httpx.post(f"{sim.url}/_simulator/faults", **({"content": body} if body else {"json": fault}))
    assert answer.status_code == 400
    assert words in answer.json()["message"]
    if "fault" in fault:
        with pytest.raises(FaultError):
            sim.inject_fault(**fault)
