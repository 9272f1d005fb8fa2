"""Downloads of a job's outputs: several at a time, into any folder, none of them twice."""

from __future__ import annotations

import errno
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.dirfs import DirFileSystem

from helpers.jobs import finished_job
from helpers.places import PrivateMemory
from helpers.waiting import HANG_S
from magic_hour_provider.api.errors import InvalidInputError, TransferError
from magic_hour_provider.api.models import Job
from magic_hour_provider.outputs.download import download_outputs, file_stem, find_stored_files, store_outputs
from magic_hour_provider.storage import writers
from magic_hour_provider.storage.paths import check_folder, checksum, open_path

pytestmark = pytest.mark.usefixtures("clock")  # waiting moves the time


def test_one_file_fails_and_the_others_come(sim, place):
    """What can be had is stored and noted, so that a retry downloads the missing file alone."""
    client, job = finished_job(sim, count=4)
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
    client, job = finished_job(sim, count=4)
    job = Job(**{**vars(job), "downloads": (*job.downloads, *job.downloads)})
    now = most = 0
    real, lock, four = client.download, threading.Lock(), threading.Barrier(4, timeout=HANG_S)

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
    client, job = finished_job(sim, count=2)
    real, first_is_stored = client.download, threading.Event()

    class Waiting:
        def __init__(self, target):
            self.target = target

        def write(self, data):
            assert first_is_stored.wait(HANG_S)
            assert self.target._stop.wait(HANG_S)  # set when the task is killed
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


def test_what_is_stored_is_not_fetched_again(sim, place):
    """A file of an earlier attempt is kept while it is there and unchanged, else fetched."""
    client, job = finished_job(sim, count=4)
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


@pytest.mark.parametrize("folder", ["a b/ü 名前/{x}", "a//b/", "100%/q?x=1#y"])
def test_folders_with_any_name(sim, tmp_path, bucket, folder):
    """Blanks, other scripts and signs are what they are, on disks and in buckets, and the URI finds the file again."""
    client, job = finished_job(sim)
    for root in (str(tmp_path), f"file://{tmp_path}/file", f"{bucket.uri}/x"):
        (media,) = download_outputs(client, job, "t", f"{root}/{folder}")
        assert checksum(open_path(media.uri)) == media.sha256
    assert sim.stats()["creates"]["accepted"] == 1


@pytest.mark.parametrize("folder", ["a*b", "50%?x", "[new]/ü", "{a,b}", "**"])
def test_folders_whose_names_are_patterns(sim, place, folder):
    """Signs that patterns are made of are signs: the file has its name in its folder, and no other file is touched."""
    client, job = finished_job(sim, count=2)
    check_folder(f"{place.uri}/{folder}")
    files = download_outputs(client, job, "t", f"{place.uri}/{folder}")
    assert [name for name in place.names() if "/" not in name and name.startswith(".")] == []
    for file in files:
        assert file.uri.endswith(f"/{folder}/t-{job.id}-{file.index + 1}.png")
        assert checksum(open_path(file.uri)) == file.sha256
    assert sim.stats()["creates"]["accepted"] == 1


@pytest.mark.parametrize("folder", ["plain", "a*b[1]"])
def test_a_file_system_below_another_ones_folder(sim, folder):
    """Whether names are patterns depends on the one that does the work."""
    client, job = finished_job(sim)
    store = PrivateMemory()
    root = f"memory://below-{id(store)}@x"
    attach("memory", f"below-{id(store)}", fs=DirFileSystem("/below", fs=store))
    check_folder(f"{root}/{folder}")
    (file,) = download_outputs(client, job, "t", f"{root}/{folder}")
    assert [name.rpartition(f"/{folder}/")[2] for name in store.store] == [f"t-{job.id}-1.png"]
    assert checksum(open_path(file.uri)) == file.sha256
    assert sim.stats()["creates"]["accepted"] == 1


@pytest.mark.parametrize("tool", ["../../etc/x", "..", "a/b", "ü x", ""])
def test_no_tool_leads_out_of_the_folder(sim, tmp_path, tool):
    """A tool's name comes from a user's dict or from another task: it is part of a file name and no path."""
    client, job = finished_job(sim)
    (media,) = download_outputs(client, job, tool, str(tmp_path / "out"))
    assert Path(media.uri.removeprefix("file://")).parent == tmp_path / "out"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert "/" not in file_stem(tool, job)
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_folder_that_climbs_out(sim, tmp_path):
    """A paid job stays collectable when its rendered folder has ``..`` in it."""
    client, job = finished_job(sim)
    with pytest.raises(InvalidInputError, match="was paid for and stays charged"):
        store_outputs(client, job, "t", f"{tmp_path}/a/../../b")
    assert list(tmp_path.iterdir()) == []
    assert sim.stats()["creates"]["accepted"] == 1


@pytest.mark.parametrize("count", [1, 3])
def test_a_full_disk(sim, tmp_path, monkeypatch, count):
    """A clear error, no half file, and a retry collects the paid job."""
    client, job = finished_job(sim, count)
    real = writers.LocalWriter.write

    def full(target, data):
        real(target, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(TransferError, match="No space left on device") as caught:
        patch.setattr(writers.LocalWriter, "write", full)
        download_outputs(client, job, "t", str(tmp_path))
    assert "a retry downloads the job's files and pays nothing" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert len(download_outputs(client, job, "t", str(tmp_path))) == count
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_folder_that_is_forbidden(sim):
    """As with a full disk: the job is not lost."""
    client, job = finished_job(sim)
    with pytest.raises(
        TransferError, match=r"could not be stored in '/proc/nowhere'.*a retry downloads the job's files"
    ):
        download_outputs(client, job, "t", "/proc/nowhere")
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_bucket_that_refuses(sim, bucket):
    """No bucket: said with its name, retryable, and no bucket is made."""
    client, job = finished_job(sim)
    with pytest.raises(TransferError, match="no-such-bucket"):
        download_outputs(client, job, "t", bucket.uri.replace(bucket.name, "no-such-bucket") + "/x")
    assert "no-such-bucket" not in [one["Name"] for one in bucket.client.list_buckets()["Buckets"]]
    assert sim.stats()["creates"]["accepted"] == 1


def test_stale_staging_files_of_a_killed_attempt(sim, tmp_path):
    """The next attempt removes staging files whose writer is gone, and leaves those of a living one."""
    client, job = finished_job(sim)
    dead = tmp_path / f".t-{job.id}-1.png.AAAAAAAA.part"
    dead.write_bytes(b"half")
    living = writers.LocalWriter(tmp_path / f"t-{job.id}-1.png")
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
