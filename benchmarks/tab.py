"""The Media tab's cost for Airflow's API server: pages, large runs with many viewers, and a storage that stalls.

Asked of Airflow's own API server in a process of its own on loopback, with its login, its database (SQLite), files on
this disk and an S3 (moto) behind a proxy that can stall. Bounds: a page with 50 files; the first page of a run with
10,000 mapped tasks, loaded; what six viewers of it take of memory, and what they leave for other routes; the
other routes while 200 reads of 20 viewers are stalled, and the return of the media after their storage's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from parts.other_routes import asking_other_routes

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 15
MANY = 10_000
VIEWERS, WATCHED_S = 6, 30.0
STALLED_VIEWERS, STALLED_EACH = 20, 10
BOUNDS = {
    "page": 200,
    "first page": 500,
    "memory": 100,
    "others p95": 300,
    "others while stalled": 1000,
    "return": 10_000,
}
"""Milliseconds, and MB of memory."""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200_000)
TAB = "/magic-hour/media/dags/{}/runs/{}"
REQUEST = {"image_count": 1, "style": {"prompt": "a lighthouse at dawn, long exposure, soft light " * 5}}
REPORT = {
    "tool": "ai-image-generator",
    "kind": "image",
    "request": REQUEST,
    "status": "complete",
    "submitted_at": "2026-11-25T08:00:00+00:00",
    "ended_at": "2026-11-25T08:00:09+00:00",
    "credits_charged": 5,
}


def main() -> None:
    """Print the table, and fail when a bound is broken."""
    sys.path.insert(0, str(ROOT / "tests"))
    from helpers import s3
    from helpers.stalling import StallingProxy

    s3.keep_on_loopback()
    with tempfile.TemporaryDirectory() as home, s3.serving() as endpoint, StallingProxy(endpoint).running() as proxy:
        media = Path(home, "media")
        media.mkdir()
        settings = {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        settings |= {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
        settings |= {"AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64, "AIRFLOW__API__SECRET_KEY": "y" * 64}
        settings[f"AIRFLOW_CONN_{s3.CONN_ID.upper()}"] = s3.connection(proxy.url)
        bucket = s3.Bucket(proxy.url)
        settings["AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS"] = f"{media}, {bucket.uri}"
        os.environ.update(settings)
        put_media(media, bucket.write("ai-image-generator-stored-1.png", PNG))
        with served() as (url, server):
            rows = measure(url, server, proxy)
    print("| measured | | bound |\n| --- | --- | --- |")
    broken = []
    for label, value, unit, bound in rows:
        limit = BOUNDS.get(bound)
        print(f"| {label} | {value:,.0f} {unit} | {'' if limit is None else f'{limit:,} {unit}'} |")
        broken += [label] if limit is not None and value > limit else []
    if broken:
        sys.exit(f"Over the bound: {'; '.join(broken)}.")


def put_media(folder: Path, stored: str) -> None:
    """Write a task of 50 files, runs mapped to 50, to 1,000 and to very many, and one whose file is in the storage."""
    from airflow.sdk import DAG
    from airflow.utils.db import initdb

    from helpers.airflow_rows import put_mapped, put_run, put_task
    from magic_hour_provider.operators.magic_hour import MagicHourOperator

    initdb()
    for count in (50, 1000, MANY):
        with DAG(f"run_{count}", schedule=None) as dag:
            MagicHourOperator.partial(task_id="make", tool="ai-image-generator").expand(request=[REQUEST] * count)
        put_run(dag)
        rows = []
        for number in range(count):
            uri = folder / f"ai-image-generator-{count}x{number}-1.png"
            if count < MANY:
                uri.write_bytes(PNG if number < 50 else PNG[:100])
            job = REPORT | {"id": f"{count}x{number}"}
            result = {"files": [str(uri)], "file": str(uri), "media": [{"uri": str(uri), "index": 0, "size": 200_008}]}
            result |= {name: job[name] for name in ("id", "kind", "tool", "status", "credits_charged")}
            rows.append({"magic_hour_job": job, "return_value": result, f"magic_hour.job.{job['id']}": {}, **result})
        put_mapped(dag.dag_id, "make", "success", rows)
    for dag_id, uris in (
        ("task_50", [str(folder / f"ai-image-generator-50x{n}-1.png") for n in range(50)]),
        ("stored", [stored]),
    ):
        with DAG(dag_id, schedule=None) as dag:
            MagicHourOperator(task_id="make", tool="ai-image-generator", request=REQUEST)
        put_run(dag)
        media = [{"uri": uri, "index": number, "size": 200_008} for number, uri in enumerate(uris)]
        put_task(
            dag_id,
            "make",
            "success",
            {
                "magic_hour_job": REPORT | {"id": dag_id},
                "return_value": {"media": media},
                f"magic_hour.job.{dag_id}": {},
            },
        )


@contextmanager
def served() -> Iterator[tuple[str, psutil.Process]]:
    """Run Airflow's API server in a process of its own; give its address and the process."""
    script = (
        "import sys, uvicorn; sys.path.insert(0, sys.argv[1]); from helpers.airflow_rows import make_app; "
        "options = {'port': int(sys.argv[2]), 'log_level': 'critical', 'timeout_keep_alive': 120}; "
        "uvicorn.Server(uvicorn.Config(make_app(), **options)).run()"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(ROOT / "tests"), str(port)], stdout=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"{url}/api/v2/version", trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None and time.monotonic() < end, "the API server did not start"
                time.sleep(0.2)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def measure(url: str, server: psutil.Process, proxy: Any) -> list[tuple[str, float, str, str]]:
    """Return the rows of the table."""
    from helpers.airflow_rows import RUN, token

    headers = {"authorization": f"Bearer {token()}"}

    def path(dag_id: str) -> str:
        return TAB.format(dag_id, RUN)

    airflow = f"/api/v2/dags/run_50/dagRuns/{RUN}/taskInstances"
    pages = [
        ("a task with 50 files", f"{path('task_50')}/tasks/make/-1/details", "page"),
        ("a run with 50 files", f"{path('run_50')}/details", "page"),
        ("a run with 1,000 files, its first 120", f"{path('run_1000')}/details", ""),
        ("a picture of 200 kB, from this disk", f"{path('run_50')}/tasks/make/0/files/0", ""),
        ("a picture of 200 kB, from S3", f"{path('stored')}/tasks/make/-1/files/0", ""),
        ("for comparison: Airflow's list of the 50 task instances", airflow, ""),
    ]
    rows: list[tuple[str, float, str, str]] = []
    with httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False) as http:

        def spent(address: str) -> float:
            begun = time.perf_counter()
            http.get(address).raise_for_status()
            return (time.perf_counter() - begun) * 1000

        for label, address, bound in pages:
            spent(address)
            rows.append((label, statistics.median(spent(address) for _ in range(ROUNDS)), "ms", bound))
        first = f"{path(f'run_{MANY}')}/details"
        cold = spent(first)  # reads the serialized DAG too, once for all
        fresh = []
        for _ in range(5):
            time.sleep(3 + 6 * cold / 1000)  # no summary of the run is kept any more
            fresh.append(spent(first))
        rows.append((f"a run with {MANY:,} tasks, its first 120, loaded", statistics.median(fresh), "ms", "first page"))
        rows.append(("the same for the first time since the server's start", cold, "ms", ""))
        rows.append(
            ("the same while its summary is shared", statistics.median(spent(first) for _ in range(5)), "ms", "")
        )
    rows += asyncio.run(watch(url, headers, server, first))
    rows += asyncio.run(stall(url, headers, proxy, f"{path('stored')}/tasks/make/-1/files/0"))
    return rows


async def watch(url: str, headers: Any, server: psutil.Process, address: str) -> list[tuple[str, float, str, str]]:
    """Let six viewers poll the large run, as its page does; return what that takes."""
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120, trust_env=False) as http:
        with asking_other_routes(url, headers["authorization"]) as quiet:
            await asyncio.sleep(5)
        before = peak = server.memory_info().rss

        async def view(number: int) -> None:
            await asyncio.sleep(number * 0.7)
            while time.monotonic() < end:
                (await http.get(address, params={"offset": number * 100})).raise_for_status()
                await asyncio.sleep(4)

        with asking_other_routes(url, headers["authorization"]) as others:
            end = time.monotonic() + WATCHED_S
            viewers = [asyncio.create_task(view(number)) for number in range(VIEWERS)]
            while not all(viewer.done() for viewer in viewers):
                await asyncio.sleep(0.1)
                peak = max(peak, server.memory_info().rss)
            await asyncio.gather(*viewers)
    return [
        (f"six viewers of {MANY:,} tasks: memory at the most", (peak - before) / 1e6, "MB", "memory"),
        ("six viewers: other routes, p95", statistics.quantiles(others, n=20)[-1], "ms", "others p95"),
        ("nobody watches: other routes, p95", statistics.quantiles(quiet, n=20)[-1], "ms", ""),
    ]


async def stall(url: str, headers: Any, proxy: Any, address: str) -> list[tuple[str, float, str, str]]:
    """Let the storage stall under 200 reads, and come back; return what others met and when the media were there."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120, trust_env=False, limits=limits) as http:
        assert (await http.get(address)).status_code == 200
        proxy.is_stalled = True
        stalled_at = time.monotonic()

        async def view(number: int) -> None:
            connections = asyncio.Semaphore(6)  # as many as a browser has

            async def ask() -> None:
                async with connections:
                    answer = await http.get(address)
                assert answer.status_code == 503, answer.status_code

            # At times of his own: the page asks for nothing again, so what was refused together does not come together.
            for turn in range(3):
                await asyncio.sleep(max(0.0, stalled_at + number * 0.2 + turn * 10 - time.monotonic()))
                await asyncio.gather(*(ask() for _ in range(STALLED_EACH)))

        with asking_other_routes(url, headers["authorization"]) as others:
            await asyncio.gather(*(view(number) for number in range(STALLED_VIEWERS)))
        proxy.is_stalled = False
        begun = time.perf_counter()
        while (await http.get(address)).status_code != 200:  # noqa: ASYNC110 (it is on another machine)
            await asyncio.sleep(0.2)
        back = (time.perf_counter() - begun) * 1000
    reads = STALLED_VIEWERS * STALLED_EACH
    return [
        (
            f"{reads} reads of {STALLED_VIEWERS} viewers stalled: other routes, slowest",
            max(others),
            "ms",
            "others while stalled",
        ),
        (f"{reads} reads stalled: other routes, p95", statistics.quantiles(others, n=20)[-1], "ms", ""),
        ("from the storage's return to the media's", back, "ms", "return"),
    ]


if __name__ == "__main__":
    main()
