"""Pushes XComs from a trigger as a worker does: through the Task SDK's own channel, before the task ends.

``TaskSuccessEvent(xcoms=...)`` would push them after it. Airflow 3.1 to 3.3.2 (``handle_event_submit`` in
``airflow/models/trigger.py``) commits the state with the first of them and stores each as a text that holds JSON, and
where one fails the task has succeeded without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

_pushes: set[asyncio.Task[None]] = set()


async def push_xcoms(ti: Any, xcoms: Mapping[str, Any]) -> None:
    """Push XComs of a deferred task instance, in their order.

    :param ti: Airflow's, as its triggerer gives it to a trigger.
    :raises MissingInternalError: this Airflow has not what is needed.
    :raises Exception: Airflow's, of an XCom that could not be written; those before it are.
    """
    from magic_hour_provider.airflow_internals import SetXCom, task_runner

    comms: Any = task_runner.SUPERVISOR_COMMS
    place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}

    async def push() -> None:
        for key, value in xcoms.items():
            await comms.asend(SetXCom(key=key, value=value, **place))

    # A trigger that is canceled must not cut an exchange: on Airflow 3.1 the next one would read its answer.
    task = asyncio.get_running_loop().create_task(push())
    _pushes.add(task)
    task.add_done_callback(_pushes.discard)
    await asyncio.shield(task)
