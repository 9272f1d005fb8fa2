"""One output file being staged: committed, compared or aborted, in memory that a job's files share."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

import httpx
import pytest

from helpers.jobs import finished_job
from helpers.waiting import HANG_S, at_once
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.models import Job
from magic_hour_provider.outputs.download import download_outputs
from magic_hour_provider.outputs.staging import MemoryBudget, extension_of

pytestmark = pytest.mark.usefixtures("clock")  # waiting moves the time


def test_large_files_wait_for_memory():
    """Two full parts of S3 fit, and small files beside each other; one that is larger than all of it comes alone."""
    memory = MemoryBudget(12)
    assert (memory.acquire(5), memory.acquire(5)) == (5, 5)
    third = threading.Thread(target=memory.acquire, args=(5,), daemon=True)
    third.start()
    third.join(0.05)
    assert third.is_alive()
    memory.release(5)
    third.join(HANG_S)
    assert not third.is_alive()
    memory.release(5)
    memory.release(5)
    assert memory.acquire(100) == 12


def test_two_tasks_store_one_job_at_once(sim, place):
    """The operator and a sensor may store the same job: both end with the same whole files and nothing else."""
    client, job = finished_job(sim, count=2)
    assert at_once(4, lambda: download_outputs(client, job, "t", place.uri)) == []
    assert place.names() == [f"t-{job.id}-1.png", f"t-{job.id}-2.png"]
    assert place.unfinished() == []
    assert sim.stats()["creates"]["accepted"] == 1


def test_the_same_file_is_kept(sim, place):
    """A file that is there is compared and kept."""
    client, job = finished_job(sim)
    first = download_outputs(client, job, "t", place.uri)
    assert download_outputs(client, job, "t", place.uri) == first
    assert len(place.names()) == 1
    assert sim.stats()["creates"]["accepted"] == 1


def test_another_file_is_never_overwritten(sim, place):
    """Both checksums are named, the file stays as it is, and moving it away is all that a person has to do."""
    client, job = finished_job(sim)
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


def test_no_extension_leads_out_of_the_folder(sim, tmp_path):
    """The extension comes from a link: what is none is replaced by what the content type says."""
    _, job = finished_job(sim)
    good = job.downloads[0].url
    for suffix in ("/../../x", ".%2e%2e", ".a b", ".tar.ü"):
        job = Job(**{**vars(job), "downloads": (replace(job.downloads[0], url=good.replace(".png", suffix)),)})
        assert extension_of(job.downloads[0].url, "image/png") == "png"
        assert extension_of(job.downloads[0].url, "") == "bin"
    assert sim.stats()["creates"]["accepted"] == 1


def test_an_object_has_its_content_type(sim, bucket):
    """Browsers show what comes from the bucket, instead of saving it."""
    client, job = finished_job(sim)
    download_outputs(client, job, "t", bucket.uri)
    (key,) = bucket.keys()
    assert bucket.client.head_object(Bucket=bucket.name, Key=key)["ContentType"] == "image/png"
    assert sim.stats()["creates"]["accepted"] == 1


@pytest.mark.parametrize(
    ("path", "content_type", "extension"),
    [
        ("a/output.PNG", "image/jpeg", "png"),
        ("a/output", "video/quicktime", "mov"),
        ("a/output", "image/jpg", "jpg"),
        ("a/output", "audio/ogg", "ogg"),
        ("a/clip", "video/mp4", "mp4"),
        ("v1.2/file", "audio/flac", "flac"),
        ("a/mp4", "image/png", "png"),
        ("a/abcde", "", "bin"),
        ("a/.mp4", "image/png", "png"),
        ("a/get.php", "image/webp", "webp"),
        ("a/page.html", "", "html"),
        ("", "audio/x-wav", "wav"),
    ],
)
def test_the_extension_of_a_file(path, content_type, extension):
    """It is the link's if media have it, else the content type's; a segment without a dot is no extension."""
    assert extension_of(f"https://s.example/{path}?x=a.gif", content_type) == extension
