"""How soon a task resumes after its job ended, with webhooks and by polling alone; and what finding it costs.

From the sending of the delivery (which is when the job ends) to the start of ``execute_complete``, on a real Airflow
with SQLite and with PostgreSQL: bound 1.5 s at the median. By polling alone, the same deliveries go nowhere. Then the
lookup of a job's task among 5,000 that wait, each with 20 XComs.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "scripts"), str(ROOT / "tests")]

TASKS = 12
WAITING = 5_000
XCOMS = 20
LOOKUPS = 200
BOUND_S = 1.5

DAG = f"""
import json, os, time
from pathlib import Path
from airflow.sdk import DAG
from magic_hour_provider.operators.magic_hour import MagicHourOperator

class Noted(MagicHourOperator):
    def execute_complete(self, context, event, deadline=None):
        with Path(os.environ["AIRFLOW_HOME"], "resumed.jsonl").open("a") as notes:
            notes.write(json.dumps({{"id": event["id"], "at": time.time()}}) + "\\n")
        return super().execute_complete(context, event, deadline)

with DAG("measured", schedule=None):
    for number in range({TASKS}):
        # Apart, and not in step with the polls, which come every 5 s.
        style = {{"prompt": f"waves [[seconds:{{24 + 3.3 * number:.1f}}]]"}}
        Noted(task_id=f"make_{{number}}", tool="text-to-video", request={{"style": style, "end_seconds": 3}})
"""


@contextmanager
def database(dialect: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database."""
    from helpers.postgres import postgresql

    if dialect == "sqlite":
        yield f"sqlite:///{folder / 'airflow.db'}"
    else:
        with postgresql() as url:
            yield url


def delays(url: str, folder: Path) -> dict[str, list[float]]:
    """Return the seconds from delivery to resumption, by polling alone and with webhooks."""
    from local_airflow import LocalAirflow
    from magic_hour_provider.simulator import Simulator

    dags = folder / "dags"
    dags.mkdir()
    (dags / "measured.py").write_text(DAG)
    with Simulator(speed=1) as sim:
        connection = {"conn_type": "magic_hour", "password": "mhk_live_simulator", "host": sim.url}
        connections = {"magic_hour_default": connection | {"extra": {"webhook_secret": "whsec_simulator"}}}
        environment = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
            "AIRFLOW__CORE__PARALLELISM": "16",
            "AIRFLOW__MAGIC_HOUR__OUTPUT_PATH": "",
        }
        with LocalAirflow(
            folder / "home", dags_folder=dags, connections=connections, environment=environment
        ) as airflow:
            found = {}
            for how, path in (("polling alone", "/magic-hour/nowhere"), ("webhooks", "/magic-hour/webhook")):
                sim.add_webhook(airflow.url + path)
                run_id = airflow.trigger("measured")
                state = airflow.wait_for_run("measured", run_id, 240)
                assert state == "success", state
                ids = {airflow.xcom("measured", run_id, f"make_{number}")["id"] for number in range(TASKS)}
                sent: dict[str, float] = {}
                for one in sim.deliveries():
                    if one["type"] == "video.completed":
                        sent.setdefault(one["id"], datetime.fromisoformat(one["at"]).timestamp())
                notes = map(json.loads, (airflow.home / "resumed.jsonl").read_text().splitlines())
                found[how] = sorted(note["at"] - sent[note["id"]] for note in notes if note["id"] in ids)
                sim.clear_webhooks()
            assert sim.stats()["creates"]["accepted"] == 2 * TASKS
    return found


def lookups(url: str) -> tuple[list[float], str]:
    """Return the seconds that each lookup took among many waiting tasks, and the database's plan."""
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = url
    import sqlalchemy as sa
    from airflow import settings

    settings.dispose_orm()
    settings.configure_vars()
    settings.configure_orm()
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    from magic_hour_provider.plugin.webhooks.resume import tasks_with_job

    with create_session(scoped=False) as session:
        run = {
            "dag_id": "many",
            "run_id": "run",
            "run_type": "manual",
            "run_after": datetime.now(UTC),
            "clear_number": 0,
        }
        session.execute(sa.insert(DagRun).values(**run))
        run_id = session.scalar(sa.select(DagRun.id).where(DagRun.dag_id == "many"))
        where = [
            {"dag_id": "many", "run_id": "run", "task_id": "make", "map_index": number} for number in range(WAITING)
        ]
        state = {"state": "deferred", "try_number": 1, "max_tries": 0, "pool": "default_pool"}
        session.execute(sa.insert(TaskInstance), [one | state for one in where])
        for number in range(XCOMS):
            key = "magic_hour.job.{}" if number == 0 else f"key_{number}"
            rows = [one | {"dag_run_id": run_id, "key": key.format(one["map_index"]), "value": {}} for one in where]
            session.execute(sa.insert(XComModel), rows)
    with create_session(scoped=False) as session:
        session.execute(sa.text("ANALYZE"))
    took = []
    for number in range(LOOKUPS):
        job_id = str(number * WAITING // LOOKUPS)
        begun = time.perf_counter()
        with create_session(scoped=False) as session:
            assert len(session.execute(tasks_with_job(job_id)).all()) == 1
        took.append(time.perf_counter() - begun)
    with create_session(scoped=False) as session:
        dialect = session.get_bind().dialect.name
        query = tasks_with_job("77").compile(session.get_bind(), compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN QUERY PLAN" if dialect == "sqlite" else "EXPLAIN"
        plan = [str(row[-1]).strip() for row in session.execute(sa.text(f"{explain} {query}"))]
    settings.dispose_orm()
    return took, "; ".join(line for line in plan if "INDEX" in line.upper())


def main() -> None:
    """Print the tables."""
    results: dict[str, Any] = {}
    for dialect in ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory() as name, database(dialect, Path(name)) as url:
            results[dialect] = (delays(url, Path(name)), lookups(url))
    print("| from delivery to execute_complete | p50 (s) | p90 (s) | max (s) | tasks | bound at p50 (s) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for dialect, (found, _) in results.items():
        for how, seconds in found.items():
            p90 = statistics.quantiles(seconds, n=10)[-1]
            bound = BOUND_S if how == "webhooks" else ""
            middle = statistics.median(seconds)
            print(f"| {dialect}, {how} | {middle:.2f} | {p90:.2f} | {seconds[-1]:.2f} | {len(seconds)} | {bound} |")
    print(
        f"\n| lookup of a job among {WAITING:,} waiting tasks | p50 (ms) | p99 (ms) | by |\n| --- | --- | --- | --- |"
    )
    for dialect, (_, (took, plan)) in results.items():
        p99 = statistics.quantiles(took, n=100)[-1]
        print(f"| {dialect} | {statistics.median(took) * 1000:.2f} | {p99 * 1000:.2f} | {plan} |")
    for dialect, (found, _) in results.items():
        assert statistics.median(found["webhooks"]) <= BOUND_S, f"{dialect}: slower than the bound"


if __name__ == "__main__":
    main()
