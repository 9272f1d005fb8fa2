"""One thread for calls to a storage that may never return: it never holds up the event loop, or the process's end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

_T = TypeVar("_T")
THREAD_NAME = "magic-hour-learned-durations"


class OccupiedError(Exception):
    """There is no thread for it, as another event loop's call has not returned, and perhaps never will."""


class SingleThread(Executor):
    """Runs one call at a time in this whole process, and refuses any other meanwhile.

    Each call has a new daemon thread. The threads of asyncio's own executor are no daemons: one that a storage never
    returns to would keep the triggerer from ending.
    """

    def __init__(self) -> None:
        self._free = threading.Lock()

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Call a function.

        :raises OccupiedError: nothing was called.
        """
        if not self._free.acquire(blocking=False):
            raise OccupiedError
        result: Future[_T] = Future()
        try:
            call = partial(fn, *args, **kwargs)
            threading.Thread(target=self._run, args=(result, call), name=THREAD_NAME, daemon=True).start()
        except RuntimeError as error:  # this machine gives no more threads
            self._free.release()
            raise OccupiedError from error
        return result

    def _run(self, result: Future[_T], call: Callable[[], _T]) -> None:
        try:
            if not result.set_running_or_notify_cancel():
                return
            try:
                value = call()
            except BaseException as error:  # noqa: BLE001 (it is raised where the result is awaited)
                failure: BaseException | None = error
            else:
                failure = None
        finally:
            # First: whoever awaits the result may call again at once.
            self._free.release()
        if failure is None:
            result.set_result(value)
        else:
            result.set_exception(failure)


_thread = SingleThread()


async def call_in_thread(function: Callable[[], _T]) -> _T:
    """Call a function in the one thread of this process.

    It may use Airflow's synchronous interface there: before Airflow 3.2 that answers only threads that know the event
    loop, as asgiref's do. From any other its request would take the answer to the triggerer's own.

    :raises OccupiedError: nothing was called.
    """
    from asgiref.sync import sync_to_async

    executor: Any = _thread  # any executor will do
    return await sync_to_async(function, thread_sensitive=False, executor=executor)()
