"""Calls with a time limit, in few threads of their own: a storage or a server that stalls holds nothing else up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import TypeVar

_T = TypeVar("_T")


class BusyError(Exception):
    """All of the threads are taken, by calls that do not return."""


class TimeLimit:
    """Calls functions that block, and gives each up after some time; its thread ends with the call, or the process.

    :param name: of its threads.
    :param threads: at the same time.
    :param seconds: for one call.
    """

    def __init__(self, name: str, threads: int, seconds: float) -> None:
        self.seconds = seconds
        self._name = name
        self._free = threading.BoundedSemaphore(threads)

    def call(self, function: Callable[[], _T], abandoned: Callable[[], object] | None = None) -> _T:
        """Call a function.

        :param abandoned: called after it, in its thread, where it has returned too late.
        :raises TimeoutError: it has not returned in time.
        :raises BusyError: it was not called.
        """
        if not self._free.acquire(timeout=self.seconds):
            raise BusyError
        result: Future[_T] = Future()
        # A daemon, unlike an executor's threads: a command must be able to end while a storage stalls.
        threading.Thread(target=self._run, args=(function, result, abandoned), name=self._name, daemon=True).start()
        try:
            return result.result(self.seconds)
        except TimeoutError:
            if not result.cancel():  # it returned, or raised such an error itself, at this very moment
                return result.result()
            raise

    def _run(self, function: Callable[[], _T], result: Future[_T], abandoned: Callable[[], object] | None) -> None:
        try:
            try:
                value = function()
            except BaseException as error:  # noqa: BLE001 (it is raised in the caller's thread)
                with suppress(InvalidStateError):
                    result.set_exception(error)
                return
            try:
                result.set_result(value)
            except InvalidStateError:  # given up
                if abandoned is not None:
                    abandoned()
        finally:
            self._free.release()
