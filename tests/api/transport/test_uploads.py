"""Many files on their way to Magic Hour: side by side, whole, and again when something breaks."""

from __future__ import annotations

import io
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from helpers.clocks import set_clock
from helpers.samples import KEY
from helpers.uploads import stored
from helpers.waiting import HANG_S, time_out
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import (
    InputChangedError,
    RateLimitedError,
    RequestRejectedError,
    ResponseLostError,
    TransferError,
)
from magic_hour_provider.api.models import UploadLink
from magic_hour_provider.api.transport.uploads import (
    MAX_PARALLEL_UPLOADS,
    RETRY_DELAYS_S,
    UploadSource,
    retry,
    upload_all,
)
from magic_hour_provider.clock import SimulatedClock
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.behavior import Behavior

pytestmark = pytest.mark.usefixtures("clock")  # waiting moves the time


class Counted(io.BytesIO):
    """A file in memory that knows how often, and how much of it at a time, it was read."""

    sizes: list[int]

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.sizes = []

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, and take note."""
        assert size is not None
        self.sizes.append(size)
        return super().read(size)


def source(
    content: bytes = b"x" * 3_000_000, name: str = "a.png", *, size: int | None = None, opened=None
) -> UploadSource:
    """Return a file of this content."""
    return UploadSource(
        name, "image", "png", len(content) if size is None else size, opened or (lambda: io.BytesIO(content))
    )


@pytest.fixture
def client(sim):
    """A client of the simulator."""
    with MagicHourClient(api_key=KEY, base_url=sim.url) as one:
        yield one


def test_many_files_over_one_request_for_links(sim, client):
    """Each arrives whole and in its place; the links of all are asked for at once."""
    contents = [bytes([number]) * (number * 100_000 + 1) for number in range(9)]
    references = upload_all(client, [source(content) for content in contents])
    assert [stored(sim, reference) for reference in references] == contents
    assert sim.stats()["requests"] == {"upload-urls": 1, "upload": 9}
    assert upload_all(client, []) == []


def test_files_go_side_by_side_but_not_all_at_once(sim, client):
    """Four are under way together, never five, and each is held in memory by its current piece only."""
    lock, open_now, most, files = threading.Lock(), 0, 0, []
    together = threading.Barrier(MAX_PARALLEL_UPLOADS, timeout=HANG_S)

    @contextmanager
    def opened():
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
            files.append(Counted(b"x" * 3_500_000))
            file = files[-1]
        together.wait()
        yield file
        with lock:
            open_now -= 1

    upload_all(client, [source(size=3_500_000, opened=opened) for _ in range(2 * MAX_PARALLEL_UPLOADS)])
    assert most == MAX_PARALLEL_UPLOADS
    assert {max(file.sizes) for file in files} == {2 * 1024 * 1024}


FAULTS = [
    {"fault": "status", "status": 500},
    {"fault": "status", "status": 503, "html": True},
    {"fault": "status", "status": 403},
    {"fault": "status", "status": 307},
    {"fault": "expired-link"},
    {"fault": "close-before-read"},
    {"fault": "close-after-accept"},
    {"fault": "accept-then-status", "status": 500},
    {"fault": "stall"},
    {"fault": "status", "endpoint": "upload-urls", "status": 502},
    {"fault": "status", "endpoint": "upload-urls", "status": 429, "retry_after": 20},
    {"fault": "close-mid-body", "endpoint": "upload-urls"},
]


@pytest.mark.parametrize("reuse", ["allowed", "refused"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(str(value) for value in fault.values()))
def test_a_fault_is_met_by_sending_the_file_again_whole(monkeypatch, fault, reuse):
    """Whatever breaks, the reference that is used names a whole file, also where a link takes one file only."""
    behavior = Behavior(upload_link_reuse=reuse)
    with Simulator(api_key=KEY, manual_clock=True, behavior=behavior) as sim:
        clock = SimulatedClock(sim)
        set_clock(monkeypatch, clock)
        with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
            if fault["fault"] == "stall":
                time_out(client, 0.5)
            sim.inject_fault(**({"endpoint": "upload"} | fault))
            content = b"0123456789" * 200_000
            (reference,) = upload_all(client, [source(content)])
        assert stored(sim, reference) == content
        assert clock.waits == [fault.get("retry_after", RETRY_DELAYS_S[0])]
        assert sim.stats()["creates"]["accepted"] == 0


def test_links_that_expire_while_others_are_sent_are_replaced(sim, client):
    """A file whose turn comes late gets a link of its own."""
    contents = [b"a" * 1000, b"b" * 1000]

    def late():
        if sim.stats()["requests"]["upload-urls"] == 1:
            sim.advance(3600)  # the links live 15 minutes
        return io.BytesIO(contents[1])

    references = upload_all(client, [source(contents[0]), source(contents[1], opened=late)])
    assert [stored(sim, reference) for reference in references] == contents
    assert sim.stats()["requests"]["upload-urls"] >= 2


def test_tries_are_bounded(sim, client, clock):
    """Four tries, then one sentence that names the file, and nobody tries on."""
    sim.inject_fault("status", endpoint="upload", status=500, count=None)
    with pytest.raises(TransferError, match=r"my\.png: .*HTTP 500.*nothing was charged\. A retry uploads"):
        upload_all(client, [source(name="my.png")])
    assert clock.waits == list(RETRY_DELAYS_S)
    assert sim.stats()["requests"]["upload"] == 4


def test_a_file_that_is_too_large_is_not_sent_again(sim, client, clock):
    """413 stays 413: the error says what it means and that a retry does not help."""
    sim.inject_fault("status", endpoint="upload", status=413, count=None)
    with pytest.raises(TransferError, match=r"too large.*nothing was charged\. Make it smaller") as caught:
        upload_all(client, [source()])
    assert caught.value.retryable is False
    assert clock.waits == []


@pytest.mark.parametrize(("claimed", "words"), [(2_000_000, "longer"), (4_000_000, "shorter"), (2_999_999, "longer")])
def test_a_file_that_changes_while_it_is_sent(sim, client, claimed, words):
    """Half a file is never taken for a whole one, and it is not sent again as if nothing were."""
    with pytest.raises(InputChangedError, match=rf"my\.png became {words} .*Something still writes to it") as caught:
        upload_all(client, [source(name="my.png", size=claimed)])
    assert caught.value.retryable is True
    assert sim.stats()["requests"].get("upload", 0) <= 1


def test_a_storage_that_breaks_off(sim, client):
    """An error of the file's own storage in the middle is met like any other, and named if it stays."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 1_000_000:
                raise ConnectionResetError("peer went away")
            return super().read(size)

    content = b"x" * 3_000_000
    opened = iter([Broken(content), io.BytesIO(content)])
    (reference,) = upload_all(client, [source(content, opened=lambda: next(opened))])
    assert stored(sim, reference) == content
    with pytest.raises(TransferError, match=r"could not be read to its end .*peer went away"):
        upload_all(client, [source(content, opened=lambda: Broken(content))])
    with pytest.raises(TransferError, match=r"could not be read to its end .*no such file"):
        upload_all(client, [source(content, opened=lambda: (_ for _ in ()).throw(OSError("no such file")))])


def test_the_first_failure_stops_the_others(sim, client):
    """Nobody waits for gigabytes that no request will use: the others end at their next piece."""
    under_way, failed, pieces = threading.Event(), threading.Event(), []

    class Long(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            pieces.append(size)
            if len(pieces) > 3:
                under_way.set()
                assert failed.wait(HANG_S)
            return b"x" * size

    def broken():
        assert under_way.wait(HANG_S)
        while not sim.stats()["requests"].get("upload"):
            time.sleep(0.001)
        sim.inject_fault("status", endpoint="upload", status=413)
        failed.set()
        return io.BytesIO(b"x")

    sources = [source(size=1_900_000_000, opened=Long), source(b"x", name="bad.png", opened=broken)]
    with pytest.raises(TransferError, match=r"bad\.png.*too large"):
        upload_all(client, sources)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("magic-hour-upload")]
    assert sum(pieces) < 1_000_000_000


def test_patience_ends_at_once_where_another_try_cannot_help(sim, clock):
    """A refusal is not repeated; what the service asks for is waited for, up to half a minute."""
    errors = iter([RequestRejectedError("no")])

    def work() -> str:
        for error in errors:
            raise error
        return "done"

    with pytest.raises(RequestRejectedError):
        retry(work)
    assert clock.waits == []
    errors = iter([RateLimitedError("slow", retry_after=900), ResponseLostError("lost")])
    assert retry(work) == "done"
    assert clock.waits == [30, RETRY_DELAYS_S[1]]


def test_no_signed_link_is_shown(sim):
    """Neither the error nor what it came from holds the upload link."""

    def broken(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            link = {"upload_url": "https://up.example/x?X-Amz-Signature=hushhushhush", "file_path": "api-assets/x"}
            return httpx.Response(200, json={"items": [link]})
        raise httpx.WriteError(f"to {request.url}")

    client = MagicHourClient(api_key=KEY, transport=httpx.MockTransport(broken))
    with client, pytest.raises(TransferError, match="WriteError") as caught:
        upload_all(client, [source(b"x")])
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example"])
def test_a_link_to_no_name_of_a_host(host):
    """Python refuses the name before any request: the upload failed, and nothing was charged."""
    with MagicHourClient(api_key=KEY) as client, pytest.raises(TransferError, match=r"Unicode(Encode)?Error"):
        client.upload_to(UploadLink(f"http://{host}/x", "api-assets/x"), io.BytesIO(b"x"), 1)
