"""The DAG of the batch's test: two campaigns from CSV files, whose process is killed at a random moment, twice."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param

from magic_hour_provider.operators.batch import MagicHourBatchOperator

log = logging.getLogger("airflow.task")
KILLS = 2
SETTLES_S = 1.0
LONGEST_S = 0.6  # the first requests are sent in this time, on a quiet machine
OPTIONS: dict[str, Any] = {
    "item_id": "sku",
    "output_path": "{{ params.folder }}/{{ task.task_id }}",
    "retries": 4,
    "retry_delay": timedelta(seconds=1),
}


def be_killed(context: Any) -> None:
    """Let the first attempts of a run that asks for it die at a random moment of their work on the items."""
    from magic_hour_provider.batch.records import records
    from magic_hour_provider.batch.window.engine import Engine

    # A killed process writes no record later. The minutes in which a frozen one could are another test's.
    records.settles_after = lambda *_: SETTLES_S
    ti, run = context["ti"], Engine.run
    if not context["params"]["is_killed"] or ti.try_number > KILLS:
        return

    def run_with_timer(*arguments: Any) -> None:
        seconds = random.uniform(0, LONGEST_S)
        log.info("This process is killed in %.2f s.", seconds)
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))  # nothing gets to clean up
        timer.daemon = True
        timer.start()
        run(*arguments)
        time.sleep(LONGEST_S)  # an attempt that has nothing left to do before that waits for it, and never defers

    Engine.run = run_with_timer  # type: ignore[method-assign, assignment]


with DAG(
    "campaign", schedule=None, params={"folder": Param("", type="string"), "is_killed": Param(False, type="boolean")}
):
    MagicHourBatchOperator(
        task_id="pictures",
        tool="ai-image-generator",
        request={"image_count": 1},
        requests="{{ params.folder }}/pictures.csv",
        max_active_jobs=3,
        pre_execute=be_killed,
        **OPTIONS,
    )
    MagicHourBatchOperator(
        task_id="videos",
        tool="text-to-video",
        request={"end_seconds": 3},
        requests="{{ params.folder }}/videos.csv",
        pre_execute=be_killed,
        **OPTIONS,
    )
