"""Files on real Airflow: a kill -9 with downloads under way, and a DAG that new files start."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from helpers.money_report import note
from helpers.waiting import until

pytestmark = pytest.mark.system

KILLED = "killed_with_downloads_under_way"


@pytest.fixture(scope="module")
def runs(world: Any) -> dict[str, Any]:
    """Start both side by side."""
    return {
        "uploads": world.sim.stats()["uploads"],
        KILLED: world.airflow.trigger(KILLED),
        "new_picture": world.airflow.trigger("new_picture"),
    }


def test_a_worker_killed_with_downloads_under_way(world, runs):
    """kill -9 with one file whole and three half written: one create, four whole files, and nothing half is left."""
    ti = world.airflow.wait_for_task(KILLED, runs[KILLED], "make", ("success", "failed"))
    assert (ti["state"], ti["try_number"]) == ("success", 2)
    jobs = [job for job in world.sim.jobs() if job["name"].startswith(f"{KILLED}.make")]
    result = world.airflow.xcom(KILLED, runs[KILLED], "make")
    assert [job["id"] for job in jobs] == [result["id"]]

    names = {Path(file).name for file in result["files"]}
    left = json.loads((world.airflow.home / "in-flight.json").read_text())
    assert (len(names.intersection(left)), len([name for name in left if name.endswith(".part")])) == (1, 3)
    assert len(names) == 4
    for media in result["media"]:
        data = Path(media["uri"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (media["size"], media["sha256"])
        with Image.open(media["uri"]) as picture:
            picture.load()
    there = {path.name for path in (world.output / "in-flight").rglob("*") if path.is_file()}
    assert there == names | {f"ai-image-generator-{result['id']}.json"}
    credits = sum(job["credits_charged"] for job in jobs)
    outcome = "success: 4 whole files, none half; jobs lost: 0"
    cell = ("worker with 3 downloads under way", "one retry")
    note("kill -9 on real Airflow", cell, creates=len(jobs), credits=credits, outcome=outcome)


def test_new_files_start_another_dag(world, runs):
    """Airflow learns of both files of a job through the alias, and starts the other DAG, which processes each."""
    airflow = world.airflow
    assert airflow.wait_for_run("new_picture", runs["new_picture"]) == "success"
    made = airflow.xcom("new_picture", runs["new_picture"], "picture")

    (run,) = until(lambda: airflow.api("GET", "/dags/on_new_picture/dagRuns")["dag_runs"])
    run_id = run["dag_run_id"]
    assert (run["run_type"], airflow.wait_for_run("on_new_picture", run_id)) == ("asset_triggered", "success")
    events = airflow.api("GET", f"/dags/on_new_picture/dagRuns/{run_id}/upstreamAssetEvents")["asset_events"]
    assert {event["uri"]: event["extra"]["index"] for event in events} == {
        f"file://{file}": index for index, file in enumerate(made["files"])
    }

    cutouts = [job for job in world.sim.jobs() if job["name"].startswith("on_new_picture.cutout")]
    results = [airflow.xcom("on_new_picture", run_id, "cutout", map_index=index) for index in range(2)]
    assert sorted(job["id"] for job in cutouts) == sorted(result["id"] for result in results)
    assert len(cutouts) == 2
    assert world.sim.stats()["uploads"] == runs["uploads"]  # the pictures went by reference
