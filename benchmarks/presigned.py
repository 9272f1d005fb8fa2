"""What a presigned input costs a worker: one of 1 GiB beside one of 1 KiB, and beside the same file uploaded.

A whole task runs in a fresh process: checks, link, its try, paid request, record. The storage and Magic Hour are
servers in this one; the storage checks each link's signature and counts what it sends to whom, and Magic Hour fetches
every link to its end. Memory is the highest resident size of the worker's process (VmHWM, so this needs Linux).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from parts.table import Table  # noqa: E402

from helpers import s3  # noqa: E402
from helpers.strict_s3 import StrictS3  # noqa: E402

KIB, GIB = 1024, 1024**3
ROUNDS = 3
KEY = "mhk_live_benchmark"
MEMORY_MIB = 8


def work(uri: str, transfer: str) -> tuple[float, float, float]:
    """Run one task; return the worker's peak in MiB, its CPU seconds and its seconds."""
    from helpers.attempts import TaskInstance
    from magic_hour_provider.operators.magic_hour import MagicHourOperator

    task = MagicHourOperator(
        task_id="upscale",
        tool="ai-video-upscaler",
        request={"assets": {"video_file_path": uri}, "start_seconds": 0, "end_seconds": 5, "resolution": "1080p"},
        input_transfer=transfer,
        output_path="",
        wait_for_completion=False,
    )
    ti = TaskInstance("upscale")
    ti.next_attempt()
    cpu, begun = time.process_time(), time.perf_counter()
    assert task.execute(ti.context(task))["status"] == "queued"
    spent = time.process_time() - cpu, time.perf_counter() - begun
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    return peak, *spent


def in_a_fresh_process(uri: str, transfer: str) -> tuple[float, float, float]:
    """Run one task in a process that has done nothing else."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, uri, transfer).result()


def main() -> int:
    """Print the table; the exit code is 0 when the bounds were kept."""
    from magic_hour_provider.simulator import Simulator
    from magic_hour_provider.simulator.behavior import Behavior

    table = Table()
    s3.keep_on_loopback()
    behavior = Behavior(input_links="fetched")
    with (
        tempfile.TemporaryDirectory() as folder,
        StrictS3() as server,
        Simulator(api_key=KEY, behavior=behavior, credits=10**9) as sim,
    ):
        os.environ |= {"AIRFLOW_HOME": f"{folder}/airflow", "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        os.environ |= {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        os.environ[f"AIRFLOW_CONN_{server.conn_id.upper()}"] = server.connection()
        connection = {"conn_type": "magic_hour", "password": KEY, "host": sim.url}
        os.environ["AIRFLOW_CONN_MAGIC_HOUR_DEFAULT"] = json.dumps(connection)
        small, large = server.put("small.mp4", KIB), server.put("large.mp4", GIB)
        figures = [(in_a_fresh_process(small, "presign"), in_a_fresh_process(large, "presign")) for _ in range(ROUNDS)]
        links, creates = sim.stats()["input_links"], sim.summary().creates
        assert (creates, links["fetched"], links["failed"]) == (2 * ROUNDS, 2 * ROUNDS, 0), links
        assert links["bytes"] == server.by_link == ROUNDS * (KIB + GIB), links
        table.head("A presigned input of 1 GiB beside one of 1 KiB")
        memory = statistics.median(large[0] - small[0] for small, large in figures)
        table.row("Peak memory of the worker, more than with 1 KiB", memory, " MiB", must=MEMORY_MIB)
        table.row("Bytes of files through the worker", float(server.by_sdk), must=0)
        cpu = [statistics.median(round_[side][1] for round_ in figures) for side in (0, 1)]
        table.note("CPU of the worker, 1 KiB and 1 GiB", " and ".join(f"{one:.2f} s" for one in cpu))
        peak, spent, seconds = in_a_fresh_process(large, "upload")
        assert sim.summary().uploads == 1
        more = peak - statistics.median(small[0] for small, _ in figures)
        table.note(
            "Uploaded instead", f"{more:.1f} MiB more, {spent:.2f} s of CPU, {seconds:.1f} s, {server.by_sdk:,} bytes"
        )
    return 0 if table.kept else 1


if __name__ == "__main__":
    sys.exit(main())
