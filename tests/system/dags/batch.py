"""The DAGs of the batch's tests: campaigns from CSV files, whose process is killed at random moments."""

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
SETTLES_S = 1.0
OPTIONS: dict[str, Any] = {
    "item_id": "sku",
    "output_path": "{{ params.folder }}/{{ task.task_id }}",
    "retries": 12,
    "retry_delay": timedelta(seconds=1),
}


def be_killed(context: Any) -> None:
    """Let the first attempts of a run that asks for it die at a random moment of their work on the items."""
    from magic_hour_provider.batch.records import records
    from magic_hour_provider.batch.window.engine import Engine

    # A killed process writes no record later. The minutes in which a frozen one could are another test's.
    records.settles_after = lambda *_: SETTLES_S
    ti, run = context["ti"], Engine.run
    longest = context["params"]["longest"]
    if ti.try_number > context["params"]["kills"]:
        return

    def run_with_timer(*arguments: Any) -> None:
        seconds = random.uniform(0, longest)
        log.info("This process is killed in %.2f s.", seconds)
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))  # nothing gets to clean up
        timer.daemon = True
        timer.start()
        run(*arguments)
        time.sleep(longest)  # an attempt that has nothing left to do before that waits for it, and never defers

    Engine.run = run_with_timer  # type: ignore[method-assign, assignment]


PARAMS = {
    "folder": Param("", type="string"),
    "kills": Param(0, type="integer"),
    "longest": Param(0.6, type="number"),  # in these seconds the first requests are sent, on a quiet machine
}

with DAG("campaign", schedule=None, params=PARAMS):
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

with DAG("long_campaign", schedule=None, params=PARAMS):
    MagicHourBatchOperator(
        task_id="pictures",
        tool="ai-image-generator",
        request={"image_count": 1},
        requests="{{ params.folder }}/pictures.csv",
        pre_execute=be_killed,
        **OPTIONS,
    )

with DAG("deferred_campaign", schedule=None, params=PARAMS):
    MagicHourBatchOperator(
        task_id="videos",
        tool="text-to-video",
        request={"end_seconds": 3},
        requests="{{ params.folder }}/videos.csv",
        max_active_jobs=6,
        **OPTIONS,
    )
