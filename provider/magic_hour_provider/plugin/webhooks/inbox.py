"""Queue for verified deliveries: bounded work on the database, off the event loop, with bounded memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from magic_hour_provider import clock
from magic_hour_provider.airflow_internals import MissingInternalError
from magic_hour_provider.api.webhooks import Delivery
from magic_hour_provider.plugin.webhooks.database import DATABASE_UNAVAILABLE
from magic_hour_provider.plugin.webhooks.delivery_state import DeliveryState

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_THREADS = 4
_RESPONSE_S = 0.7  # a delivery that takes longer is answered before its work is done
_MAX_IN_PROGRESS = 1_000
_MAX_SCHEDULED = 10_000
_MAX_RECHECKS = 6  # of a task that may not be resumed yet
_RETRY_DELAYS_S = (2.0, 8.0, 30.0)  # for a delivery that was answered before the database failed


class InboxFullError(Exception):
    """More deliveries than can be processed: Magic Hour will send this one again."""


DeliveryHandler = Callable[[Delivery, str, DeliveryState, float, bool], float | None]


class Inbox:
    """Accepts verified deliveries. One for each event loop of an API server; its contents are lost with it.

    :param handler: processes a delivery, in a thread; see :func:`process_delivery`.
    """

    def __init__(self, handler: DeliveryHandler | None = None) -> None:
        self._handler = handler or process_delivery
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="magic-hour-webhooks")
        self._in_progress: dict[str, asyncio.Task[None]] = {}
        self._scheduled: dict[str, asyncio.Task[None]] = {}

    async def accept(self, delivery: Delivery, conn_id: str) -> bool:
        """Process a delivery; return whether that is done, or continues after the response.

        :param conn_id: the connection whose secret signed the delivery.
        :raises InboxFullError: the delivery was not accepted.
        :raises DATABASE_UNAVAILABLE: nothing was done for it.
        """
        key = _deduplication_key(delivery, conn_id)
        if key in self._in_progress or key in self._scheduled:
            return False  # a repeat
        if len(self._in_progress) >= _MAX_IN_PROGRESS:
            raise InboxFullError
        task = self._start(self._in_progress, key, self._process(delivery, conn_id))
        done, _ = await asyncio.wait([task], timeout=_RESPONSE_S)
        if done:
            task.result()
            return True
        task.add_done_callback(lambda _: self._retry_if_unavailable(delivery, conn_id, task))
        return False

    def _start(
        self, tasks: dict[str, asyncio.Task[None]], key: str, work: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        task = tasks[key] = asyncio.create_task(work)

        def remove(_: asyncio.Task[None]) -> None:
            if tasks.get(key) is task:
                del tasks[key]

        task.add_done_callback(remove)
        return task

    async def _process(self, delivery: Delivery, conn_id: str) -> None:
        state = DeliveryState()
        delay = await self._in_thread(delivery, conn_id, state, False)
        if delay is None:
            return
        if len(self._scheduled) >= _MAX_SCHEDULED:
            log.warning("Too many early deliveries: Magic Hour job %s is left to polling.", delivery.id)
            return
        key = _deduplication_key(delivery, conn_id)
        self._start(self._scheduled, key, self._recheck(delivery, conn_id, state, delay))

    async def _in_thread(
        self, delivery: Delivery, conn_id: str, state: DeliveryState, is_recheck: bool
    ) -> float | None:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, lambda: self._handler(delivery, conn_id, state, clock.current().now(), is_recheck)
        )

    async def _recheck(self, delivery: Delivery, conn_id: str, state: DeliveryState, delay: float | None) -> None:
        """Process a delivery again when its task may be resumed."""
        for _ in range(_MAX_RECHECKS):
            if delay is None:
                return
            await clock.current().async_sleep(delay)
            try:
                delay = await self._in_thread(delivery, conn_id, state, True)
            except DATABASE_UNAVAILABLE as error:
                log.warning("Magic Hour job %s: the database is unavailable (%s).", delivery.id, type(error).__name__)

    def _retry_if_unavailable(self, delivery: Delivery, conn_id: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(task.exception(), DATABASE_UNAVAILABLE):
            key = _deduplication_key(delivery, conn_id)
            self._start(self._in_progress, key, self._retry(delivery, conn_id))

    async def _retry(self, delivery: Delivery, conn_id: str) -> None:
        for delay in _RETRY_DELAYS_S:
            await clock.current().async_sleep(delay)
            try:
                return await self._process(delivery, conn_id)
            except DATABASE_UNAVAILABLE as error:
                log.warning("Magic Hour job %s: the database is unavailable (%s).", delivery.id, type(error).__name__)
        log.error(
            "The delivery %s is lost, as the database was unavailable for too long; polling continues.", delivery.key
        )
        return None


def _deduplication_key(delivery: Delivery, conn_id: str) -> str:
    """Return what a delivery and its repeats share; the same job for another connection has another key."""
    return f"{conn_id}:{delivery.key}"


def process_delivery(
    delivery: Delivery, conn_id: str, state: DeliveryState, now: float, is_recheck: bool
) -> float | None:
    """Resume the tasks that wait for the job, recover a submission whose response was lost, create an asset event.

    :param conn_id: the connection whose secret signed the delivery.
    :param state: kept while the delivery is checked again.
    :param now: the time, in seconds since 1970.
    :param is_recheck: whether the delivery was processed before, and only its tasks are checked again.
    :returns: seconds until the tasks should be checked again, or None.
    :raises DATABASE_UNAVAILABLE: the database does not answer; a retry may succeed.
    """

    # Imported one by one: what a later Airflow has changed under one of them leaves the others working.
    def resume() -> float | None:
        from magic_hour_provider.plugin.webhooks.resume import resume_tasks

        result = resume_tasks(delivery, conn_id, state, now)
        for task in result.resumed:
            log.info("Magic Hour job %s %s: resumed %s.", delivery.id, delivery.event, task)
        return result.delay_s

    def recover() -> None:
        from magic_hour_provider.plugin.webhooks.recovery import recover_submission

        if task := recover_submission(delivery, conn_id, now):
            log.info("Magic Hour job %s, whose response was lost, belongs to %s.", delivery.id, task)

    def emit() -> None:
        from magic_hour_provider.plugin.webhooks.asset_events import create_asset_event

        if create_asset_event(delivery, conn_id):
            log.info("Magic Hour job %s: an asset event %s.", delivery.id, delivery.type)

    delay = _run_step(resume, delivery)
    _run_step(recover, delivery)
    if not is_recheck:
        _run_step(emit, delivery)
    return delay


def _run_step(step: Callable[[], _T], delivery: Delivery) -> _T | None:
    try:
        return step()
    except DATABASE_UNAVAILABLE:
        raise
    except MissingInternalError:  # the log has said so
        return None
    except Exception:
        log.exception("Magic Hour's delivery %s could not be used for everything; polling continues.", delivery.key)
        return None
