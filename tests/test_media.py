"""Files on their way into storage."""

from __future__ import annotations

import threading

import pytest

from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import BadInputError
from magic_hour_provider.api.jobs import Job
from magic_hour_provider.delivery import collect
from magic_hour_provider.media import check_folder, result_object
from support import KEY


def finished(sim, count: int = 1) -> tuple[MagicHourClient, Job]:
    """Return a client and a finished image job."""
    client = MagicHourClient(api_key=KEY, base_url=sim.url)
    made = client.create("ai-image-generator", {"image_count": count, "style": {"prompt": "x"}})
    sim.advance(60)
    return client, client.get_job("image", made.id)


def at_once(times: int, work) -> list[Exception]:
    """Do the same in several threads; return what they raised."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_many_tasks_try_one_folder_at_once(tmp_path):
    """The trial file has a name of its own: mapped tasks that start together do not trip over each other."""
    assert at_once(8, lambda: [check_folder(str(tmp_path / "a" / "b")) for _ in range(20)]) == []
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_two_tasks_collect_one_job_at_once(sim, tmp_path):
    """The operator and a sensor may store the same job: both end with the same whole file and nothing else."""
    client, job = finished(sim)
    assert at_once(4, lambda: collect(client, job, "ai-image-generator", str(tmp_path))) == []
    (path,) = tmp_path.iterdir()
    assert path.name == f"ai-image-generator-{job.id}-1.png"
    assert sim.stats()["creates"]["accepted"] == 1


def test_what_is_stored_is_not_fetched_again(sim, tmp_path):
    """A file of an earlier attempt is kept while it is there and unchanged, else fetched."""
    client, job = finished(sim, count=4)
    first = result_object(job, "t", collect(client, job, "t", str(tmp_path)))["media"]
    assert sim.stats()["downloads"] == 4
    (tmp_path / f"t-{job.id}-2.png").unlink()
    again = collect(client, job, "t", str(tmp_path), stored=first)
    assert [one.uri for one in again] == [one["uri"] for one in first]
    assert sim.stats()["downloads"] == 5
    collect(client, job, "t", str(tmp_path / "elsewhere"), stored=first)
    assert len(list((tmp_path / "elsewhere").iterdir())) == 4
    assert sim.stats()["creates"]["accepted"] == 1


@pytest.mark.parametrize("folder", ["/proc/nowhere", "nosuch://bucket/x", "s3://no_such_connection@bucket/x"])
def test_a_folder_that_cannot_be_written(folder):
    """Whatever its storage says, the person reads one sentence with the folder in it."""
    with pytest.raises(BadInputError, match="cannot be written"):
        check_folder(folder)
