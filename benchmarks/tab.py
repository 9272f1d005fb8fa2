"""The Media tab's server time: what a page with 50 files, and a run with 1,000 media, cost Airflow's API server.

Asked of Airflow's own application in this process, with its login, its database (SQLite) and files on this disk: the
time from request to answer, without network and browser. The bound is for 50 files; beside it stands what Airflow's own
list of the same task instances costs.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOUND_MS = 200
ROUNDS = 15
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200_000)


def median_ms(ask: Callable[[], None]) -> float:
    """Return the median time of a request, once everything is loaded."""
    ask()
    spent = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        ask()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent) * 1000


def put_media(folder: Path) -> None:
    """Write a run with one task of 50 files, one mapped to 50 and one mapped to 1,000, and their files."""
    from airflow.sdk import DAG

    from helpers.airflow_rows import put_run, put_task
    from magic_hour_provider.operators.magic_hour import MagicHourOperator

    request = {"image_count": 1, "style": {"prompt": "a lighthouse at dawn, long exposure, soft light " * 5}}
    report = {"tool": "ai-image-generator", "kind": "image", "request": request, "status": "complete"}
    report |= {
        "submitted_at": "2026-11-25T08:00:00+00:00",
        "ended_at": "2026-11-25T08:00:09+00:00",
        "credits_charged": 5,
    }
    for count in (50, 1000):
        with DAG(f"run_{count}", schedule=None) as dag:
            MagicHourOperator.partial(task_id="make", tool="ai-image-generator").expand(request=[request] * count)
        put_run(dag)
        for number in range(count):
            uri = folder / f"{count}-{number}.png"
            uri.write_bytes(PNG if number < 50 else PNG[:100])
            mine = report | {"id": f"{count}x{number}"}
            result = mine | {"media": [{"uri": str(uri), "index": 0, "size": 200_008}], "files": [str(uri)]}
            put_task(dag.dag_id, "make", "success", {"magic_hour_job": mine, "return_value": result}, map_index=number)
    with DAG("task_50", schedule=None) as dag:
        MagicHourOperator(task_id="make", tool="ai-image-generator", request=request)
    put_run(dag)
    media = [{"uri": str(folder / f"50-{number}.png"), "index": number, "size": 200_008} for number in range(50)]
    put_task("task_50", "make", "success", {"magic_hour_job": report | {"id": "x"}, "return_value": {"media": media}})


def main() -> None:
    """Print the table, and fail when the bound is broken."""
    with tempfile.TemporaryDirectory() as home:
        media = Path(home, "media")
        media.mkdir()
        settings = {"AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        settings |= {"AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS": str(media), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
        settings |= {"AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64, "AIRFLOW__API__SECRET_KEY": "y" * 64}
        os.environ.update(settings)
        sys.path.insert(0, str(ROOT / "tests"))
        measure(media)


def measure(media: Path) -> None:
    """Print the table for the Airflow whose settings are in the environment."""
    from airflow.utils.db import initdb
    from starlette.testclient import TestClient

    from helpers.airflow_rows import RUN, make_app, token

    initdb()
    put_media(media)
    with TestClient(make_app()) as client:
        headers = {"authorization": f"Bearer {token()}"}

        def get(path: str) -> Callable[[], None]:
            def ask() -> None:
                assert client.get(path, headers=headers).status_code == 200, path

            return ask

        tab, airflow = "/magic-hour/media/dags/{}/runs/" + RUN, "/api/v2/dags/{}/dagRuns/" + RUN + "/taskInstances"
        rows = [
            ("a task with 50 files", tab.format("task_50") + "/tasks/make/-1/details", BOUND_MS),
            ("a run with 50 files", tab.format("run_50") + "/details", BOUND_MS),
            ("a run with 1,000 files, its first 120", tab.format("run_1000") + "/details", None),
            ("a picture of 200 kB", tab.format("run_50") + "/tasks/make/0/files/0", None),
            ("for comparison: Airflow's list of the 50 task instances", airflow.format("run_50"), None),
        ]
        print("| asked for | server time (ms) | bound (ms) |\n| --- | --- | --- |")
        late = []
        for label, path, bound in rows:
            spent = median_ms(get(path))
            late += [label] if bound and spent > bound else []
            print(f"| {label} | {spent:.0f} | {bound or ''} |", flush=True)
    if late:
        sys.exit(f"Over the bound: {', '.join(late)}.")


if __name__ == "__main__":
    main()
