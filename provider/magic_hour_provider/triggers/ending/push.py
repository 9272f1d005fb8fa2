"""Pushes XComs from a trigger as a worker does: through the Task SDK's own channel, before the task ends.

``TaskSuccessEvent(xcoms=...)`` would push them after it. Airflow 3.1 to 3.3.2 (``handle_event_submit`` in
``airflow/models/trigger.py``) commits the state with the first of them and stores each as a text that holds JSON, and
where one fails the task has succeeded without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

_AT_ONCE = 4
"""Tasks whose XComs are pushed at a time. A triggerer writes one XCom in each of its rounds, of about 20 ms, and
whatever another trigger has to tell Airflow waits for those that came before."""
_TURN_S = 10.0
"""Seconds after which a task that waits for its turn is a worker's."""

_pushes: set[asyncio.Task[None]] = set()
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class NoTurnError(Exception):
    """More tasks end at once than one triggerer can end."""


async def push_xcoms(ti: Any, xcoms: Mapping[str, Any]) -> None:
    """Push XComs of a deferred task instance, in their order, when it is its turn.

    :param ti: Airflow's, as its triggerer gives it to a trigger.
    :raises NoTurnError: that does not come; none was pushed.
    :raises MissingInternalError: this Airflow has not what is needed.
    :raises Exception: Airflow's, of an XCom that could not be written; those before it are.
    """
    from magic_hour_provider.airflow_internals import SetXCom, task_runner

    comms: Any = task_runner.SUPERVISOR_COMMS
    place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}

    async def push() -> None:
        for key, value in xcoms.items():
            await comms.asend(SetXCom(key=key, value=value, **place))

    loop = asyncio.get_running_loop()
    turns = _turns.setdefault(loop, asyncio.Semaphore(_AT_ONCE))
    try:
        async with asyncio.timeout(_TURN_S):
            await turns.acquire()
    except TimeoutError:
        raise NoTurnError("too many tasks end at once") from None

    def end(task: asyncio.Task[None]) -> None:
        _pushes.discard(task)
        turns.release()

    # A trigger that is canceled must not cut an exchange: on Airflow 3.1 the next one would read its answer.
    task = loop.create_task(push())
    _pushes.add(task)
    task.add_done_callback(end)
    await asyncio.shield(task)
