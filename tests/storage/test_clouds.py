"""Whole tasks whose files come from the clouds and go there, with kill -9 in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.attempts import TaskInstance
from helpers.places import CLOUDS, Place
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


def test_a_writer_that_is_killed(cloud: Place, request: pytest.FixtureRequest, tmp_path: Path):
    """With kill -9 between its bytes: no file shows, and the next one takes the name."""
    protocol = cloud.uri.partition(":")[0]
    served = {"gs": "google", "abfs": "azure"}.get(protocol)
    address = "" if served is None else request.getfixturevalue(served)
    program = (
        "import sys, time\n"
        "from helpers import clouds\n"
        "from magic_hour_provider.storage.paths import open_path\n"
        "from magic_hour_provider.storage.writers import open_writer\n"
        "uri, address, mark = sys.argv[1:]\n"
        "if address: clouds.attach_files(uri.partition(':')[0], address)\n"
        "writer = open_writer(open_path(uri), 'image/png')\n"
        "writer.write(bytes(6 * 1024 * 1024))\n"
        "open(mark, 'w').close()\n"
        "time.sleep(600)\n"
    )
    mark = tmp_path / "written"
    paths = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        [sys.executable, "-c", program, f"{cloud.uri}/a.png", getattr(address, "connection_string", address), mark],
        env=os.environ | {"PYTHONPATH": paths},
        cwd=Path(__file__).parent.parent,
    )
    try:
        until(lambda: mark.exists() or process.poll() is not None)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert mark.exists()
    assert cloud.names() == []
    writer = open_writer(open_path(f"{cloud.uri}/a.png"), "image/png")
    writer.write(b"whole")
    writer.commit()
    assert (cloud.names(), cloud.read("a.png")) == (["a.png"], b"whole")
