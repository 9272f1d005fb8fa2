"""Tasks that the triggerer ends, on real Airflow: what they leave is what a worker leaves, and a clear pays nothing."""

from __future__ import annotations

import json
import signal

import pytest

from helpers.waiting import until
from magic_hour_provider.xcoms import settled_xcom

pytestmark = pytest.mark.system

DAG, HOOKED = "ends_in_the_triggerer", "ends_by_webhook"
TASKS = ("by_trigger", "by_worker")


def jobs_of(world, dag_id):
    """Return the jobs that the tasks of a DAG have paid for, by task."""
    named = [(job["name"] or "", job) for job in world.sim.jobs()]
    own = [(name.removeprefix(f"{dag_id}.").split()[0], job) for name, job in named if name.startswith(f"{dag_id}.")]
    assert len(dict(own)) == len(own)  # one each
    return dict(own)


def xcoms_of(world, dag_id, run_id, task_id):
    """Return all XComs of a task."""
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries"
    keys = [entry["key"] for entry in world.airflow.api("GET", path, limit=100)["xcom_entries"]]
    values = {key: world.airflow.api("GET", f"{path}/{key}")["value"] for key in keys if key not in ("name", "id")}
    # Objects and lists come as they are or, from a newer Airflow, as the text of their JSON.
    return {
        key: json.loads(value) if isinstance(value, str) and value.startswith(("[", "{")) else value
        for key, value in values.items()
    }


def test_a_task_that_the_triggerer_ends(world):
    """After a kill -9 of the triggerer it has every XCom of its twin that a worker ends; a clear resumes its job."""
    airflow, run_id = world.airflow, world.airflow.trigger(DAG)
    for task_id in TASKS:
        airflow.wait_for_task(DAG, run_id, task_id, ("deferred",), 180)
    airflow.restart("triggerer", signal.SIGKILL)
    world.end_jobs(f"{DAG}.")
    assert airflow.wait_for_run(DAG, run_id, 300) == "success"
    jobs = jobs_of(world, DAG)
    assert jobs.keys() == set(TASKS)

    left = {task_id: xcoms_of(world, DAG, run_id, task_id) for task_id in TASKS}
    assert left["by_trigger"].pop(settled_xcom(jobs["by_trigger"]["id"], jobs["by_trigger"]["credits_charged"])) == {
        "tool": "text-to-video"
    }
    for task_id in TASKS:
        left[task_id].pop(f"magic_hour.job.{jobs[task_id]['id']}")
        assert left[task_id].pop("library_url").endswith(jobs[task_id]["id"])
        result, report = left[task_id]["return_value"], left[task_id]["magic_hour_job"]
        assert (result["id"], report["id"]) == (jobs[task_id]["id"],) * 2
        assert report["ended_at"] > report["submitted_at"]
        for one in (result, report):
            for name in ("id", "name", "library_url", "submitted_at", "ended_at", "estimate"):
                one.pop(name, None)
    assert left["by_trigger"] == left["by_worker"]

    used = airflow.xcom(DAG, run_id, "use")
    assert (used["result"]["id"], used["job_id"]) == (jobs["by_trigger"]["id"],) * 2
    assert airflow.xcom(DAG, run_id, "sensor")["id"] == jobs["by_trigger"]["id"]
    logs = {task_id: airflow.task_log(DAG, run_id, task_id, 1) for task_id in TASKS}
    assert "without a second worker" in logs["by_trigger"]
    assert [logs[task_id].count("Pre Execute") for task_id in TASKS] in ([1, 2], [0, 0])  # Airflow 3.1 has no such line
    ti = airflow.task_instance(DAG, run_id, "by_trigger")
    assert (ti["state"], ti["try_number"], ti["duration"] > 0) == ("success", 1, True)
    link = airflow.api("GET", f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/by_trigger/links")["extra_links"]
    assert link["Open in Magic Hour"].endswith(jobs["by_trigger"]["id"])

    airflow.clear(DAG, run_id, ["by_trigger"])
    until(lambda: airflow.task_instance(DAG, run_id, "by_trigger")["try_number"] == 2, 90)
    assert airflow.wait_for_task(DAG, run_id, "by_trigger", ("success", "failed"), 180)["state"] == "success"
    assert "Not paid again" in airflow.task_log(DAG, run_id, "by_trigger", 2)
    assert airflow.xcom(DAG, run_id, "by_trigger")["id"] == jobs["by_trigger"]["id"]
    assert jobs_of(world, DAG).keys() == set(TASKS)


def test_a_webhook_resumes_such_a_task(world):
    """While no poll succeeds a delivery resumes it on a worker, as ever: one create, and the worker's end."""
    airflow, run_id = world.airflow, world.airflow.trigger(HOOKED)
    airflow.wait_for_task(HOOKED, run_id, "make", ("deferred",), 180)
    world.sim.inject_fault("status", endpoint="get-job", status=503, prompt="hooked", count=None)
    world.sim.add_webhook(f"{airflow.url}/magic-hour/webhook")
    try:
        world.end_jobs(f"{HOOKED}.", deliver=True)
        airflow.wait_for_task(HOOKED, run_id, "make", ("scheduled", "queued", "running"), 180)
    finally:
        world.sim.clear_webhooks()
        world.sim.clear_faults()
    assert airflow.wait_for_task(HOOKED, run_id, "make", ("success", "failed"), 300)["state"] == "success"
    (job,) = jobs_of(world, HOOKED).values()
    assert airflow.xcom(HOOKED, run_id, "make")["id"] == job["id"]
    assert "without a second worker" not in airflow.task_log(HOOKED, run_id, "make", 1)
