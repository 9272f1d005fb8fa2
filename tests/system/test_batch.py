"""A batch on real Airflow: killed twice at random moments, deferred, and as small in the database as any other task."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from helpers.system import LONG_S
from helpers.waiting import until
from magic_hour_provider.batch.run.results import read_results

pytestmark = pytest.mark.system

DAG_ID = "campaign"
TASKS = ("pictures", "videos")
ENDED = ("success", "failed")
ROWS = {"killed": 6, "small": 1}
KILLS, SENT_AT_ONCE = 2, 4
DEFERRED_S = 5  # Airflow resumes no task that it is just deferring


def skus(run: str, task_id: str) -> list[str]:
    """Return the ids of a run's rows, in their order: not the alphabet's."""
    return [f"{run}-{task_id}-{number}" for number in range(ROWS[run], 0, -1)]


def write_rows(folder: Path, run: str) -> None:
    """Write the file of each task; the jobs last until the test lets them end."""
    folder.mkdir()
    for task_id in TASKS:
        lines = [f"{sku},{sku} [[seconds:{LONG_S}]]" for sku in skus(run, task_id)]
        (folder / f"{task_id}.csv").write_text("\n".join(["sku,style.prompt", *lines]))


@pytest.fixture(scope="module")
def runs(world: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run the same DAG for many rows, with its workers killed, and for few; return the runs when both have ended."""
    airflow, home = world.airflow, tmp_path_factory.mktemp("campaigns")
    found = {}
    for run in ROWS:
        write_rows(home / run, run)
        found[run] = airflow.trigger(DAG_ID, {"folder": str(home / run), "kills": KILLS if run == "killed" else 0})

    def last_attempt(task_id: str) -> dict[str, Any] | None:
        ti = airflow.task_instance(DAG_ID, found["killed"], task_id)
        return ti if ti["try_number"] == KILLS + 1 else None

    until(lambda: last_attempt("pictures") and last_attempt("videos"))
    airflow.wait_for_task(DAG_ID, found["small"], "videos", ("deferred",))
    # Where each request was under way at a kill there is nothing to wait for.
    airflow.wait_for_task(DAG_ID, found["killed"], "videos", ("deferred", *ENDED))
    time.sleep(DEFERRED_S)

    def ended() -> bool:
        for run in ROWS:
            world.end_jobs(f"{run}-")  # a window slides: others are submitted when some have ended
        time.sleep(0.5)
        return all(airflow.run_state(DAG_ID, run_id) in ENDED for run_id in found.values())

    until(ended)
    return found


def jobs_of(world: Any, run: str, task_id: str) -> dict[str, list[str]]:
    """Return the ids of the jobs that the simulator accepted, by row: their names begin with the row's id."""
    found: dict[str, list[str]] = {}
    for job in world.sim.jobs():
        sku = job["name"].split()[0]
        if sku.startswith(f"{run}-{task_id}-"):
            found.setdefault(sku, []).append(job["id"])
    return found


@pytest.mark.parametrize("task_id", TASKS)
def test_a_worker_killed_twice(world, runs, task_id):
    """No row is paid for twice; all are complete, but for those whose request was under way at a kill."""
    airflow, run_id, rows = world.airflow, runs["killed"], skus("killed", task_id)
    ti = airflow.task_instance(DAG_ID, run_id, task_id)
    assert ti["try_number"] == KILLS + 1
    paid = jobs_of(world, "killed", task_id)
    assert {sku: len(ids) for sku, ids in paid.items()} == dict.fromkeys(paid, 1)
    assert set(paid) <= set(rows)
    said = airflow.xcom(DAG_ID, run_id, task_id, "magic_hour_batch")
    items = list(read_results(said["results"]))
    assert [item["item_id"] for item in items] == rows
    unknown = [item["item_id"] for item in items if item["status"] == "unknown"]
    complete = [item for item in items if item["status"] == "complete"]
    assert len(complete) + len(unknown) == len(rows)
    assert len(unknown) <= KILLS * SENT_AT_ONCE
    assert ti["state"] == ("failed" if unknown else "success")
    # A job that is in no result by its id is that of an unknown row, whose result has its name and tag.
    assert {sku: ids for sku, ids in paid.items() if sku not in unknown} == {
        item["item_id"]: [item["id"]] for item in complete
    }
    assert all(item["name"].endswith(f"#{item['tag']}") for item in items if item["status"] == "unknown")
    for item in complete:
        (media,) = item["media"]
        assert Path(media["uri"]).stat().st_size == media["size"] > 0


def test_the_database_does_not_grow_with_the_rows(world, runs):
    """Six rows leave as many XComs and task instances as one row: values of the same kinds, and nothing for each."""
    airflow, keys = world.airflow, {}
    for run, run_id in runs.items():
        assert {ti["task_id"] for ti in airflow.task_instances(DAG_ID, run_id)} == set(TASKS)
        for task_id in TASKS:
            path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries"
            found = [entry["key"] for entry in airflow.api("GET", path, limit=100)["xcom_entries"]]
            assert len(found) == len(set(found))
            # A batch that has unknown rows fails, and returns nothing.
            keys[run, task_id] = set(found) - {"return_value"}
    assert len({frozenset(found) for found in keys.values()}) == 1
    assert "magic_hour_batch" in keys["small", "videos"]
    assert [len(jobs_of(world, "small", task_id)) for task_id in TASKS] == [1, 1]
