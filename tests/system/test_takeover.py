"""What one of two triggerers and the scheduler had when they were killed, some modules ago, others have taken over."""

from __future__ import annotations

import pytest

from helpers.system import note_killed

pytestmark = pytest.mark.system

ENDED = ("success", "failed")


def test_a_triggerer_of_two_and_a_scheduler_killed(world, services_killed):
    """One of two triggerers, then the scheduler with its workers: both tasks end well, with one create each."""
    airflow, dag_id, (run_id, holder) = world.airflow, "services_killed", services_killed
    assert {job["status"] for job in world.jobs_of(dag_id)} <= {"queued", "rendering"}
    world.end_jobs(f"{dag_id}.")

    ti = airflow.wait_for_task(dag_id, run_id, "deferred", ENDED)
    jobs = world.jobs_of(dag_id, "deferred")
    assert (ti["state"], ti["try_number"], len(jobs)) == ("success", 1, 1)
    assert holder is None or ti["triggerer_job"] is None or ti["triggerer_job"]["id"] != holder["id"]
    note_killed(jobs, "one of two triggerers, and the scheduler, while deferred", "success at attempt 1")

    ti = airflow.wait_for_task(dag_id, run_id, "on_the_worker", ENDED)
    jobs = world.jobs_of(dag_id, "on_the_worker")
    assert (ti["state"], ti["try_number"], len(jobs)) == ("success", 2, 1)
    assert "Not paid again" in airflow.task_log(dag_id, run_id, "on_the_worker", 2)
    note_killed(jobs, "scheduler with its workers, while waiting on one", "success at attempt 2")
