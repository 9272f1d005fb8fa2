"""What a lost machine, triggerer, scheduler or API server costs: kill -9 at every point, on real Airflow."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from helpers.system import note_killed
from helpers.waiting import until
from local_airflow import LocalAirflowError

pytestmark = pytest.mark.system

UNKNOWN = "unknown: the task says so and names the key"

# Where the process dies -> creates accepted, state at the end, words in the log of the second attempt.
WORKER = {
    "before_the_intent": (1, "success", "Submitted Magic Hour job"),
    "before_the_post": (0, "failed", "It is unknown whether"),
    "before_the_record": (1, "failed", "It is unknown whether"),
    "after_the_record": (1, "success", "Not paid again"),
    "during_the_download": (1, "success", "Not paid again"),
    "after_the_download": (1, "success", "Not paid again"),
}
ENDED = ("success", "failed")


@pytest.fixture(scope="module")
def runs(world: Any) -> dict[str, list[str]]:
    """Start what needs no service killed; its tasks run side by side."""
    return {
        "workers_killed": [world.airflow.trigger("workers_killed")],
        "mapped": [world.airflow.trigger("mapped"), world.airflow.trigger("mapped")],
    }


@pytest.mark.parametrize("point", WORKER)
def test_a_worker_killed(world, runs, point):
    """kill -9 of the task's process at a point of its first attempt: one create at most, and no id lost."""
    dag_id, task_id, (run_id,) = "workers_killed", f"worker.{point}", runs["workers_killed"]
    creates, state, words = WORKER[point]
    ti = world.airflow.wait_for_task(dag_id, run_id, task_id, ENDED)
    assert (ti["state"], ti["try_number"]) == (state, 2)
    log = world.airflow.task_log(dag_id, run_id, task_id, 2)
    assert words in log
    jobs = world.jobs_of(dag_id, task_id)
    assert len(jobs) == creates
    if state == "success":
        result = world.airflow.xcom(dag_id, run_id, task_id)
        assert (result["id"], len(result["files"])) == (jobs[0]["id"], 1)
    # No paid job is lost: the log that the person reads has its id, or the tag at the end of its name.
    lost = [job for job in jobs if job["id"] not in log and f"#{job['name'].rpartition('#')[2]}" not in log]
    assert lost == []
    note_killed(jobs, f"worker {point.replace('_', ' ')}", f"{state if state == 'success' else UNKNOWN}; jobs lost: 0")


def test_every_mapped_task_of_every_run_has_a_record_of_its_own(world, runs):
    """Two runs at once of a task mapped three times: six jobs, none shared and none paid twice."""
    ids = []
    for run_id in runs["mapped"]:
        assert world.airflow.wait_for_run("mapped", run_id) == "success"
        ids += [world.airflow.xcom("mapped", run_id, "make", map_index=index)["id"] for index in range(3)]
    jobs = world.jobs_of("mapped", "make")
    assert sorted(ids) == sorted(job["id"] for job in jobs)
    assert len(set(ids)) == 6
    note_killed(jobs, "nothing killed: two runs of a task mapped three times", "success")


def test_a_backfill_pays_once_a_day(world, runs):
    """Three days backfilled, each depending on the one before: three jobs."""
    days = {"from_date": "2026-01-02T00:00:00Z", "to_date": "2026-01-04T00:00:00Z"}
    ask = {"dag_id": "daily", **days, "max_active_runs": 3, "reprocess_behavior": "failed"}

    def asked() -> bool:
        try:
            return bool(world.airflow.api("POST", "/backfills", json=ask))
        except LocalAirflowError as error:
            if "Database is locked" in str(error):  # SQLite, when the scheduler writes at the same moment
                return False
            raise

    until(asked)

    def backfilled() -> list[dict[str, Any]]:
        found = world.airflow.api("GET", "/dags/daily/dagRuns", limit=100)["dag_runs"]
        return [run for run in found if run["run_type"] == "backfill"]

    until(lambda: [run["state"] for run in backfilled()] == ["success"] * 3)
    jobs = [job for job in world.jobs_of("daily", "make") if "backfill" in job["name"]]
    assert len(jobs) == 3
    note_killed(jobs, "nothing killed: a backfill of three days", "success")


# What ends the waiting -> the words in the log that tell what becomes of the job.
INTERRUPTIONS = {
    "marked_failed": "No longer waiting for Magic Hour job",
    "marked_success": "No longer waiting for Magic Hour job",
    "out_of_time": "when the task's execution_timeout ended",
    "out_of_patience": "was still",
}


@pytest.fixture(scope="module")
def interrupted(world: Any, runs: Any) -> tuple[str, str]:
    """Start four tasks, and a run with one, whose waiting is interrupted; when all have been, let their jobs end."""
    airflow = world.airflow
    late, run_id = airflow.trigger("run_out_of_time"), airflow.trigger("interrupted")
    for task_id, state in (("marked_failed", "failed"), ("marked_success", "success")):
        airflow.wait_for_task("interrupted", run_id, task_id, ("deferred",))
        # By now its trigger must be running, to be notified.
        until(lambda name=task_id: airflow.task_instance("interrupted", run_id, name)["triggerer_job"])
        time.sleep(3)
        path = f"/dags/interrupted/dagRuns/{run_id}/taskInstances/{task_id}"
        airflow.api("PATCH", path, json={"new_state": state})
        assert airflow.wait_for_task("interrupted", run_id, task_id, ENDED)["state"] == state
    # While other tasks still keep the run going: a clear at the very moment in which a run ends can be lost.
    airflow.clear("interrupted", run_id, ["marked_failed", "marked_success"])
    airflow.wait_for_task("run_out_of_time", late, "make", ("deferred",))
    make_older(world, late, hours=2)
    for how in INTERRUPTIONS:
        until(lambda name=how: airflow.task_instance("interrupted", run_id, name)["try_number"] >= 2)
    assert airflow.wait_for_run("run_out_of_time", late) == "failed"
    for dag_id in ("interrupted", "run_out_of_time"):
        world.end_jobs(f"{dag_id}.")
    return run_id, late


def make_older(world: Any, run_id: str, hours: float) -> None:
    """Let a run have begun earlier than it has."""
    engine = sa.create_engine(world.database)
    runs = sa.table("dag_run", sa.column("run_id"), sa.column("start_date", sa.TIMESTAMP(timezone=True)))
    earlier = datetime.now(UTC) - timedelta(hours=hours)
    with engine.begin() as connection:
        connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(start_date=earlier))
    engine.dispose()


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_waiting_interrupted(world, interrupted, how):
    """Marked by hand or out of time: the job is left alone and the log says so; the next attempt collects it."""
    airflow, (run_id, _) = world.airflow, interrupted
    words = INTERRUPTIONS[how]
    ti = airflow.wait_for_task("interrupted", run_id, how, ENDED)
    jobs = world.jobs_of("interrupted", how)
    assert (ti["state"], len(jobs)) == ("success", 1)
    assert airflow.xcom("interrupted", run_id, how)["id"] == jobs[0]["id"]
    # Airflow before 3.3 does not tell a trigger that a person has marked its task.
    if AIRFLOW_V_3_3_PLUS or not how.startswith("marked"):
        assert words in airflow.task_log("interrupted", run_id, how, 1)
    assert "Not paid again" in airflow.task_log("interrupted", run_id, how, 2)
    note_killed(jobs, f"nothing killed: {how.replace('_', ' ')}", f"success at attempt {ti['try_number']}")


def test_a_run_out_of_time(world, interrupted):
    """``dagrun_timeout`` ends the run and its waiting task, not the job: cleared, the task collects it."""
    airflow, (_, run_id) = world.airflow, interrupted
    airflow.clear("run_out_of_time", run_id, ["make"])
    until(lambda: airflow.task_instance("run_out_of_time", run_id, "make")["try_number"] == 2)
    ti = airflow.wait_for_task("run_out_of_time", run_id, "make", ENDED)
    jobs = world.jobs_of("run_out_of_time", "make")
    assert (ti["state"], len(jobs)) == ("success", 1)
    note_killed(jobs, "nothing killed: run out of time", "success at attempt 2")


def test_the_api_server_down_between_answer_and_record(world, runs):
    """The paid job's id is tried to be recorded until the API server is back: one create, no retry needed."""
    airflow = world.airflow
    run_id = airflow.trigger("api_server_killed")
    until((airflow.home / "answered").exists)
    airflow.kill("api-server")
    (airflow.home / "api-server-is-down").touch()
    time.sleep(2)  # the first tries to record the job meet a closed port
    airflow.restart("api-server")
    ti = airflow.wait_for_task("api_server_killed", run_id, "make", ENDED)
    jobs = world.jobs_of("api_server_killed", "make")
    assert (ti["state"], len(jobs)) == ("success", 1)
    assert airflow.xcom("api_server_killed", run_id, "make")["id"] == jobs[0]["id"]
    note_killed(jobs, "API server between answer and record", f"success at attempt {ti['try_number']}")


def test_a_bad_gateway(world, services_killed):
    """Magic Hour's own 502, a balance that is unchanged, and no other task of the run has begun: sent again, one job.

    No other job of the account may begin or end, as that would change the balance.
    """
    world.sim.inject_fault("status", status=502, prompt="behind a bad gateway")
    run_id = world.airflow.trigger("bad_gateway")
    assert world.airflow.wait_for_run("bad_gateway", run_id) == "success"
    assert "sending the request again" in world.airflow.task_log("bad_gateway", run_id, "make", 1)
    jobs = world.jobs_of("bad_gateway", "make") + world.jobs_of("bad_gateway", "later")
    assert len(jobs) == 2
    note_killed(jobs, "nothing killed: HTTP 502, then another task", "success")
