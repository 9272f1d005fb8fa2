"""What a task that stores nothing costs on a real Airflow, ended by its trigger and by a second worker, side by side.

Mapped tasks of one video each, in one Airflow, in rounds that take turns: CPU of all of Airflow's processes over what
they use when idle, also of those that have ended, and the median of the seconds from a job's completion to the task's
success.

    python benchmarks/ending.py [tasks: 20] [rounds: 2]
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "scripts"), str(ROOT / "tests")]

from parts.table import Table  # noqa: E402

from local_airflow import COMPONENTS, LocalAirflow  # noqa: E402
from magic_hour_provider.simulator import Simulator  # noqa: E402
from process_tree import stoppable  # noqa: E402

KEY = "mhk_live_benchmark0123456789"
TASKS, ROUNDS = 20, 2
JOB_S = 20
IDLE_S = 15
CALLBACKS_S = 5  # in which the DAG processor gets what the ended tasks have asked for
RUN_S = 900
SIDES = ("worker", "trigger")

DAG = """
from airflow.sdk import DAG
from magic_hour_provider.operators.magic_hour import MagicHourOperator

for side, more in (("worker", {"on_success_callback": lambda context: None}), ("trigger", {})):
    with DAG(f"ended_by_{side}", schedule=None):
        MagicHourOperator.partial(task_id="make", tool="text-to-video", output_path="", **more).expand(
            request=[
                {"style": {"prompt": f"waves {number} [[seconds:%(job_s)s]]"}, "end_seconds": 3}
                for number in range(%(tasks)s)
            ]
        )
"""


def cpu_of(airflow: LocalAirflow) -> dict[str, float]:
    """Return the CPU seconds of each component so far, with those of its processes that have ended."""
    found = dict.fromkeys(COMPONENTS, 0.0)
    for component in COMPONENTS:
        for process in airflow.processes(component):
            with contextlib.suppress(psutil.NoSuchProcess):
                found[component] += sum(process.cpu_times()[:4])
    return found


def since(airflow: LocalAirflow, before: dict[str, float]) -> dict[str, float]:
    """Return the CPU seconds of each component since then."""
    return {component: spent - before[component] for component, spent in cpu_of(airflow).items()}


def run(airflow: LocalAirflow, sim: Simulator, side: str, idle: dict[str, float]) -> tuple[dict[str, float], float]:
    """Run one side's tasks; return the CPU seconds of each component over the idle, and the median delay in seconds.

    :param idle: CPU seconds that each component uses in a second in which it has nothing to do.
    """
    dag_id, made = f"ended_by_{side}", len(sim.jobs())
    before, began = cpu_of(airflow), time.monotonic()
    run_id = airflow.trigger(dag_id)
    state = airflow.wait_for_run(dag_id, run_id, RUN_S)
    assert state == "success", f"{dag_id} ended as {state}"
    time.sleep(CALLBACKS_S)
    took = time.monotonic() - began
    spent = {component: used - idle[component] * took for component, used in since(airflow, before).items()}
    jobs = {job["id"]: datetime.fromisoformat(job["created_at"]).timestamp() + JOB_S for job in sim.jobs()[made:]}
    delays = []
    for ti in airflow.task_instances(dag_id, run_id):
        job_id = airflow.xcom(dag_id, run_id, "make", "magic_hour_job", ti["map_index"])["id"]
        delays.append(datetime.fromisoformat(ti["end_date"]).timestamp() - jobs.pop(job_id))
    assert not jobs, f"{dag_id}: {len(jobs)} jobs that no task has"
    return spent, statistics.median(delays)


def main() -> int:
    """Print the table; return 1 where a figure was worse than it must be."""
    numbers = [int(argument) for argument in sys.argv[1:]]
    tasks, rounds = (*numbers, *(TASKS, ROUNDS)[len(numbers) :])
    spent: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    delays: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as name, stoppable(), Simulator(api_key=KEY, credits=10**8) as sim:
        home = Path(name)
        (home / "dags").mkdir()
        (home / "dags" / "ending.py").write_text(DAG % {"tasks": tasks, "job_s": JOB_S})
        connections = {"magic_hour_default": {"conn_type": "magic_hour", "host": sim.url, "password": KEY}}
        with LocalAirflow(home / "home", dags_folder=home / "dags", connections=connections) as airflow:
            nothing = dict.fromkeys(COMPONENTS, 0.0)
            for side in SIDES:  # what a process does once is over
                run(airflow, sim, side, nothing)
            before, began = cpu_of(airflow), time.monotonic()
            time.sleep(IDLE_S)
            idle = {part: used / (time.monotonic() - began) for part, used in since(airflow, before).items()}
            for _ in range(rounds):
                for side in SIDES:
                    used, delay = run(airflow, sim, side, idle)
                    spent[side].append(used)
                    delays[side].append(delay)
    table = Table()
    table.head(f"{tasks} tasks that store nothing, {rounds} rounds of each side")
    whole = {side: statistics.mean(sum(used.values()) for used in spent[side]) / tasks for side in SIDES}
    table.row("CPU per job, ended by the trigger, beside a worker", whole["trigger"] / whole["worker"], must=0.85)
    for side in SIDES:
        parts = {part: statistics.mean(used[part] for used in spent[side]) / tasks for part in COMPONENTS}
        words = ", ".join(f"{part} {1000 * used:.0f}" for part, used in parts.items())
        table.note(f"CPU per job, ended by the {side}", f"{1000 * whole[side]:.0f} ms ({words})")
        table.note("From completion to success, median", f"{statistics.mean(delays[side]):.1f} s")
    return 0 if table.kept else 1


if __name__ == "__main__":
    sys.exit(main())
