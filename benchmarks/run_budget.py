"""What a task under ``max_credits_per_run`` reads before it pays, beside 1,000 mapped tasks: time, and memory.

Asked of Airflow's own execution API and a database (SQLite) in this process, so that the memory is that of both sides.
Bounds: 1 s and 20 MiB, with requests of an ordinary size; the largest that an XCom of ours holds are shown beside.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import psutil
import structlog

ROOT = Path(__file__).resolve().parent.parent
COUNT, ROUNDS = 1_000, 7
BOUND_S, BOUND_MIB = 1.0, 20.0


def main() -> None:
    """Print the figures, and fail when a bound is broken."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]
    from helpers.database import airflow_on

    missed = False
    with tempfile.TemporaryDirectory() as folder, airflow_on("sqlite", Path(folder)):
        for characters, is_bound in ((300, True), (15_000, False)):
            seconds, mib = measure(characters)
            print(f"{COUNT} siblings with {characters} characters of request: {seconds:.2f} s, {mib:.1f} MiB more")
            missed |= is_bound and (seconds > BOUND_S or mib > BOUND_MIB)
    sys.exit(missed)


def measure(characters: int) -> tuple[float, float]:
    """Return the median time of a read in seconds, and what the first one adds to this process at its peak, in MiB."""
    from airflow.sdk import DAG
    from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms, InProcessTestSupervisor
    from airflow.sdk.execution_time.supervisor import set_supervisor_comms as supervised
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from helpers.airflow_rows import RUN, put_mapped, put_run
    from magic_hour_provider.execution.payment.run_budget import read_other_tasks
    from magic_hour_provider.operators.magic_hour import MagicHourOperator

    picture = {"image_count": 1, "style": {"prompt": "x" * characters}}
    with DAG(f"run_{characters}", schedule=None) as dag:
        MagicHourOperator.partial(task_id="make", tool="ai-image-generator").expand(request=[picture] * COUNT)
        last = MagicHourOperator(task_id="last", tool="ai-image-generator", request=picture)
    put_run(dag)
    job = {"tool": "ai-image-generator", "kind": "image", "id": "x" * 25, "request": picture, "credits_charged": 5}
    credits = {"paid": 5, "reserved": 0, "is_known": True}
    xcoms = [{"magic_hour_job": job | {"run_credits": credits | {"map_index": index}}} for index in range(COUNT)]
    put_mapped(dag.dag_id, "make", "success", xcoms)
    supervisor = InProcessTestSupervisor(
        id=uuid.uuid4(),
        pid=os.getpid(),
        process=psutil.Process(),
        process_log=structlog.get_logger(),
        client=InProcessTestSupervisor._api_client(),
    )
    supervisor.comms = InProcessSupervisorComms(supervisor=supervisor)
    ti = RuntimeTaskInstance.model_construct(dag_id=dag.dag_id, run_id=RUN, task_id="last", map_index=-1, task=last)
    context = {"ti": ti, "task": SimpleNamespace(dag=dag)}
    times = []
    with supervised(supervisor.comms):
        ti.get_task_states(dag_id=dag.dag_id, task_ids=["last"], run_ids=[RUN])  # starts the API server
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(ROUNDS):
            began = time.perf_counter()
            found = read_other_tasks(context)
            times.append(time.perf_counter() - began)
            if number == 0:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert (found.credits.paid, found.unknown) == (5 * COUNT, ()), found
    return statistics.median(times), peak / 1024


if __name__ == "__main__":
    main()
