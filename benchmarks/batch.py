"""What a campaign costs on a real Airflow: one batch beside a mapped task for each row; and a batch of ten thousand.

Videos of 10 s, at Magic Hour's own speed, in a batch with a window of a tenth of its rows, and as mapped tasks: CPU of
all of Airflow's processes over what it uses when it has nothing to do, wall time, and rows in its database, which a
batch of a tenth as many rows has too. CPU that a task's process uses after its last reading, 0.1 s before its end, is
not counted.

Before that, in fresh processes and without Airflow's, the attempt that finds all of 10,000 rows complete, and of 100:
its time, and its highest resident size (VmHWM, so this needs Linux). The same in S3, which is moto in the benchmark's
own process; its listings take longer than Amazon's, as it goes through all names for each thousand.

    python benchmarks/batch.py [rows of the batch: 1000] [mapped tasks: 100] [rows that are complete: 10000]
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "scripts"), str(ROOT / "tests")]

from parts.table import Table  # noqa: E402
from parts.usage import Usage  # noqa: E402

from local_airflow import LocalAirflow  # noqa: E402
from magic_hour_provider.simulator import Simulator  # noqa: E402
from process_tree import stoppable  # noqa: E402

KEY = "mhk_live_benchmark0123456789"
ROWS, MAPPED = 1_000, 100
WINDOWS = 10
JOB_S = 10
IDLE_S = 15
MANY, FEW = 10_000, 100
RECORDS = ".magic-hour-batch"
RUN_S = 1_800
NO_STATE = ("log",)  # Airflow's audit log has a row for each start of a worker, in whatever task

DAG = """
from airflow.sdk import DAG, Param, task
from magic_hour_provider.operators.batch import MagicHourBatchOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator

PARAMS = {"rows": Param("", type="string"), "folder": Param("", type="string"), "count": Param(1, type="integer")}

for window in %(windows)s:
    with DAG(f"batch_{window}", schedule=None, params=PARAMS):
        MagicHourBatchOperator(
            task_id="make",
            tool="text-to-video",
            request={"end_seconds": 3},
            requests="{{ params.rows }}",
            item_id="sku",
            output_path="{{ params.folder }}",
            max_active_jobs=window,
        )

with DAG("mapped", schedule=None, params=PARAMS):

    @task
    def rows(params):
        return [
            {"style": {"prompt": f"waves {number} [[seconds:%(job_s)s]]"}, "end_seconds": 3}
            for number in range(params["count"])
        ]

    MagicHourOperator.partial(task_id="make", tool="text-to-video", output_path="{{ params.folder }}").expand(
        request=rows()
    )
"""


# -- real Airflow ------------------------------------------------------------------------------------------------------


def write_rows(file: Path, count: int) -> None:
    """Write rows of videos of 10 s."""
    lines = [f"clip-{number},waves {number} [[seconds:{JOB_S}]]" for number in range(count)]
    file.write_text("\n".join(["sku,style.prompt", *lines]))


def run(airflow: LocalAirflow, sim: Simulator, dag_id: str, conf: dict[str, Any], idle: float) -> dict[str, float]:
    """Run a DAG to its end; return its CPU over the idle, its wall time from the first job on, and rows of its run.

    :param idle: CPU seconds that Airflow uses in a second in which it has nothing to do.
    """
    made = len(sim.jobs())
    usage, began = Usage(airflow.processes), time.monotonic()
    run_id = airflow.trigger(dag_id, conf)
    while (state := airflow.run_state(dag_id, run_id)) not in ("success", "failed"):
        assert time.monotonic() - began < RUN_S, f"{dag_id} did not end"
        for _ in range(10):
            usage.read()
            time.sleep(0.1)
    usage.read()
    assert state == "success", f"{dag_id} ended as {state}"
    took = time.monotonic() - began
    jobs = sim.jobs()[made:]
    ended = max(ti["end_date"] for ti in airflow.task_instances(dag_id, run_id))
    first = min(datetime.fromisoformat(job["created_at"]) for job in jobs)
    return {
        "creates": len(jobs),
        "cpu": usage.cpu_s - idle * took,
        "whole": usage.cpu_s,
        "seconds": (datetime.fromisoformat(ended) - first).total_seconds(),
        "rows": count_rows(airflow.home / "airflow.db", run_id),
    }


def count_rows(database: Path, run_id: str) -> int:
    """Return how many rows of Airflow's database are of a run."""
    found = 0
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
            if "run_id" in columns and table not in NO_STATE:
                query = f"SELECT count(*) FROM {table} WHERE run_id = ?"
                found += connection.execute(query, (run_id,)).fetchone()[0]
    return found


def idle_cpu(airflow: LocalAirflow) -> float:
    """Return the CPU seconds that Airflow uses in a second in which it has nothing to do."""
    time.sleep(IDLE_S)  # what it does at its start is over
    usage, began = Usage(airflow.processes), time.monotonic()
    time.sleep(IDLE_S)
    usage.read()
    return usage.cpu_s / (time.monotonic() - began)


def campaigns(table: Table, rows: int, mapped: int) -> None:
    """Run the batch, a tenth of it, and the mapped tasks."""
    window, fewer = rows // WINDOWS, rows // 10
    with tempfile.TemporaryDirectory() as name, stoppable(), Simulator(api_key=KEY, credits=10**8) as sim:
        home = Path(name)
        (home / "dags").mkdir()
        windows = (window, fewer // WINDOWS)
        (home / "dags" / "campaigns.py").write_text(DAG % {"windows": windows, "job_s": JOB_S})
        with LocalAirflow(
            home / "home",
            dags_folder=home / "dags",
            connections={"magic_hour_default": {"conn_type": "magic_hour", "host": sim.url, "password": KEY}},
        ) as airflow:
            idle = idle_cpu(airflow)
            found = {}
            for label, dag_id, count in (
                ("few", f"batch_{windows[1]}", fewer),
                ("batch", f"batch_{window}", rows),
                ("mapped", "mapped", mapped),
            ):
                write_rows(home / f"{label}.csv", count)
                conf = {"rows": str(home / f"{label}.csv"), "folder": str(home / label), "count": count}
                found[label] = run(airflow, sim, dag_id, conf, idle)
                assert found[label]["creates"] == count, f"{label}: {found[label]['creates']} creates"
        records = [path for path in (home / "batch" / RECORDS).rglob("*") if path.is_file() and path.name[0] != "."]
    batch, each = found["batch"], found["mapped"]["cpu"] / mapped
    table.head(f"{rows:,} videos of {JOB_S} s in one batch, {window} at once, beside {mapped} mapped tasks")
    table.row("Airflow's CPU per job, beside a mapped task's", batch["cpu"] / rows / each, must=1 / 20, aim=1 / 50)
    for label, one, count in (("batch", batch, rows), ("mapped", found["mapped"], mapped)):
        whole = f"{1000 * one['whole'] / count:.1f} ms with what Airflow uses when idle"
        table.note(
            f"CPU per job, {label}", f"{1000 * one['cpu'] / count:.1f} ms; {whole}; {one['seconds']:.0f} s in all"
        )
    ideal = WINDOWS * JOB_S
    table.row(
        f"Wall time from the first create, beside the ideal {ideal} s", batch["seconds"] / ideal, must=1.5, aim=1.2
    )
    table.row("Records written per item", len(records) / rows, must=4, aim=3)
    table.row(f"Rows in Airflow's database over those of {fewer} items", batch["rows"] - found["few"]["rows"], must=0)
    table.note("Rows in Airflow's database", f"{batch['rows']}; of the mapped tasks {found['mapped']['rows']}")


# -- ten thousand, in processes of their own ---------------------------------------------------------------------------


def prepare(folder: Path, count: int, host: str, write: Callable[[str, bytes], object]) -> None:
    """Write rows, and the records of an earlier run that has completed them all.

    :param write: puts a record where it belongs.
    """
    from helpers.items import done, intent, job
    from magic_hour_provider.batch.records.content import ItemStep, digest_fingerprint
    from magic_hour_provider.batch.records.names import StepName
    from magic_hour_provider.batch.records.owner import Owner
    from magic_hour_provider.batch.rows.items import read_items

    owner = Owner("campaigns", "manual__1", "make", ti_id="a")
    rows = folder / "rows.csv"
    write_rows(rows, count)
    shared = {"request": {"end_seconds": 3}, "item_id": "sku"}
    with read_items("text-to-video", str(rows), **shared, conn_id="magic_hour_default", host=host) as items:
        for item in items:
            fingerprint, job_id = items.fingerprint(item), f"clx7uu86w0a5qp55yxz{item.number:06d}"
            paid = {"job_id": job_id, "credits": 5}
            more = {
                "owner": owner.digest,
                "submitted_at": 1_800_000_000,
                "fingerprint": digest_fingerprint(fingerprint),
            }
            for name, record in (
                (StepName(item.key, 1, "intent"), intent()),
                (StepName(item.key, 1, "job", **paid, **more), job(job_id)),
                (StepName(item.key, 1, "done", **paid), done(job_id)),
            ):
                step = ItemStep(name, owner, 1_800_000_000.0, replace(record, fingerprint=fingerprint))
                write(f"{RECORDS}/{name.path}", step.to_bytes())


def write_file(root: Path, name: str, data: bytes) -> None:
    """Write a record into a folder."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def resume(folder: str, output_path: str) -> None:
    """Run an attempt that finds everything complete; print its seconds, its highest resident MiB, and what it found."""
    from helpers.attempts import TaskInstance
    from magic_hour_provider.operators.batch import MagicHourBatchOperator

    logging.disable(logging.WARNING)
    ti = TaskInstance("make")
    ti.next_attempt()
    operator = MagicHourBatchOperator(
        task_id="make",
        tool="text-to-video",
        request={"end_seconds": 3},
        requests=f"{folder}/rows.csv",
        item_id="sku",
        output_path=output_path,
    )
    began, began_cpu = time.monotonic(), time.process_time()
    manifest = operator.execute(ti.context(operator))
    took = time.monotonic() - began
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    cpu = time.process_time() - began_cpu
    print(
        json.dumps({"seconds": took, "cpu": cpu, "mib": int(line.split()[1]) / 1024, "complete": manifest["complete"]})
    )


def many(table: Table, count: int) -> None:
    """Resume a campaign of very many rows, on this disk and in S3, and one of few."""
    from moto.s3.models import s3_backends

    from helpers import s3

    found: dict[str, dict[str, Any]] = {}
    s3.keep_on_loopback()
    with tempfile.TemporaryDirectory() as name, Simulator(api_key=KEY) as sim, s3.serving() as endpoint:
        connection = {"conn_type": "magic_hour", "host": sim.url, "password": KEY}
        environment = os.environ | {
            "AIRFLOW_HOME": name,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_MAGIC_HOUR_DEFAULT": json.dumps(connection),
            f"AIRFLOW_CONN_{s3.CONN_ID.upper()}": s3.connection(endpoint),
        }
        logging.disable(logging.INFO)  # a line for each request to S3
        bucket = s3.Bucket(endpoint)
        backend = s3_backends["123456789012"]["aws"]
        for label, rows, output_path in (
            ("few", FEW, f"{name}/few/out"),
            ("disk", count, f"{name}/disk/out"),
            ("s3", count, f"{bucket.uri}/out"),
        ):
            folder = Path(name, label)
            folder.mkdir()
            write = (
                partial(write_file, folder / "out")
                if label != "s3"
                else lambda key, data: backend.put_object(bucket.name, f"out/{key}", data)
            )
            prepare(folder, rows, sim.url, write)
            command = [sys.executable, __file__, "--resume", str(folder), output_path]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            found[label] = json.loads(done.stdout.splitlines()[-1])
            assert found[label]["complete"] == rows, found[label]
        assert sim.stats()["creates"]["accepted"] == 0
    few, disk, remote = (found[label] for label in ("few", "disk", "s3"))
    table.head(f"An attempt that finds {count:,} rows complete, and writes their results")
    table.row("Seconds, files on this disk", disk["seconds"], " s", must=120, aim=30)
    table.row("Seconds, S3 (moto)", remote["seconds"], " s", must=120, aim=30)
    for where, one in (("files", disk), ("S3", remote)):
        table.row(f"Memory over that of {FEW} rows, {where}", one["mib"] - few["mib"], " MiB", must=100, aim=30)
    table.note("CPU seconds of them", f"{disk['cpu']:.1f}; S3, without moto's own, {remote['cpu']:.1f}")
    table.note("Memory", f"{disk['mib']:.0f} MiB; of {FEW} rows {few['mib']:.0f} MiB; with S3 {remote['mib']:.0f} MiB")


def main(rows: int = ROWS, mapped: int = MAPPED, complete: int = MANY) -> int:
    """Print the tables; the exit code is 0 when every figure is what it must be."""
    table = Table()
    many(table, complete)
    campaigns(table, rows, mapped)
    return 0 if table.kept else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--resume"]:
        resume(*sys.argv[2:])
    else:
        sys.exit(main(*map(int, sys.argv[1:])))
