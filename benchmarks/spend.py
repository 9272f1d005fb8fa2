"""The Spend tab's cost for Airflow's API server: a page of 1,000 runs, whose tasks have paid for 5,000 jobs.

On SQLite and PostgreSQL, beside the runs of other DAGs, with all XComs that tasks push and, from Airflow 3.3, with
their records, of which a tenth has a history. The bound is that of the whole page: read, added up and written as JSON,
in the fastest round, as what else runs on the machine slows the others.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUNS, TASKS, OTHER_DAGS = 1000, 5, 3
ROUNDS = 9
BOUND = 500
"""Milliseconds."""


def main() -> None:
    """Print the table, and fail when the bound is broken."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        }
        from helpers.database import DIALECTS, airflow_on

        print("| database | a page of | median, ms | fastest, ms | CPU, ms | kB | bound, ms |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        broken = []
        for dialect in DIALECTS:
            folder = Path(home, dialect)
            folder.mkdir()
            with airflow_on(dialect, folder):
                put_runs(dialect)
                for count in (50, 200, RUNS):
                    median, fastest, cpu, size = measure(count)
                    figures = f"{median:.0f} | {fastest:.0f} | {cpu:.0f} | {size / 1000:.0f} | {BOUND}"
                    print(f"| {dialect} | {count:,} runs | {figures} |")
                    broken += [f"{dialect}, {count} runs"] if fastest > BOUND else []
    if broken:
        sys.exit(f"Over the bound: {'; '.join(broken)}.")


def put_runs(dialect: str) -> None:
    """Write the runs of all DAGs."""
    import sqlalchemy as sa
    from airflow.utils.session import create_session

    from helpers.spend_rows import put_spend, spend_dag

    tasks = [f"task{number}" for number in range(TASKS)]
    for number in range(OTHER_DAGS):
        put_spend(spend_dag(f"other{number}", tasks), [reported(run, tasks) for run in range(RUNS)])
    put_records(put_spend(spend_dag("spend", tasks), [reported(run, tasks) for run in range(RUNS)]), tasks)
    if dialect == "postgresql":
        with create_session() as session:
            session.execute(sa.text("ANALYZE"))


def reported(run: int, tasks: list[str]) -> dict[tuple[str, str], Any]:
    """Return the XComs of a run."""
    from helpers.spend_rows import paid_job

    values = {}
    for task_id in tasks:
        job = paid_job(f"{task_id}x{run}", 5)
        uri = f"s3://bucket/media/{task_id}-{run}.png"
        result = {"files": [uri], "file": uri, "media": [{"uri": uri, "index": 0, "size": 200_008}], "id": job["id"]}
        pushed = {"magic_hour_job": job, "return_value": result, f"magic_hour.job.{job['id']}": {}, **result}
        values |= {(task_id, key): value for key, value in pushed.items()}
    return values


def put_records(row_ids: list[int], tasks: list[str]) -> None:
    """Write the record of each task, where this Airflow has a place for them."""
    import sqlalchemy as sa
    from airflow.utils.session import create_session

    from helpers.spend_rows import name_run
    from magic_hour_provider.ledger.record import KEY, Record
    from magic_hour_provider.plugin.state_store import get_state_store_model

    model = get_state_store_model()
    if model is None:
        return

    def rows() -> Iterator[dict[str, Any]]:
        for run, row_id in enumerate(row_ids):
            for task_id in tasks:
                past = {"state": "failed", "tool": "ai-image-generator", "job_id": f"old-{task_id}x{run}"}
                history = [past | {"credits_charged": 5, "reason": "The service failed. " * 5}] if run % 10 == 0 else []
                record = Record(
                    "delivered", "ai-image-generator", "image", "ABCDEFGH", {"style": "0" * 64}, history=history
                )
                value = json.dumps(record.to_json() | {"job_id": f"{task_id}x{run}", "credits_charged": 5})
                where = {"dag_id": "spend", "run_id": name_run(run), "task_id": task_id, "map_index": -1}
                yield where | {"dag_run_id": row_id, "key": KEY, "value": value}

    with create_session() as session:
        session.execute(sa.insert(model), list(rows()))


def measure(count: int) -> tuple[float, float, float, int]:
    """Return the time of a page, median and least, and this process's CPU time in it, in ms, and its size in bytes."""
    from airflow.utils.session import create_session

    from magic_hour_provider.plugin.spend_tab.page import describe_spend
    from magic_hour_provider.plugin.spend_tab.queries import load_spend

    times, cpu, text = [], [], ""
    for _ in range(ROUNDS):
        begun, used = time.perf_counter(), time.process_time()
        with create_session(scoped=False) as session:
            page = load_spend(session, "spend", None, count)
        text = json.dumps(describe_spend(page, time.time()))
        times.append((time.perf_counter() - begun) * 1000)
        cpu.append((time.process_time() - used) * 1000)
    totals = json.loads(text)["totals"]
    assert totals["credits"] == 5 * count * TASKS, totals
    assert totals["refunded"] in (0, count * TASKS // 10), totals
    return statistics.median(times), min(times), statistics.median(cpu), len(text)


if __name__ == "__main__":
    main()
