"""Workers that are killed with kill -9 in the middle of a delivery to a cloud: real processes, in real time."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from helpers import batch_process, job_process
from helpers.batches import results
from helpers.places import CLOUDS, Place
from helpers.processes import ModuleProcess
from helpers.samples import KEY
from helpers.waiting import until
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.rendering.render import Renderer

FILES = job_process.IMAGES
# CPython #111049: garbage that holds a part of an upload, as this gcsfs leaves it, ends the process before 3.12.2.
CRASHES = pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 2) and Version(version("gcsfs")) >= Version("2026.10"),
    reason="Python 3.12.0 and 3.12.1 crash with gcsfs of October 2026",
)
Start = Callable[..., ModuleProcess]


@pytest.fixture
def sim(cloud: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator in whose time a minute passes in a second, with files of which the half is more than one part."""
    render, padding = Renderer._render, bytes((11 if cloud.uri.startswith("s3:") else 5) * 1024 * 1024)

    def render_large(renderer: Renderer, job: Any, number: int, path: Path) -> None:
        render(renderer, job, number, path)
        with path.open("ab") as file:
            file.write(padding)

    monkeypatch.setattr(Renderer, "_render", render_large)
    with Simulator(speed=60, api_key=KEY, storage=tmp_path / "simulator") as one:
        yield one


@pytest.fixture
def cloud(request: pytest.FixtureRequest, cloud_place: Callable[[str], Iterator[Place]]) -> Iterator[Place]:
    """A cloud, empty."""
    yield from cloud_place(request.param)


@pytest.fixture
def start(sim: Simulator) -> Iterator[Start]:
    """Starts workers; what is left of them at the end is killed."""
    connection = {"conn_type": "magic_hour", "password": KEY, "host": sim.url}
    patient = json.dumps(connection | {"extra": {"timeout": 600}})  # what stalls is not asked for again
    with ExitStack() as stack:

        def start(module: Any, *arguments: Any, output: str, **environment: str) -> ModuleProcess:
            environment["AIRFLOW_CONN_MAGIC_HOUR_DEFAULT"] = patient
            process: ModuleProcess = module.start(*arguments, environment=environment, output=output)
            return stack.enter_context(process)

        yield start


def pictures(cloud: Place) -> list[str]:
    """Name the files that are there."""
    return [name for name in cloud.names() if name.endswith(".png") and not name.startswith(".")]


def kill_during_delivery(sim: Simulator, cloud: Place, process: ModuleProcess) -> dict[str, object]:
    """Kill a worker when all files but one are stored, of which it has received the half; return when."""
    until(lambda: sim.stats()["downloads"] == FILES or process.poll() is not None, 300)
    for _ in range(300):
        if len(pictures(cloud)) == FILES - 1:
            break
        assert process.poll() is None
        time.sleep(1)  # an emulator that lists has no time for the worker
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert sim.stats()["faults_injected"] == {"stall-mid-body": 1}
    sim.clear_faults()
    stored = {name: cloud.written_at(name) for name in pictures(cloud)}
    assert len(stored) == FILES - 1
    return stored


def assert_whole(
    cloud: Place, tmp_path: Path, media: Sequence[dict[str, Any]], stored_before: dict[str, object]
) -> None:
    """All files are there under one name each, with the bytes that were made; those of before were left alone."""
    names = [one["uri"].rpartition("/")[2] for one in media]
    assert sorted(names) == pictures(cloud)
    assert len(names) == FILES
    made = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "simulator").rglob("*.png")}
    stored = {name: hashlib.sha256(cloud.read(name)).hexdigest() for name in names}
    assert stored == {name: one["sha256"] for name, one in zip(names, media, strict=True)}
    assert set(stored.values()) == made
    assert {name: cloud.written_at(name) for name in stored_before} == stored_before


@pytest.mark.parametrize(
    "cloud", [pytest.param(one, marks=CRASHES if one == "gs" else pytest.mark.long) for one in CLOUDS], indirect=True
)
def test_a_worker_of_one_task(sim: Simulator, cloud: Place, start: Start, tmp_path: Path):
    """Its record is in the cloud as well: the next attempt pays nothing, and fetches the one file that is missing."""
    ledger = cloud.uri.removesuffix("out") + "ledger"
    sim.inject_fault("stall-mid-body", endpoint="download")
    dead = start(job_process, 1, output=cloud.uri, AIRFLOW__MAGIC_HOUR__LEDGER_PATH=ledger)
    before = kill_during_delivery(sim, cloud, dead)
    result = start(job_process, 2, output=cloud.uri, AIRFLOW__MAGIC_HOUR__LEDGER_PATH=ledger).read_result()
    assert (result["status"], sim.stats()["creates"]["accepted"]) == ("complete", 1)
    assert_whole(cloud, tmp_path, result["media"], before)


@pytest.mark.long
@pytest.mark.parametrize(
    "cloud", [pytest.param(one, marks=CRASHES if one == "gs" else ()) for one in CLOUDS], indirect=True
)
def test_a_worker_of_a_batch(sim: Simulator, cloud: Place, start: Start, tmp_path: Path):
    """The next attempt finds what each item has come to, pays nothing, and delivers the one that is missing."""
    (tmp_path / "go").touch()
    sim.inject_fault("stall-mid-body", endpoint="download")
    dead = start(batch_process, tmp_path, FILES, 1, output=cloud.uri)
    before = kill_during_delivery(sim, cloud, dead)
    made = start(batch_process, tmp_path, FILES, 1, output=cloud.uri).read_result()
    assert (made["complete"], made["unknown"], sim.stats()["creates"]["accepted"]) == (FILES, 0, FILES)
    assert_whole(cloud, tmp_path, [media for row in results(made).values() for media in row["media"]], before)
