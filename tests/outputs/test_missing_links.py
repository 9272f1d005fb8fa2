"""Complete jobs without links to all of their files: places are kept, and the missing ones are asked for again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from helpers.attempts import TaskInstance
from helpers.jobs import finished_job
from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import TransferError
from magic_hour_provider.api.protocol import read_job
from magic_hour_provider.api.responses import Response
from magic_hour_provider.operators.files import MagicHourDownloadOperator
from magic_hour_provider.outputs.download import _Links
from magic_hour_provider.sensors.job import MagicHourJobSensor
from magic_hour_provider.simulator import service

FOUR = {"image_count": 4, "style": {"prompt": "a lighthouse"}}
SPOILT: dict[str, Callable[[list[Any]], Any]] = {
    "null": lambda links: [links[0], None, *links[2:]],
    "an error": lambda links: [links[0], {"error": "not ready"}, *links[2:]],
    "a null link": lambda links: [links[0], {"url": None, "expires_at": None}, *links[2:]],
    "an empty link": lambda links: [links[0], {"url": "", "expires_at": None}, *links[2:]],
}


@pytest.fixture
def spoil(monkeypatch) -> Callable[..., list[float]]:
    """Change the links of complete jobs that the simulator's next polls show; returns when those polls were."""
    real = service.job_details

    def spoil(change: Callable[[list[Any]], Any], *, polls: float = float("inf")) -> list[float]:
        seen: list[float] = []

        def details(job: Any, now: float, link: Any) -> dict[str, Any]:
            found = real(job, now, link)
            if found.get("downloads") and len(seen) < polls:
                seen.append(now)
                return found | {"downloads": change(found["downloads"])}
            return found

        monkeypatch.setattr(service, "job_details", details)
        return seen

    return spoil


def submitted(sim: Any) -> str:
    """Return the id of a job of two images that is complete, and that nobody has polled."""
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        made = client.create("ai-image-generator", FOUR | {"image_count": 2})
    sim.advance(60)
    return made.id


LATE = SPOILT | {
    "fewer": lambda links: links[:2],
    "none": lambda links: [],
    "no list": lambda links: None,
}


@pytest.mark.parametrize("change", LATE.values(), ids=LATE)
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_link_that_comes_later(airflow, spoil, change, deferrable):
    """The job is polled again until all of its links are there, and every file keeps its number."""
    polls = spoil(change, polls=2)
    result = airflow.attempt(airflow.operator(request=FOUR, deferrable=deferrable), TaskInstance())
    assert [Path(one).stem[-2:] for one in result["files"]] == ["-1", "-2", "-3", "-4"]
    assert [one["index"] for one in result["media"]] == [0, 1, 2, 3]
    assert len(polls) == 2
    assert airflow.creates() == 1


@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_link_that_never_comes(airflow, spoil, change, deferrable):
    """After the timeout the task fails with the file's number, the others stored; a retry downloads that one alone."""
    spoil(change)
    ti, operator = TaskInstance(), airflow.operator(request=FOUR, deferrable=deferrable, timeout=120)
    start = airflow.clock.now()
    with pytest.raises(AirflowException, match="no link to file 2 of 4") as caught:
        airflow.attempt(operator, ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert 110 < airflow.clock.now() - start < 240
    assert sorted(path.stem[-2:] for path in (airflow.output / "out").glob("*.png")) == ["-1", "-3", "-4"]
    fetched = airflow.sim.stats()["downloads"]
    spoil(lambda links: links)
    assert len(airflow.attempt(operator, ti)["files"]) == 4
    assert airflow.sim.stats()["downloads"] == fetched + 1
    assert airflow.creates() == 1


def test_a_task_without_a_folder_does_not_wait_for_links(airflow, spoil):
    """Where nothing is stored a complete job is complete."""
    spoil(lambda links: [])
    start = airflow.clock.now()
    result = airflow.attempt(airflow.operator(request=FOUR, output_path=""), TaskInstance())
    assert (result["status"], result["files"]) == ("complete", [])
    assert airflow.clock.now() - start < 120
    assert airflow.creates() == 1


@pytest.mark.parametrize("options", [{}, {"mode": "poke", "poke_interval": 10}], ids=["deferred", "poke"])
def test_a_sensor(airflow, spoil, options):
    """It waits for the links too, and at its timeout stores what there is and names what is missing."""
    job_id = submitted(airflow.sim)

    def sensor() -> MagicHourJobSensor:
        folder = str(airflow.output / "out")
        given = {"kind": "image", "id": job_id}
        return MagicHourJobSensor(task_id="make", job=given, output_path=folder, timeout=90, **options)

    if not options:
        spoil(lambda links: [None, links[1]])
        with pytest.raises(AirflowException, match="no link to file 1 of 2"):
            airflow.attempt(sensor(), TaskInstance())
        assert [path.stem[-2:] for path in (airflow.output / "out").glob("*.png")] == ["-2"]
    spoil(lambda links: [None, links[1]], polls=1)
    one, ti = sensor(), TaskInstance()
    context = ti.context(one)
    if options:
        assert not one.poke(context).is_done
        airflow.sim.advance(1)
        assert len(one.poke(context).xcom_value["files"]) == 2
    else:
        assert len(airflow.attempt(one, ti)["files"]) == 2
    assert airflow.creates() == 1


def test_a_sensor_that_pokes_for_the_last_time(airflow, spoil):
    """At the timeout a poke stores the files that have a link, and fails with the number of the one that has none."""
    job_id = submitted(airflow.sim)
    spoil(lambda links: [None, links[1]])
    folder, given = str(airflow.output / "out"), {"kind": "image", "id": job_id}
    one = MagicHourJobSensor(task_id="make", job=given, output_path=folder, timeout=60, mode="poke")
    ti = TaskInstance()
    ti.start_date = datetime.fromtimestamp(airflow.clock.now() - 60, UTC)
    with pytest.raises(AirflowException, match="no link to file 1 of 2"):
        one.poke(ti.context(one))
    assert [path.stem[-2:] for path in (airflow.output / "out").glob("*.png")] == ["-2"]
    assert airflow.creates() == 1


def test_a_download_of_a_job_made_elsewhere(airflow, spoil):
    """It polls once: what there is is stored, and a retry may find the rest."""
    job_id = submitted(airflow.sim)
    spoil(lambda links: [None, links[1]], polls=1)
    given, ti = {"kind": "image", "id": job_id}, TaskInstance()
    operator = MagicHourDownloadOperator(task_id="make", job=given, output_path=str(airflow.output / "out"))
    with pytest.raises(AirflowException, match="no link to file 1 of 2") as caught:
        airflow.attempt(operator, ti)
    assert not isinstance(caught.value, AirflowFailException)
    airflow.sim.advance(1)
    assert len(airflow.attempt(operator, ti)["files"]) == 2
    assert airflow.creates() == 1


def test_the_result_of_a_job_whose_link_is_missing(airflow, spoil):
    """As an input it is not mistaken for the next file: nothing is paid, and a retry asks again."""
    job_id = submitted(airflow.sim)
    spoil(lambda links: [None, *links[1:]], polls=1)
    request = {"assets": {"image_file_path": {"kind": "image", "id": job_id, "index": 0}}, "end_seconds": 3}
    ti, operator = TaskInstance(), airflow.operator("image-to-video", request)
    with pytest.raises(AirflowException, match="file 1 Magic Hour gives no link") as caught:
        airflow.attempt(operator, ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert airflow.creates() == 1
    airflow.sim.advance(1)
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 2


def test_a_fresh_link_without_the_others(sim, clock, tmp_path, monkeypatch):
    """A poll for a fresh link that leaves out another file's link takes nothing away from that file."""
    client, job = finished_job(sim, count=2)
    links = _Links(client, job)
    fresh = replace(job.downloads[0], url="https://example.com/fresh.png")
    monkeypatch.setattr(client, "get_job", lambda *_: replace(job, downloads=(fresh, None)))
    assert links.refresh(0, job.downloads[0]) == fresh
    assert links.get(1) == job.downloads[1]
    with pytest.raises(TransferError, match="has no other"):
        links.refresh(1, job.downloads[1])
    assert sim.stats()["creates"]["accepted"] == 1


def test_a_face_without_a_path_keeps_its_place():
    """The faces after it keep their numbers."""
    body = b'{"status": "complete", "faces": [{"path": null}, {"path": "api-assets/x/0-1.png"}, null]}'
    assert read_job(Response(200, {}, body), "face-detection", "x").faces == (None, "api-assets/x/0-1.png", None)
