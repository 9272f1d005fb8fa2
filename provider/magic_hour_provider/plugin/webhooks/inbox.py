"""What becomes of a verified delivery: bounded work on the database, off the event loop, and a bounded memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from magic_hour_provider.api.clock import CLOCK, Clock
from magic_hour_provider.api.webhooks import Delivery
from magic_hour_provider.plugin.webhooks.database import DATABASE_AWAY
from magic_hour_provider.plugin.webhooks.delivery_state import Memory

log = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS = 4
_ANSWER_S = 0.7  # a delivery that takes longer is answered before its work is done
_MOST_AT_WORK = 1_000
_MOST_HELD = 10_000
_LOOKS = 6  # at a task that is not yet to be resumed
_TRIES = (2.0, 8.0, 30.0)  # seconds between them, for work that was answered and then met a database that is away


class InboxFullError(Exception):
    """More deliveries than can be worked on: Magic Hour will send this one again."""


Handle = Callable[[Delivery, str, Memory, float, bool], float | None]


class Inbox:
    """Takes verified deliveries. One for each event loop of an API server; what it holds is lost with that.

    :param handle: does the work, in a thread; see :func:`handle`.
    """

    def __init__(self, clock: Clock = CLOCK, handle: Handle | None = None) -> None:
        self._clock = clock
        self._handle = handle or globals()["handle"]
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="magic-hour-webhooks")
        self._at_work: dict[str, asyncio.Task[None]] = {}
        self._held: dict[str, asyncio.Task[None]] = {}

    async def take(self, delivery: Delivery, conn_id: str) -> bool:
        """Work on a delivery; return whether that is done by now, or goes on after the answer.

        :param conn_id: the connection whose secret it was signed with.
        :raises InboxFullError: it was not taken.
        :raises DATABASE_AWAY: it was taken in vain.
        """
        key = _key(delivery, conn_id)
        if key in self._at_work or key in self._held:
            return False  # a repeat of one that is on its way
        if len(self._at_work) >= _MOST_AT_WORK:
            raise InboxFullError
        work = self._begin(self._at_work, key, self._once(delivery, conn_id))
        done, _ = await asyncio.wait([work], timeout=_ANSWER_S)
        if done:
            work.result()
            return True
        work.add_done_callback(lambda _: self._go_on(delivery, conn_id, work))
        return False

    def _begin(
        self, among: dict[str, asyncio.Task[None]], key: str, work: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        task = among[key] = asyncio.create_task(work)

        def ended(_: asyncio.Task[None]) -> None:
            if among.get(key) is task:
                del among[key]

        task.add_done_callback(ended)
        return task

    async def _once(self, delivery: Delivery, conn_id: str) -> None:
        memory = Memory()
        wait = await self._in_thread(delivery, conn_id, memory, False)
        if wait is None:
            return
        if len(self._held) >= _MOST_HELD:
            log.warning("Too many early deliveries: Magic Hour job %s is left to its watcher.", delivery.id)
            return
        self._begin(self._held, _key(delivery, conn_id), self._hold(delivery, conn_id, memory, wait))

    async def _in_thread(self, delivery: Delivery, conn_id: str, memory: Memory, again: bool) -> float | None:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, lambda: self._handle(delivery, conn_id, memory, self._clock.now(), again)
        )

    async def _hold(self, delivery: Delivery, conn_id: str, memory: Memory, wait: float | None) -> None:
        """Look again when the task has been away long enough to be resumed."""
        for _ in range(_LOOKS):
            if wait is None:
                return
            await self._clock.pause(wait)
            try:
                wait = await self._in_thread(delivery, conn_id, memory, True)
            except DATABASE_AWAY as error:
                log.warning("Magic Hour job %s: the database is away (%s).", delivery.id, type(error).__name__)

    def _go_on(self, delivery: Delivery, conn_id: str, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and isinstance(work.exception(), DATABASE_AWAY):
            self._begin(self._at_work, _key(delivery, conn_id), self._try_again(delivery, conn_id))

    async def _try_again(self, delivery: Delivery, conn_id: str) -> None:
        for pause in _TRIES:
            await self._clock.pause(pause)
            try:
                return await self._once(delivery, conn_id)
            except DATABASE_AWAY as error:
                log.warning("Magic Hour job %s: the database is away (%s).", delivery.id, type(error).__name__)
        log.error("The delivery %s is lost, as the database was away too long; looking goes on.", delivery.key)
        return None


def _key(delivery: Delivery, conn_id: str) -> str:
    """Return what is the same for a delivery and its repeats; another connection's is another one."""
    return f"{conn_id}:{delivery.key}"


def handle(delivery: Delivery, conn_id: str, memory: Memory, now: float, again: bool) -> float | None:
    """Do what a delivery is for: resume the tasks that wait, find the owner of a lost job, make an asset event.

    :param conn_id: the connection whose secret it was signed with.
    :param memory: kept between the looks of one delivery.
    :param now: the time, in seconds since 1970.
    :param again: whether this is another look for the task, and not the first.
    :returns: seconds until it is worth to look for the task again, or None.
    :raises DATABASE_AWAY: the database does not answer; another try may find it back.
    """

    # Imported one by one: what a later Airflow has changed under one of them leaves the others at work.
    def resumed() -> float | None:
        from magic_hour_provider.plugin.webhooks.resume import resume

        found = resume(delivery, memory, now)
        for task in found.resumed:
            log.info("Magic Hour job %s %s: resumed %s.", delivery.id, delivery.event, task)
        return found.wait_s

    def identified() -> None:
        from magic_hour_provider.plugin.webhooks.recovery import identify

        if task := identify(delivery, conn_id, now):
            log.info("Magic Hour job %s, whose answer was lost, belongs to %s.", delivery.id, task)

    def announced() -> None:
        from magic_hour_provider.plugin.webhooks.asset_events import create_asset_event

        if create_asset_event(delivery, conn_id):
            log.info("Magic Hour job %s: an asset event %s.", delivery.id, delivery.type)

    wait = _guarded(resumed, delivery)
    _guarded(identified, delivery)
    if not again:
        _guarded(announced, delivery)
    return wait


def _guarded(step: Callable[[], T], delivery: Delivery) -> T | None:
    try:
        return step()
    except DATABASE_AWAY:
        raise
    except Exception:
        log.exception("Magic Hour's delivery %s could not be used for everything; looking goes on.", delivery.key)
        return None
