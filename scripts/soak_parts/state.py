"""What Airflow's database, the simulator and the folders say of a soak."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from magic_hour_provider.batch.run.results import read_results
from servers import PostgresServer
from soak_parts.check import MadeJob, StoredResult
from soak_parts.work import BATCH_DAG, BATCH_TASK, JOBS_DAG, identity, mapped, single

ENDED = ("success", "failed", "upstream_failed", "skipped", "removed")


@dataclass(frozen=True)
class Instance:
    """A task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str | None
    tries: int
    ended_at: float


class SoakState:
    """Reads what a soak has come to.

    :param database: Airflow's.
    :param simulator_url: where the simulator is.
    :param storage: the simulator's folder.
    :param wave: how many jobs a run has.
    :param rows: how many rows the batch has.
    """

    def __init__(self, database: PostgresServer, simulator_url: str, storage: Path, wave: int, rows: int) -> None:
        self._database, self._simulator_url, self._storage = database, simulator_url, storage
        self._numbers, self._rows = mapped(wave), rows

    def instances(self) -> list[Instance]:
        """Return all task instances.

        :raises psycopg2.Error: the database is away.
        """
        query = """SELECT dag_id, run_id, task_id, map_index, state, try_number,
                   COALESCE(EXTRACT(EPOCH FROM end_date), 0)::float FROM task_instance"""
        return [Instance(*found) for found in self._query(query)]

    def run_states(self) -> Counter[str]:
        """Return how many runs are in which state."""
        return Counter(state for (state,) in self._query("SELECT state FROM dag_run"))

    def job_rows(self) -> list[dict[str, Any]]:
        """Return all jobs that the simulator accepted, as it lists them."""
        answer = httpx.get(f"{self._simulator_url}/_simulator/jobs", timeout=60, trust_env=False)
        return list(answer.raise_for_status().json())

    def made_jobs(self) -> list[MadeJob]:
        """Return the same with what a checker needs."""
        return [
            MadeJob(
                row["id"],
                identity(row["request"]["style"]["prompt"]),
                datetime.fromisoformat(row["created_at"]).timestamp() + row["seconds"],
                self._checksum(row["id"]),
            )
            for row in self.job_rows()
        ]

    def results(self, instances: Sequence[Instance]) -> list[StoredResult]:
        """Return one result for each request, from XComs and the batch's results."""
        values = self._xcoms("return_value")
        found = [
            self._single_result(one, values.get((one.run_id, one.task_id, one.map_index)) or {})
            for one in instances
            if one.dag_id == JOBS_DAG
        ]
        return found + self._batch_results()

    def batch_items(self) -> list[dict[str, Any]]:
        """Return the batch's results, as its last attempt wrote them; none where it has written none."""
        said = next((value for key, value in self._xcoms("magic_hour_batch").items() if key[1] == BATCH_TASK), {})
        return list(read_results(said)) if said.get("results") else []

    def record_of(self, one: Instance) -> dict[str, Any]:
        """Return what a task instance says of its job."""
        return self._xcoms("magic_hour_job").get((one.run_id, one.task_id, one.map_index)) or {}

    def _single_result(self, one: Instance, value: dict[str, Any]) -> StoredResult:
        name, _ = single(self._numbers[one.task_id, one.map_index])
        said = "" if one.state == "success" else f" ({self.record_of(one).get('error')})"
        return StoredResult(
            identity=f"{one.run_id} {name} {self._numbers[one.task_id, one.map_index]}",
            state=f"{one.state}{said}",
            job_id=value.get("id") or "",
            files=tuple(_local(uri) for uri in value.get("files") or ()),
            has_files=one.task_id != "preview",
            ended_at=one.ended_at,
        )

    def _batch_results(self) -> list[StoredResult]:
        return [
            StoredResult(
                identity=f"batch row {item['item_id'].removeprefix('sku-')}",
                state="success" if item["status"] == "complete" else f"{item['status']} ({item.get('message')})",
                job_id=item.get("id", ""),
                files=(files := tuple(_local(uri) for uri in item["files"])),
                ended_at=files[0].stat().st_mtime if files and files[0].exists() else 0.0,
            )
            for item in self.batch_items()
        ]

    def _checksum(self, job_id: str) -> str:
        files = list((self._storage / "outputs" / job_id).glob("1.*"))
        return hashlib.sha256(files[0].read_bytes()).hexdigest() if files else ""

    def _xcoms(self, key: str) -> dict[tuple[str, str, int], Any]:
        query = "SELECT run_id, task_id, map_index, value FROM xcom WHERE key = %s AND dag_id = ANY(%s)"
        found = self._query(query, (key, [JOBS_DAG, BATCH_DAG]))
        return {
            (run_id, task_id, map_index): json.loads(value) if isinstance(value, str) else value
            for run_id, task_id, map_index, value in found
        }

    def _query(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with closing(self._database.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())


def _local(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))
