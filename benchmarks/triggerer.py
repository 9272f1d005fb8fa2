"""What waiting costs on a real Airflow: thousands of jobs in a real triggerer; one short job, deferred and not.

An ``airflow triggerer`` waits for 2,000 task instances that were put into its database as deferred: every one must get
its event, and Airflow must not warn of a blocked loop. They come a hundred in a second, as from tasks that defer, and
all at once, as after a restart. The limit stands beside: as many triggers that only sleep, and what Airflow warns of
then (its loop stops for a full garbage collection, and for its own line about each trigger that starts).

Then one short job at a time, which the task waits for on its worker (``[magic_hour] inline_wait_seconds``, the
default) or defers at once.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from parts.slots import Slots  # noqa: E402
from parts.table import Table  # noqa: E402
from parts.usage import Usage  # noqa: E402

from deferred_rows import put_deferred, resumed  # noqa: E402
from local_airflow import LocalAirflow  # noqa: E402
from magic_hour_provider.simulator import Simulator  # noqa: E402
from process_tree import stoppable  # noqa: E402

KEY = "mhk_live_benchmark0123456789"
MANY = 2000
PER_SECOND = 100
JOB_S = 60
LONGEST_S = 150
ROUNDS = 3
BLOCKED = "async thread was blocked"


def submit(sim: Simulator, jobs: int) -> list[str]:
    """Pay for jobs that take a minute, and return their ids."""
    request = {"style": {"prompt": f"waves [[seconds:{JOB_S}]]"}, "end_seconds": 3}
    with httpx.Client(headers={"authorization": f"Bearer {KEY}"}, trust_env=False) as http:
        url = f"{sim.url}/v1/text-to-video"
        return [http.post(url, json=request).raise_for_status().json()["id"] for _ in range(jobs)]


def trigger(job_id: str, now: float) -> tuple[str, dict[str, Any]]:
    """Return a row of the trigger table as the operator would have made it now."""
    times = {"submitted_at": now, "deferred_at": now, "deadline": now + 3600}
    kwargs = {"kind": "video", "job_id": job_id, "tool": "text-to-video", "conn_id": "magic_hour_default", **times}
    return "magic_hour_provider.triggers.job.MagicHourJobTrigger", kwargs


def crowd(airflow: LocalAirflow, sim: Simulator, table: Table, per_second: int = 0) -> None:
    """Let the triggerer wait for many jobs.

    :param per_second: how many task instances come in a second; 0: all at once.
    """
    ids = submit(sim, MANY)
    polls, now = sim.stats()["polls"], time.time()
    usage = Usage(lambda: airflow.processes("triggerer"))
    run_id, spent, left, blocked = _wait(airflow, [trigger(job_id, now) for job_id in ids], usage, per_second)
    good = sum(
        row["state"] == "scheduled" and row["event"]["id"] == job_id and row["event"]["status"] == "complete"
        for row, job_id in zip(resumed(airflow.environment, "crowd", run_id), ids, strict=True)
    )
    table.head(
        f"{MANY:,} deferred task instances, {f'{per_second} a second' if per_second else 'all at once'}, jobs of "
        f"{JOB_S} s, one airflow triggerer"
    )
    table.row("Task instances without their event", MANY - good, must=0)
    table.row("Warnings of a blocked loop", len(blocked), must=0)
    table.note("Seconds until the last event", f"{spent:.0f}; {left} left")
    table.note("CPU of the triggerer", f"{usage.cpu_s:.1f} s, {1000 * usage.cpu_s / MANY:.1f} ms per task instance")
    table.note("Its largest process", f"{usage.largest / 2**20:.0f} MiB resident, grown by {usage.grown / 2**20:.0f}")
    table.note("Polls", f"{sim.stats()['polls'] - polls:,}")


def limit(airflow: LocalAirflow, table: Table, per_second: int = 0) -> None:
    """Let as many triggers sleep as long as a job takes."""
    usage = Usage(lambda: airflow.processes("triggerer"))
    sleeping = [("parts.idle.IdleTrigger", {"seconds": float(JOB_S)})] * MANY
    _, spent, left, blocked = _wait(airflow, sleeping, usage, per_second)
    text = f"{len(blocked)} warnings; {spent:.0f} s, {left} left; {1000 * usage.cpu_s / MANY:.1f} ms of CPU each"
    table.note("The limit: triggers that only sleep", text)


def _wait(
    airflow: LocalAirflow, rows: list[tuple[str, dict[str, Any]]], usage: Usage, per_second: int = 0
) -> tuple[str, float, int, list[str]]:
    """Return the run, the seconds until no trigger was left, how many were after all, and Airflow's warnings."""
    run_id = airflow.trigger("crowd")
    log = airflow.log_of("triggerer")
    written = len(log.read_text())
    begin = time.monotonic()
    put_deferred(
        airflow.environment,
        dag_id="crowd",
        run_id=run_id,
        task_id="make",
        method="execute_complete",
        triggers=rows,
        per_second=per_second,
    )
    while (left := _deferred(airflow, run_id)) and time.monotonic() < begin + LONGEST_S:
        usage.read()
        time.sleep(1)
    usage.read()
    blocked = [line for line in log.read_text()[written:].splitlines() if BLOCKED in line]
    for line in blocked:
        print(line, file=sys.stderr)
    return run_id, time.monotonic() - begin, left, blocked


def _deferred(airflow: LocalAirflow, run_id: str) -> int:
    path = f"/dags/crowd/dagRuns/{run_id}/taskInstances"
    return int(airflow.api("GET", path, state="deferred", limit=1)["total_entries"])


def short(airflow: LocalAirflow, sim: Simulator, table: Table) -> None:
    """Run a short job with and without deferral, in turns."""
    found: dict[str, list[tuple[float, float, int]]] = {"stays": [], "defers": []}
    for _ in range(ROUNDS):
        for dag_id, rounds in found.items():
            rounds.append(_short(airflow, sim, dag_id))
    table.head("One job of 4 s, waited for on the worker (inline_wait_seconds = 30) and deferred at once (0); medians")
    middle = {
        dag_id: [statistics.median(column) for column in zip(*rounds, strict=True)] for dag_id, rounds in found.items()
    }
    for dag_id, label in (("stays", "On the worker"), ("defers", "Deferred at once")):
        success, slot, starts = middle[dag_id]
        text = f"{success:.1f} s from submission to success, {slot:.1f} s of a worker's slot, {starts:g} starts"
        table.note(label, text)
    gain, cost = (middle["defers"][n] - middle["stays"][n] for n in (0, 1))
    table.note("Waiting on the worker", f"ends {gain:.1f} s earlier and holds a slot {-cost:+.1f} s longer")


def _short(airflow: LocalAirflow, sim: Simulator, dag_id: str) -> tuple[float, float, int]:
    with Slots(lambda: airflow.processes("scheduler")) as slots:
        run_id = airflow.trigger(dag_id)
        state = airflow.wait_for_run(dag_id, run_id, 120)
        assert state == "success", f"{dag_id} ended as {state}"
        end = time.monotonic() + 30
        while not slots.idle() and time.monotonic() < end:
            time.sleep(0.05)
    ended = datetime.fromisoformat(airflow.task_instance(dag_id, run_id, "make")["end_date"])
    made = datetime.fromisoformat(sim.jobs()[-1]["created_at"])
    return (ended - made).total_seconds(), slots.busy_s, slots.starts


def main() -> int:
    """Print the tables; the exit code is 0 when every figure is what it must be."""
    table = Table()
    with (
        tempfile.TemporaryDirectory() as name,
        stoppable(),
        Simulator(api_key=KEY, credits=10**7) as sim,
        LocalAirflow(
            Path(name),
            dags_folder=Path(__file__).parent / "parts" / "dags",
            connections={"magic_hour_default": {"conn_type": "magic_hour", "host": sim.url, "password": KEY}},
            environment={
                "AIRFLOW__TRIGGERER__CAPACITY": str(2 * MANY),
                "PYTHONPATH": str(Path(__file__).parent),  # where the triggerer finds the one that only sleeps
            },
        ) as airflow,
    ):
        short(airflow, sim, table)
        for per_second in (PER_SECOND, 0):
            crowd(airflow, sim, table, per_second)
            limit(airflow, table, per_second)
    return 0 if table.kept else 1


if __name__ == "__main__":
    sys.exit(main())
