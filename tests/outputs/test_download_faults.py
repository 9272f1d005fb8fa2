"""Faults of Magic Hour's storage and of links, met while outputs are downloaded."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from helpers.jobs import finished_job
from helpers.places import PLACES
from helpers.waiting import time_out
from magic_hour_provider.api.errors import TransferError
from magic_hour_provider.outputs.download import download_outputs
from magic_hour_provider.storage.paths import checksum, open_path

pytestmark = pytest.mark.usefixtures("clock")  # waiting moves the time


FAULTS = {
    "truncated": {"fault": "truncated"},
    "corrupt": {"fault": "corrupt"},
    "slow": {"fault": "slow", "bytes_per_second": 4_000_000},
    "stalled": {"fault": "stall"},
    "stalled in the middle": {"fault": "stall-mid-body"},
    "403 expired": {"fault": "expired-link"},
    "500": {"fault": "status", "status": 500},
    "503 with Retry-After": {"fault": "status", "status": 503, "retry_after": 7},
    "429": {"fault": "status", "status": 429},
    "reset before the answer": {"fault": "close-before-read"},
    "reset in the middle": {"fault": "close-mid-body"},
    "a page of HTML": {"fault": "status", "status": 200, "html": True},
    "an empty body": {"fault": "status", "status": 200, "body": ""},
}


# Faults that reach a file's writer; all others end before it is asked for anything.
IN_THE_BODY = ("truncated", "corrupt", "slow", "stalled in the middle")
CASES = [(fault, "local") for fault in FAULTS] + [(fault, place) for fault in IN_THE_BODY for place in PLACES[1:]]


@pytest.mark.parametrize(("fault", "place"), CASES, indirect=["place"])
def test_a_fault_that_passes_ends_in_a_whole_file(sim, place, fault):
    """Once is no reason to fail: the file is resumed, downloaded again or found by another link, and verified."""
    client, job = finished_job(sim)
    wanted = httpx.get(job.downloads[0].url).content
    if "stall" in fault:
        time_out(client, 0.5)
    sim.inject_fault(endpoint="download", **FAULTS[fault])
    (media,) = download_outputs(client, job, "t", place.uri)
    assert place.names() == [f"t-{job.id}-1.png"]
    assert place.read(f"t-{job.id}-1.png") == wanted
    assert (media.size, media.sha256) == (len(wanted), hashlib.sha256(wanted).hexdigest())
    assert checksum(open_path(media.uri)) == media.sha256
    assert place.unfinished() == []
    assert sim.stats()["creates"]["accepted"] == 1


@pytest.mark.parametrize(("fault", "place"), [case for case in CASES if case[0] != "slow"], indirect=["place"])
def test_a_fault_that_stays_ends_in_an_error_and_no_file(sim, place, fault):
    """Nothing half is left, under no name; the sentence has the id, the money and the page, and a retry may help."""
    client, job = finished_job(sim)
    if "stall" in fault:
        time_out(client, 0.1, requests=99)
    sim.inject_fault(endpoint="download", count=None, **FAULTS[fault])
    with pytest.raises(TransferError, match=r"(?i)a retry downloads .* and pays nothing") as caught:
        download_outputs(client, job, "t", place.uri)
    assert job.id in str(caught.value)
    assert "signature" not in str(caught.value)
    assert caught.value.retryable
    assert (place.names(), place.unfinished()) == ([], [])
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_transfer_that_broke_off_is_resumed(sim, tmp_path):
    """Only the rest of the file comes, from where it broke off."""
    client, job = finished_job(sim)
    sim.inject_fault("close-mid-body", endpoint="download")
    seen = []
    client._storage.event_hooks = {"request": [lambda request: seen.append(request.headers["range"])]}
    (media,) = download_outputs(client, job, "t", str(tmp_path))
    assert seen[0] == "bytes=0-"
    assert 0 < int(seen[1].removeprefix("bytes=").removesuffix("-")) < media.size
    assert sim.stats()["creates"]["accepted"] == 1


def test_the_backoff_grows_and_obeys(sim, tmp_path, clock):
    """The waits between tries double; where the server says how long, that counts."""
    client, job = finished_job(sim)
    sim.inject_fault("status", endpoint="download", status=500, count=3)
    sim.inject_fault("status", endpoint="download", status=503, retry_after=17)
    download_outputs(client, job, "t", str(tmp_path))
    assert clock.waits == [1, 2, 4, 17]
    assert sim.stats()["creates"]["accepted"] == 1


def test_expired_links_are_replaced_by_one_poll(sim, tmp_path):
    """After a day the links are known to be over: nothing is asked of them, and four files share one poll."""
    client, job = finished_job(sim, count=4)
    sim.advance(25 * 3600)
    polls = sim.stats()["polls"]
    assert len(download_outputs(client, job, "t", str(tmp_path))) == 4
    assert (sim.stats()["polls"] - polls, sim.stats()["downloads"]) == (1, 4)
    assert sim.stats()["creates"]["accepted"] == 1


def test_links_that_expired_by_the_servers_clock(sim, tmp_path, clock):
    """A clock of ours that is late finds the link rejected, and a poll then helps all the same."""
    client, job = finished_job(sim)
    before = clock.now()
    sim.advance(25 * 3600)
    clock.now = lambda: before
    assert len(download_outputs(client, job, "t", str(tmp_path))) == 1
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_job_deleted_between_poll_and_download(sim, tmp_path):
    """There is no other link to be had: an error, and no file."""
    client, job = finished_job(sim)
    client.delete_job("image", job.id)
    with pytest.raises(TransferError, match=job.id):
        download_outputs(client, job, "t", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert sim.stats()["creates"]["accepted"] == 1
