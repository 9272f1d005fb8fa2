"""Bounds on storage reads: few at a time, a time limit each, and a circuit breaker per root.

Airflow's API server serves the whole company. A storage that stalls may hold these slots, and nothing else of it: the
server's own threads are never used for reads.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from magic_hour_provider import clock
from magic_hour_provider.plugin.media_tab.files.roots import FileNotShownError

_T = TypeVar("_T")

READ_TIMEOUT_S = 5.0
"""Time limit of one read, in seconds."""
OPEN_S = 3.0
"""Seconds for which a root that has stalled is not read."""
_SLOTS = 4  # reads at the same time
_MAX_WAITING = 200  # reads that wait for a slot
_MAX_WAIT_S = 10.0  # for a slot
_REFUSAL_S = 0.05  # between the refusals of those that waited for a slot when a root stalled
_MAX_TIMEOUTS = 3  # in a row, after which a root counts as stalled


class StorageUnavailableError(FileNotShownError):
    """The storage is not read now; a later request may succeed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 503)


@dataclass
class CircuitBreaker:
    """Stops reads of a root that has stalled, and lets one through when some time has passed.

    :param timeouts: in a row.
    :param open_until: no read is let through before, by the process's steady clock.
    :param is_probing: whether the one read that may close the breaker is under way.
    """

    timeouts: int = 0
    open_until: float = 0.0
    is_probing: bool = False

    def check(self, now: float) -> None:
        """Do nothing while reads are let through.

        :raises StorageUnavailableError: they are not.
        """
        if self.timeouts >= _MAX_TIMEOUTS and (now < self.open_until or self.is_probing):
            raise StorageUnavailableError(
                "The storage of this file does not respond, so it is not asked for a few seconds. Try again then."
            )

    def start(self, now: float) -> None:
        """Let a read through, as the only one where the root has stalled.

        :raises StorageUnavailableError: as :meth:`check`.
        """
        self.check(now)
        self.is_probing = self.timeouts >= _MAX_TIMEOUTS

    def finish(self, now: float, *, timed_out: bool | None) -> None:
        """Record how a read ended; None: it was abandoned, which says nothing of the storage."""
        self.is_probing = False
        if timed_out:
            self.timeouts += 1
            self.open_until = now + OPEN_S
        elif timed_out is not None:
            self.timeouts = 0


class ReadGuard:
    """Runs storage reads within the bounds above. One event loop only.

    :param name: of its threads.
    """

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(_SLOTS, thread_name_prefix=name)
        self._slots = asyncio.Semaphore(_SLOTS)
        self._waiting = 0
        self._breakers: dict[str, CircuitBreaker] = {}
        self._shared: dict[str, Future[Any]] = {}

    def check(self, root: str) -> None:
        """Do nothing while a root is read.

        :raises StorageUnavailableError: it has stalled.
        """
        if root in self._breakers:
            self._breakers[root].check(clock.current().monotonic())

    async def run_in_thread(
        self, root: str, function: Callable[[], _T], abandoned: Callable[[Future[_T]], object] | None = None
    ) -> _T:
        """Call a function that blocks, in a thread.

        :param root: whose breaker it concerns.
        :param abandoned: called with the function's future when it ends after nobody waits for it any more.
        :raises StorageUnavailableError: it was not called, or did not return in time. A thread that is stuck keeps its
            slot.
        """
        return await self._run(root, lambda: self._threads.submit(function), abandoned)

    async def run_on_loop(
        self, root: str, loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, _T]]
    ) -> _T:
        """Run a coroutine on the event loop of a file system, and cancel it there when nobody waits for it any more.

        :raises StorageUnavailableError: it was not run, or did not return in time.
        """
        return await self._run(root, lambda: asyncio.run_coroutine_threadsafe(work(), loop))

    async def run_shared(self, root: str, function: Callable[[], _T]) -> _T:
        """Call a function in a thread, as :meth:`run_in_thread`, once for all that ask while it is running."""
        future: Future[_T] | None = self._shared.get(root)
        if future is None:
            return await self._run(root, lambda: self._submit_shared(root, function), is_shared=True)
        breaker = self._breakers[root]
        breaker.check(clock.current().monotonic())
        return await self._wait(breaker, future, is_shared=True)

    def _submit_shared(self, root: str, function: Callable[[], _T]) -> Future[_T]:
        future: Future[_T] | None = self._shared.get(root)  # another one may have had the slot before
        if future is None:
            future = self._shared[root] = self._threads.submit(function)
            _call_when_done(future, lambda _: self._shared.pop(root, None))
        return future

    async def _run(
        self,
        root: str,
        start: Callable[[], Future[_T]],
        abandoned: Callable[[Future[_T]], object] | None = None,
        *,
        is_shared: bool = False,
    ) -> _T:
        breaker = self._breakers.setdefault(root, CircuitBreaker())
        breaker.check(clock.current().monotonic())
        await self._take_slot()
        try:
            breaker.start(clock.current().monotonic())
        except StorageUnavailableError:
            # One after the other: the responses to all that wait would be a burst for the server.
            asyncio.get_running_loop().call_later(_REFUSAL_S, self._slots.release)
            raise
        future = start()
        # Not when the wait ends: a thread that is stuck still is one of the few.
        _call_when_done(future, lambda _: self._slots.release())
        try:
            return await self._wait(breaker, future, is_shared=is_shared)
        except (asyncio.CancelledError, StorageUnavailableError):
            if abandoned is not None:
                future.add_done_callback(abandoned)
            raise

    async def _take_slot(self) -> None:
        busy = StorageUnavailableError("Too many files are being read at the moment. Try again in a few seconds.")
        if self._waiting >= _MAX_WAITING:
            raise busy
        self._waiting += 1
        try:
            async with asyncio.timeout(_MAX_WAIT_S):
                await self._slots.acquire()
        except TimeoutError:
            raise busy from None
        finally:
            self._waiting -= 1

    async def _wait(self, breaker: CircuitBreaker, future: Future[_T], *, is_shared: bool = False) -> _T:
        result, timed_out = asyncio.wrap_future(future), None
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                # Cancelling the wait cancels what nobody else waits for.
                value = await (asyncio.shield(result) if is_shared else result)
            timed_out = False
        except TimeoutError:
            timed_out = True
            raise StorageUnavailableError(
                f"The storage of this file did not respond within {READ_TIMEOUT_S:.0f} s. Try again later."
            ) from None
        except Exception:
            timed_out = False  # it has responded
            raise
        finally:
            breaker.finish(clock.current().monotonic(), timed_out=timed_out)
        return value


def _call_when_done(future: Future[_T], callback: Callable[[Future[_T]], object]) -> None:
    """Call back on this event loop when a future is done."""
    loop = asyncio.get_running_loop()

    def call(done: Future[_T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(callback, done)

    future.add_done_callback(call)
