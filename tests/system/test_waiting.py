"""Two hundred jobs wait in two real triggerers, and one of the two is killed."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import httpx
import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from deferred_rows import put_deferred, resumed
from helpers.samples import KEY
from helpers.system import LONG_S
from helpers.waiting import until
from magic_hour_provider.triggers.job import MagicHourJobTrigger

pytestmark = pytest.mark.system

JOBS = 200
REAL = 4


def alive(airflow: Any) -> set[int]:
    """Return the ids of the triggerers that Airflow takes for alive."""
    found = airflow.api("GET", "/jobs", job_type="TriggererJob", is_alive=True)["jobs"]
    return {job["id"] for job in found if job["state"] == "running"}


def started(airflow: Any, name: str) -> int:
    """Start one more triggerer, and return its id."""
    before = alive(airflow)
    airflow.start("triggerer", name)
    return max(until(lambda: alive(airflow) - before))


def submitted(sim: Any, jobs: int) -> list[MagicHourJobTrigger]:
    """Pay for jobs, and return the triggers that their tasks would have deferred with."""
    request = {"name": "crowd", "style": {"prompt": f"waves [[seconds:{LONG_S}]]"}, "end_seconds": 3}
    with httpx.Client(headers={"authorization": f"Bearer {KEY}"}, trust_env=False) as http:
        made = [http.post(f"{sim.url}/v1/text-to-video", json=request).raise_for_status().json() for _ in range(jobs)]
    now = time.time()
    times = {"submitted_at": now, "deferred_at": now, "deadline": now + 3600}
    return [
        MagicHourJobTrigger(kind="video", job_id=job["id"], tool="text-to-video", conn_id="magic_hour_default", **times)
        for job in made
    ]


def deferred(airflow: Any, dag_id: str, run_id: str) -> list[int | None]:
    """Return, for every deferred task instance of a run, the id of its triggerer."""
    path, found = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", []
    while True:
        page = airflow.api("GET", path, state="deferred", limit=100, offset=len(found), order_by="map_index")
        found += page["task_instances"]
        if not page["task_instances"] or len(found) >= page["total_entries"]:
            return [ti["triggerer_job"] and ti["triggerer_job"]["id"] for ti in found]


def test_one_of_two_triggerers_killed(world):
    """kill -9 of one of two triggerers with 200 jobs: all get their end, none twice, and each is paid once."""
    airflow = world.airflow
    for name in airflow.running("triggerer"):
        airflow.kill(name)
    triggerers = {started(airflow, name): name for name in ("triggerer-a", "triggerer-b")}
    real_run, run_id = airflow.trigger("among_the_crowd"), airflow.trigger("crowd")
    until(lambda: len(deferred(airflow, "among_the_crowd", real_run)) == REAL)

    triggers = submitted(world.sim, JOBS - REAL)
    put_deferred(
        airflow.environment,
        dag_id="crowd",
        run_id=run_id,
        task_id="make",
        method="execute_complete",
        triggers=[trigger.serialize() for trigger in triggers],
    )
    until(lambda: None not in deferred(airflow, "crowd", run_id))
    held = Counter(deferred(airflow, "crowd", run_id))
    # They share them; before Airflow 3.2 the one that asks first takes them all.
    assert len(held) == (2 if AIRFLOW_V_3_2_PLUS else 1)
    ((busier, _),) = held.most_common(1)
    airflow.kill(triggerers[busier])
    for names in ("crowd", "among_the_crowd."):
        world.end_jobs(names)

    assert airflow.wait_for_run("among_the_crowd", real_run) == "success"
    until(lambda: not deferred(airflow, "crowd", run_id))
    rows = resumed(airflow.environment, "crowd", run_id)
    assert [row["state"] for row in rows] == ["scheduled"] * (JOBS - REAL)
    assert [row["event"]["id"] for row in rows] == [trigger.job_id for trigger in triggers]
    assert {row["event"]["status"] for row in rows} == {"complete"}
    paid = {airflow.xcom("among_the_crowd", real_run, "make", map_index=index)["id"] for index in range(REAL)}
    assert len(paid) == REAL
    accepted = Counter((job["name"] or "").partition(".")[0] for job in world.sim.jobs())
    assert (accepted["crowd"], accepted["among_the_crowd"]) == (JOBS - REAL, REAL)
