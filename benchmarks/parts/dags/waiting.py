"""The DAGs of the triggerer benchmark."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from airflow.sdk import DAG

from magic_hour_provider.operators.magic_hour import MagicHourOperator

SHORT = {"image_count": 1, "style": {"prompt": "a lighthouse [[seconds:4]]"}}


def set_inline_wait(seconds: str) -> Callable[[Any], None]:
    """Return a hook that sets how long this task's process waits itself."""

    def setting(_: Any) -> None:
        os.environ["AIRFLOW__MAGIC_HOUR__INLINE_WAIT"] = seconds

    return setting


# Its task instances are put into the database by hand, and as nobody starts what is paused, what their triggers
# resume stays where it can be counted.
with DAG("crowd", schedule=None, is_paused_upon_creation=True):
    MagicHourOperator(task_id="make", tool="text-to-video", request={"style": {"prompt": "waves"}, "end_seconds": 3})

for name, seconds in (("stays", "30"), ("defers", "0")):
    with DAG(name, schedule=None):
        MagicHourOperator(
            task_id="make",
            tool="ai-image-generator",
            request=SHORT,
            pre_execute=set_inline_wait(seconds),
            output_path="",
        )
