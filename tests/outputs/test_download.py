"""Files on their way into storage: whole or not at all, never over another one, whatever happens to the transfer."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from helpers.samples import KEY
from helpers.waiting import at_once
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError, TransferError
from magic_hour_provider.api.models import Job
from magic_hour_provider.outputs.download import download_outputs, file_stem, find_stored_files, store_outputs
from magic_hour_provider.outputs.staging import MemoryBudget, extension_of
from magic_hour_provider.storage import files as storage_files
from magic_hour_provider.storage import local as storage
from magic_hour_provider.storage import writers as targets
from magic_hour_provider.storage.paths import checksum, open_path

pytestmark = pytest.mark.usefixtures("clock")  # waiting moves the time


def finished(sim, count: int = 1, **options) -> tuple[MagicHourClient, Job]:
    """Return a client and a finished image job."""
    client = MagicHourClient(api_key=KEY, base_url=sim.url, **options)
    made = client.create("ai-image-generator", {"image_count": count, "style": {"prompt": "x"}})
    sim.advance(60)
    return client, client.get_job("image", made.id)


# -- every fault in every place ------------------------------------------------------------------------------


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


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_ends_in_a_whole_file(sim, place, fault):
    """Once is no reason to fail: the file is resumed, fetched anew or found by a fresh link, and verified."""
    client, job = finished(sim, timeout=0.5)
    wanted = httpx.get(job.downloads[0].url).content
    sim.fault(endpoint="download", **FAULTS[fault])
    (media,) = download_outputs(client, job, "t", place.uri)
    assert place.names() == [f"t-{job.id}-1.png"]
    assert place.read(f"t-{job.id}-1.png") == wanted
    assert (media.size, media.sha256) == (len(wanted), hashlib.sha256(wanted).hexdigest())
    assert checksum(open_path(media.uri)) == media.sha256
    assert place.unfinished() == []
    assert sim.stats()["creates"]["accepted"] == 1


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "slow"])
def test_a_fault_that_stays_ends_in_an_error_and_no_file(sim, place, fault):
    """Nothing half is left, under no name; the sentence has the id, the money and the page, and a retry may help."""
    client, job = finished(sim, timeout=0.2)
    sim.fault(endpoint="download", count=None, **FAULTS[fault])
    with pytest.raises(TransferError, match=r"(?i)a retry downloads .* and pays nothing") as caught:
        download_outputs(client, job, "t", place.uri)
    assert job.id in str(caught.value)
    assert "signature" not in str(caught.value)
    assert caught.value.retryable
    assert (place.names(), place.unfinished()) == ([], [])
    assert sim.stats()["creates"]["accepted"] == 1


def test_what_came_is_not_fetched_again(sim, tmp_path):
    """A transfer that broke in the middle goes on from there: only the rest comes."""
    client, job = finished(sim)
    sim.fault("close-mid-body", endpoint="download")
    seen = []
    client._storage.event_hooks = {"request": [lambda request: seen.append(request.headers["range"])]}
    (media,) = download_outputs(client, job, "t", str(tmp_path))
    assert seen[0] == "bytes=0-"
    assert 0 < int(seen[1].removeprefix("bytes=").removesuffix("-")) < media.size
    assert sim.stats()["creates"]["accepted"] == 1


def test_pauses_grow_and_obey(sim, tmp_path, clock):
    """The pauses between tries double; where the server says how long, that counts."""
    client, job = finished(sim)
    sim.fault("status", endpoint="download", status=500, count=3)
    sim.fault("status", endpoint="download", status=503, retry_after=17)
    download_outputs(client, job, "t", str(tmp_path))
    assert clock.waits == [1, 2, 4, 17]
    assert sim.stats()["creates"]["accepted"] == 1


def test_expired_links_are_replaced_by_one_look(sim, tmp_path):
    """After a day the links are known to be over: nothing is asked of them, and four files share one look."""
    client, job = finished(sim, count=4)
    sim.advance(25 * 3600)
    looks = sim.stats()["looks"]
    assert len(download_outputs(client, job, "t", str(tmp_path))) == 4
    assert (sim.stats()["looks"] - looks, sim.stats()["downloads"]) == (1, 4)
    assert sim.stats()["creates"]["accepted"] == 1


def test_links_that_expired_by_the_servers_clock(sim, tmp_path, clock):
    """A clock of ours that is late finds the link refused, and the look then helps all the same."""
    client, job = finished(sim)
    before = clock.now()
    sim.advance(25 * 3600)
    clock.now = lambda: before
    assert len(download_outputs(client, job, "t", str(tmp_path))) == 1
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_job_deleted_between_look_and_download(sim, tmp_path):
    """There is no other link to be had: an error, and no file."""
    client, job = finished(sim)
    client.delete_job("image", job.id)
    with pytest.raises(TransferError, match=job.id):
        download_outputs(client, job, "t", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert sim.stats()["creates"]["accepted"] == 1


def test_one_file_fails_and_the_others_come(sim, place):
    """What can be had is stored and noted, so that a retry fetches the missing file alone."""
    client, job = finished(sim, count=4)
    broken = Job(
        **{**vars(job), "downloads": (*job.downloads[:2], replace(job.downloads[2], url="x:"), job.downloads[3])}
    )
    notes = []
    with pytest.raises(TransferError, match=f"File 3 of Magic Hour job {job.id}"):
        client.get_job = lambda *_: broken
        download_outputs(client, broken, "t", place.uri, on_stored=notes.append)
    assert [name[-5] for name in place.names()] == ["1", "2", "4"]
    assert [one.index for one in notes[-1]] == [0, 1, 3]
    del client.get_job
    fetched = sim.stats()["downloads"]
    again = download_outputs(client, job, "t", place.uri, stored=[vars(one) for one in notes[-1]])
    assert [one.index for one in again] == [0, 1, 2, 3]
    assert sim.stats()["downloads"] == fetched + 1
    assert sim.stats()["creates"]["accepted"] == 1


def test_files_come_side_by_side(sim, tmp_path, monkeypatch):
    """Four at a time, and no more: the fifth waits."""
    client, job = finished(sim, count=4)
    job = Job(**{**vars(job), "downloads": (*job.downloads, *job.downloads)})
    now = most = 0
    real, lock, four = client.download, threading.Lock(), threading.Barrier(4, timeout=20)

    def counted(*arguments, **options):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        four.wait()
        try:
            return real(*arguments, **options)
        finally:
            with lock:
                now -= 1

    monkeypatch.setattr(client, "download", counted)
    assert len(download_outputs(client, job, "t", str(tmp_path))) == 8
    assert most == 4
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_task_that_is_killed_stops_its_downloads(sim, tmp_path, monkeypatch):
    """Airflow ends the task in its own thread; the others stop at their next bytes and leave nothing."""
    client, job = finished(sim, count=2)
    real, first_is_stored = client.download, threading.Event()

    class Waiting:
        def __init__(self, target):
            self.target = target

        def write(self, data):
            assert first_is_stored.wait(20)
            time.sleep(0.05)  # for the task to be killed in
            return self.target.write(data)

    def second_waits(link, target, **options):
        second = link == job.downloads[1]
        return real(link, Waiting(target) if second else target, **options)

    def killed(_):
        first_is_stored.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "download", second_waits)
    with pytest.raises(KeyboardInterrupt):
        download_outputs(client, job, "t", str(tmp_path), on_stored=killed)
    assert [path.name for path in tmp_path.iterdir()] == [f"t-{job.id}-1.png"]
    assert sim.stats()["creates"]["accepted"] == 1


def test_large_files_wait_for_memory():
    """Two full parts of S3 fit, and small files beside each other; one that is larger than all of it comes alone."""
    memory = MemoryBudget(12)
    assert (memory.acquire(5), memory.acquire(5)) == (5, 5)
    third = threading.Thread(target=memory.acquire, args=(5,), daemon=True)
    third.start()
    third.join(0.05)
    assert third.is_alive()
    memory.release(5)
    third.join(20)
    assert not third.is_alive()
    memory.release(5)
    memory.release(5)
    assert memory.acquire(100) == 12


# -- names that are taken ------------------------------------------------------------------------------------


def test_two_tasks_collect_one_job_at_once(sim, place):
    """The operator and a sensor may store the same job: both end with the same whole files and nothing else."""
    client, job = finished(sim, count=2)
    assert at_once(4, lambda: download_outputs(client, job, "t", place.uri)) == []
    assert place.names() == [f"t-{job.id}-1.png", f"t-{job.id}-2.png"]
    assert place.unfinished() == []
    assert sim.stats()["creates"]["accepted"] == 1


def test_the_same_file_is_kept(sim, place):
    """A file that is there is compared and kept."""
    client, job = finished(sim)
    first = download_outputs(client, job, "t", place.uri)
    assert download_outputs(client, job, "t", place.uri) == first
    assert len(place.names()) == 1
    assert sim.stats()["creates"]["accepted"] == 1


def test_another_file_is_never_overwritten(sim, place):
    """Both checksums are named, the file stays as it is, and moving it away is all that a person has to do."""
    client, job = finished(sim)
    name = f"t-{job.id}-1.png"
    place.write(name, b"mine")
    wanted = hashlib.sha256(httpx.get(job.downloads[0].url).content).hexdigest()
    with pytest.raises(InvalidInputError, match="Nothing was overwritten") as caught:
        download_outputs(client, job, "t", place.uri)
    assert hashlib.sha256(b"mine").hexdigest() in str(caught.value)
    assert wanted in str(caught.value)
    assert place.read(name) == b"mine"
    assert (place.names(), place.unfinished()) == ([name], [])
    assert sim.stats()["creates"]["accepted"] == 1


@pytest.mark.parametrize("size", [3, 6 * 1024 * 1024])
def test_a_name_that_is_taken_while_the_file_comes(place, size):
    """Between the look and the last byte somebody else may store a file: it is not overwritten either."""
    path = open_path(f"{place.uri}/ü.png")
    storage_files.ensure_folder(path.parent)
    target = targets.open_writer(path, "image/png")
    target.write(bytes(size))
    place.write("ü.png", b"mine")
    with pytest.raises(FileExistsError):
        target.commit()
    target.abort()
    assert place.read("ü.png") == b"mine"
    assert (place.names(), place.unfinished()) == (["ü.png"], [])


@pytest.mark.parametrize("size", [1, 5 * 1024 * 1024, 11 * 1024 * 1024 + 1])
def test_a_target_that_starts_over(place, size):
    """What was written before a restart is not in the file, whether or not it had left for the storage."""
    path = open_path(f"{place.uri}/a.bin")
    storage_files.ensure_folder(path.parent)
    target, data = targets.open_writer(path), os.urandom(size)
    target.write(data[::-1] + b"more")
    target.restart()
    for start in range(0, size, 700_001):
        target.write(data[start : start + 700_001])
    assert "a.bin" not in place.names()
    target.commit()
    assert place.read("a.bin") == data
    assert (place.names(), place.unfinished()) == (["a.bin"], [])


def test_what_is_stored_is_not_fetched_again(sim, place):
    """A file of an earlier attempt is kept while it is there and unchanged, else fetched."""
    client, job = finished(sim, count=4)
    first = [vars(one) for one in download_outputs(client, job, "t", place.uri)]
    assert sim.stats()["downloads"] == 4
    again = download_outputs(client, job, "t", place.uri, stored=first)
    assert [vars(one) for one in again] == first
    assert sim.stats()["downloads"] == 4
    assert find_stored_files(first, place.uri) == again
    assert find_stored_files(first, f"{place.uri}/elsewhere") is None
    assert len(download_outputs(client, job, "t", f"{place.uri}/elsewhere", stored=first)) == 4
    assert sim.stats()["downloads"] == 8
    assert sim.stats()["creates"]["accepted"] == 1


# -- folders and names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["a b/ü 名前/{x}", "a//b/", "100%/q?x=1#y"])
def test_folders_with_any_name(sim, tmp_path, bucket, folder):
    """Blanks, other scripts and signs are what they are, on disks and in buckets, and the URI finds the file again."""
    client, job = finished(sim)
    for root in (str(tmp_path), f"file://{tmp_path}/file", f"{bucket.uri}/x"):
        (media,) = download_outputs(client, job, "t", f"{root}/{folder}")
        assert checksum(open_path(media.uri)) == media.sha256
    assert sim.stats()["creates"]["accepted"] == 1


@pytest.mark.parametrize("tool", ["../../etc/x", "..", "a/b", "ü x", ""])
def test_no_tool_leads_out_of_the_folder(sim, tmp_path, tool):
    """A tool's name comes from a user's dict or from another task: it is part of a file name and no path."""
    client, job = finished(sim)
    (media,) = download_outputs(client, job, tool, str(tmp_path / "out"))
    assert Path(media.uri.removeprefix("file://")).parent == tmp_path / "out"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert "/" not in file_stem(tool, job)
    assert sim.stats()["creates"]["accepted"] == 1


def test_no_extension_leads_out_of_the_folder(sim, tmp_path):
    """The extension comes from a link: what is none is replaced by what the content type says."""
    _, job = finished(sim)
    good = job.downloads[0].url
    for suffix in ("/../../x", ".%2e%2e", ".a b", ".tar.ü"):
        job = Job(**{**vars(job), "downloads": (replace(job.downloads[0], url=good.replace(".png", suffix)),)})
        assert extension_of(job.downloads[0].url, "image/png") == "png"
        assert extension_of(job.downloads[0].url, "") == "bin"
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_folder_that_climbs_out(sim, tmp_path):
    """A paid job stays collectable when its rendered folder has ``..`` in it."""
    client, job = finished(sim)
    with pytest.raises(InvalidInputError, match="was paid for and stays charged"):
        store_outputs(client, job, "t", f"{tmp_path}/a/../../b")
    assert list(tmp_path.iterdir()) == []
    assert sim.stats()["creates"]["accepted"] == 1


# -- storage in trouble --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_a_full_disk(sim, tmp_path, monkeypatch, count):
    """A clear error, no half file, and a retry collects the paid job."""
    client, job = finished(sim, count)
    real = targets.LocalWriter.write

    def full(target, data):
        real(target, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(TransferError, match="No space left on device") as caught:
        patch.setattr(targets.LocalWriter, "write", full)
        download_outputs(client, job, "t", str(tmp_path))
    assert "a retry downloads the job's files and pays nothing" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert len(download_outputs(client, job, "t", str(tmp_path))) == count
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_folder_that_is_forbidden(sim):
    """As with a full disk: the job is not lost."""
    client, job = finished(sim)
    with pytest.raises(
        TransferError, match=r"could not be stored in '/proc/nowhere'.*a retry downloads the job's files"
    ):
        download_outputs(client, job, "t", "/proc/nowhere")
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_bucket_that_refuses(sim, bucket):
    """No bucket: said with its name, retryable, and no bucket is made."""
    client, job = finished(sim)
    with pytest.raises(TransferError, match="no-such-bucket"):
        download_outputs(client, job, "t", bucket.uri.replace(bucket.name, "no-such-bucket") + "/x")
    assert "no-such-bucket" not in [one["Name"] for one in bucket.client.list_buckets()["Buckets"]]
    assert sim.stats()["creates"]["accepted"] == 1


def test_leftovers_of_a_killed_attempt(sim, tmp_path):
    """The next attempt removes temporary files whose writer is gone, and leaves those of a living one."""
    client, job = finished(sim)
    dead = tmp_path / f".t-{job.id}-1.png.AAAAAAAA.part"
    dead.write_bytes(b"half")
    living = targets.LocalWriter(tmp_path / f"t-{job.id}-1.png")
    living.write(b"half")
    (alive,) = [path for path in tmp_path.iterdir() if path != dead]
    os.utime(alive, (time.time() - 60, time.time() - 60))
    another = tmp_path / ".t-otherjob-1.png.AAAAAAAA.part"
    another.write_bytes(b"half")
    download_outputs(client, job, "t", str(tmp_path))
    assert not dead.exists()
    assert alive.exists()
    assert another.exists()
    living.abort()
    assert not alive.exists()
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_new_file_that_was_taken_for_a_leftover(tmp_path, monkeypatch):
    """Another task removes a temporary file before its writer has locked it: the writer begins another one."""
    flock, removed = storage.fcntl.flock, []

    def late(file, how):
        if not removed:
            removed.extend(tmp_path.iterdir())
            storage.remove_stale_staging_files(tmp_path, ".a.png.*.part")
        return flock(file, how)

    monkeypatch.setattr(storage.fcntl, "flock", late)
    target = targets.LocalWriter(tmp_path / "a.png")
    target.write(b"whole")
    target.commit()
    assert [path.exists() for path in removed] == [False]
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"whole"


def test_an_object_has_its_content_type(sim, bucket):
    """Browsers show what comes from the bucket, instead of saving it."""
    client, job = finished(sim)
    download_outputs(client, job, "t", bucket.uri)
    (key,) = bucket.keys()
    assert bucket.client.head_object(Bucket=bucket.name, Key=key)["ContentType"] == "image/png"
    assert sim.stats()["creates"]["accepted"] == 1
