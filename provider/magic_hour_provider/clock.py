"""The time and how to wait for it, in one place, so that tests can move both.

:func:`current` is the clock of this whole process. A context variable would not do: the threads of uploads and
downloads and the poller's own empty context would not see what a test has set.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Protocol


class Clock:
    """The real time."""

    def now(self) -> float:
        """Return the seconds since 1970. People and other machines set this clock: it may jump either way."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that nobody sets: they only count up, from an arbitrary start."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait on a worker."""
        time.sleep(seconds)

    async def async_sleep(self, seconds: float) -> None:
        """Wait on an event loop."""
        await asyncio.sleep(seconds)

    def call_later(
        self, seconds: float, callback: Callable[[], None], context: Context | None = None
    ) -> asyncio.Handle:
        """Call something on the running event loop after so many seconds, unless the handle is canceled before."""
        return asyncio.get_running_loop().call_later(seconds, callback, context=context)


class Timekeeper(Protocol):
    """Keeps a time of its own and moves it, as a ``Simulator`` does."""

    def now(self) -> float:
        """Return the seconds since 1970."""

    def advance(self, seconds: float) -> object:
        """Move the time forward."""


class SimulatedClock(Clock):
    """Waiting moves a timekeeper's time forward and passes no real time: for tests.

    Like a real clock it is a little later, by a microsecond, at each reading.

    :param timekeeper: whose time this is, such as a ``Simulator``.
    """

    def __init__(self, timekeeper: Timekeeper) -> None:
        self.timekeeper = timekeeper
        self.waits: list[float] = []
        """Every wait, in seconds, in order."""
        self._readings = 0

    def now(self) -> float:
        """Return the simulated time, in seconds since 1970."""
        self._readings += 1
        return self.timekeeper.now() + self._readings * 1e-6

    def monotonic(self) -> float:
        """Return the simulated time as well."""
        return self.now()

    def sleep(self, seconds: float) -> None:
        """Move the time."""
        self.waits.append(seconds)
        self.timekeeper.advance(seconds)

    async def async_sleep(self, seconds: float) -> None:
        """Move the time, and let others on the loop run."""
        self.sleep(seconds)
        await asyncio.sleep(0)

    def call_later(
        self, seconds: float, callback: Callable[[], None], context: Context | None = None
    ) -> asyncio.Handle:
        """Move the time on the loop's next turn, and call."""
        due = self.now() + seconds

        def call() -> None:
            self.sleep(max(0.0, due - self.now()))
            callback()

        return asyncio.get_running_loop().call_soon(call, context=context)


_current = Clock()


def current() -> Clock:
    """Return the clock of this process: the real time, unless a test has set another."""
    return _current


@contextmanager
def override(clock: Clock) -> Iterator[None]:
    """Set the clock of this process, all its threads and event loops, for a ``with`` block: for tests."""
    global _current
    before, _current = _current, clock
    try:
        yield
    finally:
        _current = before
