"""Airflow's metrics of a task's success, and ours of its credits, for a task that no worker ends.

Their names and tags are those of ``airflow/sdk/execution_time/task_runner.py``: of 3.3.2, which adds the older names by
itself, and of 3.1.8 and 3.2.2.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from types import ModuleType
from typing import Any

from magic_hour_provider import clock
from magic_hour_provider.metrics import CREDITS_CHARGED
from magic_hour_provider.triggers.ending.task_end import TaskEnd
from magic_hour_provider.triggers.poll_metrics import stats

log = logging.getLogger(__name__)


_PATIENCE_S = 5.0
"""Seconds after which a task ends although its metrics are not sent yet."""


async def send_success(ti: Any, end: TaskEnd, tool: str, charged: int) -> None:
    """Send them from a thread, as Airflow's first use of its metrics blocks. A task waits for that, but not for ever.

    :param ti: Airflow's, as its triggerer gives it to a trigger.
    :param tool: slug of the tool.
    :param charged: what the job was charged, in credits.
    """
    took_s = None if end.started_at is None else max(0.0, clock.current().now() - end.started_at)
    sent = asyncio.get_running_loop().run_in_executor(None, _send, ti, end, tool, charged, took_s)
    await asyncio.wait([sent], timeout=_PATIENCE_S)


def _send(ti: Any, end: TaskEnd, tool: str, charged: int, took_s: float | None) -> None:
    if stats is None:
        return
    try:
        if charged:
            stats.incr(CREDITS_CHARGED, charged, tags={"tool": tool, "dag_id": ti.dag_id})
        is_module = isinstance(stats, ModuleType)
        if not is_module:  # before 3.3
            stats.incr(f"ti.finish.{ti.dag_id}.{ti.task_id}.success", tags=end.tags)
            stats.incr(f"operator_successes_{end.operator}", tags=end.tags)
        stats.incr("operator_successes", tags={**end.tags, "operator_name" if is_module else "operator": end.operator})
        stats.incr("ti_successes", tags=end.tags)
        stats.incr("ti.finish", tags={**end.tags, "state": "success"})
        if took_s is not None:
            took = timedelta(seconds=took_s)
            if not is_module:
                stats.timing(f"dag.{ti.dag_id}.{ti.task_id}.duration", took)
            stats.timing("task.duration", took, tags=end.tags)
    except Exception:
        # Metrics inform: no task ends otherwise for them.
        log.exception("The metrics of a task that has succeeded could not be sent; the task is not affected.")
