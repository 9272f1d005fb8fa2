"""A batch on real Airflow whose worker dies ten times, and one whose triggerer dies while it is deferred."""

from __future__ import annotations

import hashlib
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.system import LONG_S
from helpers.waiting import until
from magic_hour_provider.batch.run.results import read_results

pytestmark = [pytest.mark.system, pytest.mark.long]

ROWS, KILLS, LONGEST_S, SENT_AT_ONCE = 200, 10, 3.0, 4
VIDEOS = 14
ENDED = ("success", "failed")


def write_rows(file: Path, name: str, count: int, seconds: int) -> list[str]:
    """Write rows whose jobs last so long, of the simulator's time; return their ids."""
    skus = [f"{name}-{number}" for number in range(count)]
    file.write_text("\n".join(["sku,style.prompt", *(f"{sku},{sku} [[seconds:{seconds}]]" for sku in skus)]))
    return skus


def jobs_of(world: Any, name: str) -> dict[str, list[dict[str, Any]]]:
    """Return the jobs that the simulator accepted, by row: their names begin with the row's id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for job in world.sim.jobs():
        if (sku := job["name"].split()[0]).startswith(f"{name}-"):
            found.setdefault(sku, []).append(job)
    return found


def test_a_worker_killed_ten_times(world, tmp_path):
    """No row is paid for twice, no recorded id is lost, what was under way at a kill is named, each file is whole."""
    airflow, dag_id, name = world.airflow, "long_campaign", "often-killed"
    skus = write_rows(tmp_path / "pictures.csv", name, ROWS, 20)
    run_id = airflow.trigger(dag_id, {"folder": str(tmp_path), "kills": KILLS, "longest": LONGEST_S})
    until(lambda: airflow.task_instance(dag_id, run_id, "pictures")["try_number"] == KILLS + 1, 900)
    ti = airflow.wait_for_task(dag_id, run_id, "pictures", ENDED)
    assert ti["try_number"] == KILLS + 1
    paid = jobs_of(world, name)
    assert [sku for sku, jobs in paid.items() if len(jobs) > 1] == []
    assert set(paid) <= set(skus)
    items = list(read_results(airflow.xcom(dag_id, run_id, "pictures", "magic_hour_batch")["results"]))
    assert [item["item_id"] for item in items] == skus
    complete = {item["item_id"]: item for item in items if item["status"] == "complete"}
    unknown = {item["item_id"]: item for item in items if item["status"] == "unknown"}
    assert len(complete) + len(unknown) == ROWS
    assert len(unknown) <= KILLS * SENT_AT_ONCE
    assert ti["state"] == ("failed" if unknown else "success")
    # A job is in the results by its id, or by the name and the tag of an unknown row.
    for sku, (job,) in paid.items():
        if sku in complete:
            assert complete[sku]["id"] == job["id"]
        else:
            assert job["name"].endswith(f"#{unknown[sku]['tag']}")
    # What a worker had read and written down before it died is there.
    logs = [airflow.task_log(dag_id, run_id, "pictures", number) for number in range(1, KILLS + 2)]
    assert sum("This process is killed" in log for log in logs) == KILLS
    submitted = {found for log in logs for found in re.findall(r"Submitted Magic Hour job (\w+)", log)}
    assert len(submitted) > 0
    assert submitted <= {item["id"] for item in complete.values()}
    for item in complete.values():
        (media,) = item["media"]
        assert hashlib.sha256(Path(media["uri"]).read_bytes()).hexdigest() == media["sha256"]
    assert len(list((tmp_path / "pictures").glob("*.png"))) == len(complete)


def test_a_triggerer_killed_while_a_batch_is_deferred(world, tmp_path):
    """kill -9 of the triggerer: another one waits for the same jobs. One create for each row, in one attempt."""
    airflow, dag_id, name = world.airflow, "deferred_campaign", "long-film"
    skus = write_rows(tmp_path / "videos.csv", name, VIDEOS, LONG_S)
    run_id = airflow.trigger(dag_id, {"folder": str(tmp_path)})
    airflow.wait_for_task(dag_id, run_id, "videos", ("deferred",))
    airflow.restart("triggerer", signal.SIGKILL)
    assert airflow.task_instance(dag_id, run_id, "videos")["state"] == "deferred"

    def ended() -> bool:
        world.end_jobs(f"{name}-")  # a window slides: others are submitted when some have ended
        time.sleep(0.5)
        return airflow.run_state(dag_id, run_id) in ENDED

    until(ended, 600)
    ti = airflow.task_instance(dag_id, run_id, "videos")
    assert (ti["state"], ti["try_number"]) == ("success", 1)
    assert {sku: len(jobs) for sku, jobs in jobs_of(world, name).items()} == dict.fromkeys(skus, 1)
    made = airflow.xcom(dag_id, run_id, "videos")
    assert (made["complete"], made["items"]) == (VIDEOS, VIDEOS)
