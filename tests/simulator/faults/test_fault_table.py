"""Every fault at every endpoint: what the client sees, and what is counted."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from helpers.simulator import IMAGE_REQUEST, KEY, connect
from helpers.waiting import until
from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.simulator import Simulator, service
from magic_hour_provider.simulator.faults import catalog
from magic_hour_provider.simulator.faults.catalog import FAULTS, WEBHOOK, FaultError, FaultKind, FaultStage
from magic_hour_provider.simulator.webhooks.queue import QueuedDelivery
from magic_hour_provider.simulator.webhooks.registration import Webhook

CREATE = "/v1/ai-image-generator"
ITEMS = {"items": [{"type": "image", "extension": "png"}]}
PATIENCE_S = 0.25
UNKNOWN = errors.SubmissionUnknownError


@dataclass(frozen=True)
class Row:
    """What is expected of a fault.

    :param options: its options.
    :param seen: what the client sees; see :func:`seen`.
    :param create: what our client raises at a create; None when it gets its submission.
    :param poll: what our client raises at a poll.
    """

    options: dict[str, Any]
    seen: str
    create: type[Exception] | None = None
    poll: type[Exception] | None = None


ROWS = {
    "latency": Row({"seconds": 0.01}, "200"),
    "status": Row({"status": 503}, "503", UNKNOWN, errors.MagicHourError),
    "close-before-read": Row({}, "closed", UNKNOWN, errors.MagicHourError),
    "stall": Row({}, "no response", UNKNOWN, errors.MagicHourError),
    "expired-link": Row({}, "403"),
    "close-after-accept": Row({}, "closed", UNKNOWN, errors.MagicHourError),
    "accept-then-status": Row({"status": 500}, "500", UNKNOWN, errors.MagicHourError),
    "no-id": Row({}, "200 of another length", UNKNOWN),
    "close-mid-body": Row({}, "200 cut", UNKNOWN, errors.MagicHourError),
    "stall-mid-body": Row({}, "200 stalled", UNKNOWN, errors.MagicHourError),
    "truncated": Row({}, "200 half", UNKNOWN, errors.InvalidResponseError),
    "corrupt": Row({}, "200 changed", UNKNOWN, errors.InvalidResponseError),
    "slow": Row({"bytes_per_second": 1e6}, "200"),
    "job-outcome": Row({"status": "error"}, "200"),
    "job-duration": Row({"seconds": 1}, "200"),
}
ENDPOINTS = ("create", "get-job", "upload", "download")
CASES = [(fault, endpoint) for fault in ROWS for endpoint in ENDPOINTS]
ALLOWED = [(fault, endpoint) for fault, endpoint in CASES if endpoint in FAULTS[fault].endpoints]

Stream = contextlib.AbstractContextManager[httpx.Response]


class Patience(httpx.HTTPTransport):
    """Waits a moment only for what a fault holds back; all other responses have the time that a busy machine needs.

    :param fault: what is injected into the next request.
    """

    def __init__(self, fault: str = "") -> None:
        super().__init__(verify=False)
        self.fault = fault

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        fault, self.fault = self.fault, ""
        timeout = request.extensions["timeout"]
        timeout["read"] = PATIENCE_S if fault == "stall" else 60
        response = super().handle_request(request)
        if fault == "stall-mid-body":  # the head has come
            timeout["read"] = PATIENCE_S
        return response


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with Simulator(manual_clock=True, credits=10**6) as sim:
        yield sim


@pytest.fixture(scope="module")
def patience() -> Patience:
    return Patience()


@pytest.fixture(scope="module")
def world(shared: Simulator, patience: Patience) -> Iterator[dict[str, tuple[Callable[[], Stream], bytes]]]:
    """Each endpoint: what sends a request to it, and the body of a right response."""
    with connect(shared, transport=patience) as client:
        good = client.post(CREATE, json=IMAGE_REQUEST)
        job = good.json()["id"]
        shared.advance(1000)
        details = client.get(f"/v1/image-projects/{job}")
        link = details.json()["downloads"][0]["url"]
        put = client.post("/v1/files/upload-urls", json=ITEMS).json()["items"][0]["upload_url"]
        yield {
            "create": (lambda: client.stream("POST", CREATE, json=IMAGE_REQUEST), good.content),
            "get-job": (lambda: client.stream("GET", f"/v1/image-projects/{job}"), details.content),
            "upload": (lambda: client.stream("PUT", put, content=b"x" * 1000), b""),
            "download": (lambda: client.stream("GET", link), client.get(link).content),
        }


def seen(stream: Stream, good: bytes) -> str:
    """Return in words what a client sees."""
    try:
        with stream as response:
            status = str(response.status_code)
            try:
                body = response.read()
            except httpx.ReadTimeout:
                return f"{status} stalled"
            except (httpx.RemoteProtocolError, httpx.ReadError):
                return f"{status} cut"
    except httpx.ReadTimeout:
        return "no response"
    except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
        return "closed"
    if status != "200" or not good:
        return status
    if len(body) != len(good):
        return "200 half" if len(body) == len(good) // 2 else "200 of another length"
    if not good.startswith(b"{"):
        return "200" if body == good else "200 changed"
    try:
        json.loads(body)
    except ValueError:
        return "200 changed"
    return "200"


def changes(sim: Simulator, before: dict[str, int]) -> dict[str, int]:
    """Return what has changed in the summary, the credits apart."""
    after = asdict(sim.summary())
    return {name: after[name] - before[name] for name in after if after[name] != before[name] and name != "credits"}


def test_every_fault_has_a_row() -> None:
    """A fault without a row here is not tested, but for those of webhooks, which have a table of their own."""
    assert list(ROWS) == [name for name, kind in FAULTS.items() if kind.endpoints != (WEBHOOK,)]


@pytest.mark.parametrize(("fault", "endpoint"), CASES)
def test_fault(
    shared: Simulator, world: Any, patience: Patience, fault: str, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees what the table says, and only requests that were acted upon are counted, and charged."""
    row, kind = ROWS[fault], FAULTS[fault]
    before, injected = asdict(shared.summary()), shared.stats()["faults_injected"].get(fault, 0)
    requests = shared.stats()["requests"].get(endpoint, 0)
    if endpoint not in kind.endpoints:
        with pytest.raises(FaultError, match=f"endpoint can only be .*{kind.endpoints[0]}"):
            shared.inject_fault(fault, endpoint=endpoint, **row.options)
        assert (changes(shared, before), shared.pending_faults()) == ({}, [])
        return
    shared.inject_fault(fault, endpoint=endpoint, **row.options)
    assert [pending["fault"] for pending in shared.pending_faults()] == [fault]
    send, good = world[endpoint]
    patience.fault = fault
    assert seen(send(), good) == row.seen
    until(lambda: shared.stats()["faults_injected"].get(fault) == injected + 1)

    acted = kind.stage != FaultStage.INSTEAD
    counted = {"create": "creates" if acted else "refused", "get-job": "polls"}.get(endpoint, f"{endpoint}s")
    assert changes(shared, before) == ({counted: 1} if acted or endpoint == "create" else {})
    assert shared.summary().credits - before["credits"] == (10 if acted and endpoint == "create" else 0)
    stats = shared.stats()
    assert (stats["faults_injected"][fault], stats["requests"][endpoint]) == (injected + 1, requests + 1)
    assert balances(shared)
    assert shared.pending_faults() == []
    assert seen(send(), good) == "200"
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    if kind.stage == "job":
        shared.advance(1000)
        refunded = 10 if fault == "job-outcome" else 0
        assert shared.summary().credits - before["credits"] == 20 - refunded


def balances(sim: Simulator) -> bool:
    """Whether the account's balance is what was there, less what was charged, and what was refunded."""
    money = sim.stats()["credits"]
    return bool(money["start"] - money["charged"] + money["refunded"] == money["balance"])


@pytest.mark.parametrize("fault", [fault for fault, endpoint in ALLOWED if endpoint == "create"])
def test_our_client_creates(shared: Simulator, fault: str) -> None:
    """Our client calls every spoilt create unknown, whether there is a job or not, and sends none twice."""
    row, before = ROWS[fault], shared.summary()
    shared.inject_fault(fault, **row.options)
    with MagicHourClient(api_key=KEY, base_url=shared.url, transport=Patience(fault)) as client:
        if row.create is None:
            assert client.create("ai-image-generator", IMAGE_REQUEST).credits_charged == 10
        else:
            with pytest.raises(row.create):
                client.create("ai-image-generator", IMAGE_REQUEST)
    made = 0 if FAULTS[fault].stage is FaultStage.INSTEAD else 1
    until(lambda: shared.summary() != before)
    after = shared.summary()
    assert (after.creates - before.creates, after.refused - before.refused) == (made, 1 - made)
    shared.advance(1000)


@pytest.mark.parametrize("fault", [fault for fault, endpoint in ALLOWED if endpoint == "get-job"])
def test_our_client_polls(shared: Simulator, world: Any, fault: str) -> None:
    """Our client knows a spoilt poll from a job's end, and the next poll finds the job."""
    row, job = ROWS[fault], shared.jobs()[0]["id"]
    creates = shared.summary().creates
    shared.inject_fault(fault, endpoint="get-job", **row.options)
    with MagicHourClient(api_key=KEY, base_url=shared.url, transport=Patience(fault)) as client:
        if row.poll is not None:
            with pytest.raises(row.poll):
                client.get_job("image", job)
        assert client.get_job("image", job).status == "complete"
    assert shared.summary().creates == creates
    assert shared.pending_faults() == []


@pytest.mark.parametrize("stage", [FaultStage.DELAY, FaultStage.INSTEAD, FaultStage.AFTER, FaultStage.JOB])
def test_a_row_alone_is_no_fault(monkeypatch, stage):
    """A fault that the catalog has and nothing carries out is an error of the simulator, not another fault."""
    row = FaultKind(stage, (), ("create",), "does what nobody has written yet")
    monkeypatch.setattr(catalog, "FAULTS", {**FAULTS, "brand-new": row})
    monkeypatch.setattr(service, "FAULTS", {**FAULTS, "brand-new": row})
    with Simulator(api_key=KEY, manual_clock=True) as sim:
        sim.inject_fault("brand-new")
        for status in (500, 200):
            with connect(sim) as client:  # a server that failed closes the connection
                assert client.post(CREATE, json=IMAGE_REQUEST).status_code == status


@pytest.mark.parametrize("stage", [FaultStage.DELIVERY, FaultStage.SIGNATURE])
def test_a_row_alone_is_no_fault_of_a_delivery(monkeypatch, stage):
    """The same where the simulator sends instead of answering."""
    row = FaultKind(stage, (), (WEBHOOK,), "does what nobody has written yet")
    monkeypatch.setattr(catalog, "FAULTS", {**FAULTS, "brand-new": row})
    sim = Simulator(api_key=KEY, manual_clock=True)
    sim.inject_fault("brand-new")
    deliveries = sim._service.webhooks
    deliveries.add_webhook(Webhook("http://127.0.0.1:9/hook"))
    job = SimpleNamespace(tool=TOOLS["ai-image-generator"], text="", id="a", ends_at=0.0)
    delivery = QueuedDelivery("http://127.0.0.1:9/hook", "image.completed", job, b"{}")  # type: ignore[arg-type]
    attempt = deliveries._schedule if stage is FaultStage.DELIVERY else deliveries.start_attempt
    with pytest.raises(NotImplementedError, match="'brand-new' is in the catalog, but nothing says what it does"):
        attempt(*([delivery, 0.0] if stage is FaultStage.DELIVERY else [delivery]))  # type: ignore[operator]
