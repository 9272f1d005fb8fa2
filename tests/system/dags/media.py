"""The DAG of the tests of files: a task whose process dies with several downloads under way."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.operators.magic_hour import MagicHourOperator

FILES = 4
FOLDER = Path(os.environ.get("AIRFLOW__MAGIC_HOUR__OUTPUT_PATH", "")) / "in-flight"


class Half:
    """A file that takes half of what comes first; when all that should be under way are, the process dies."""

    def __init__(self, target: Any, others: threading.Barrier) -> None:
        self._target, self._others = target, others

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def write(self, data: bytes) -> None:
        """Write half, wait for the others and for one whole file, say what is there, and die."""
        self._target.write(data[: len(data) // 2])
        end = time.monotonic() + 120
        while not list(FOLDER.glob("*.png")):
            if time.monotonic() > end:
                raise TimeoutError("no file became whole")
            time.sleep(0.01)
        if self._others.wait(120) == 0:
            names = sorted(path.name for path in FOLDER.iterdir())
            Path(os.environ["AIRFLOW_HOME"], "in-flight.json").write_text(json.dumps(names))
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()


def dies_with_downloads_under_way(context: Any) -> None:
    """Let the first attempt finish one file, and die in the middle of all the others."""
    if context["ti"].try_number > 1:
        return
    download, others = MagicHourClient.download, threading.Barrier(FILES - 1)

    def first_or_half(client: MagicHourClient, link: Any, target: Any, **options: Any) -> Any:
        first = "/1/" in link.url
        return download(client, link, target if first else Half(target, others), **options)

    MagicHourClient.download = first_or_half  # type: ignore[method-assign]


with DAG("killed_with_downloads_under_way", schedule=None):
    MagicHourOperator(
        task_id="make",
        tool="ai-image-generator",
        request={"image_count": FILES, "style": {"prompt": "four lighthouses"}},
        output_path=str(FOLDER),
        pre_execute=dies_with_downloads_under_way,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
