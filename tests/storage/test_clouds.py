"""Whole tasks whose files come from the clouds and go there, with kill -9 in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.attempts import TaskInstance
from helpers.places import CLOUDS, Place
from helpers.processes import ModuleProcess
from helpers.samples import PHOTO
from helpers.waiting import until
from magic_hour_provider.storage.paths import open_path
from magic_hour_provider.storage.writers import open_writer


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest):
    """Each cloud, empty."""
    yield from request.getfixturevalue("cloud_place")(request.param)


def test_a_task_takes_and_stores_files(airflow, cloud: Place):
    """The photo is uploaded from the cloud, the result and its sidecar are stored there, and a clear pays nothing."""
    cloud.write("in.png", PHOTO.read_bytes())
    request = {"assets": {"image_file_paths": [f"{cloud.uri}/in.png"]}, "style": {"prompt": "warmer"}}
    task, ti = airflow.operator("ai-image-editor", request, output_path=cloud.uri), TaskInstance()
    result = airflow.attempt(task, ti)
    assert result["status"] == "complete"
    assert result["media"][0]["uri"].startswith(cloud.uri)
    assert (len(cloud.names()), cloud.unfinished()) == (3, [])
    assert airflow.attempt(task, ti)["media"] == result["media"]
    assert airflow.creates() == 1


def test_a_writer_that_is_killed(cloud: Place, tmp_path: Path):
    """With kill -9 between its bytes: no file shows, and the next one takes the name."""
    mark = tmp_path / "written"
    with ModuleProcess("helpers.writer_process", f"{cloud.uri}/a.png", mark) as process:
        until(lambda: mark.exists() or process.poll() is not None)
        process.kill()
    assert mark.exists()
    assert cloud.names() == []
    writer = open_writer(open_path(f"{cloud.uri}/a.png"), "image/png")
    writer.write(b"whole")
    writer.commit()
    assert (cloud.names(), cloud.read("a.png")) == (["a.png"], b"whole")
