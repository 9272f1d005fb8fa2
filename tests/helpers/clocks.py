"""Times that tests move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from magic_hour_provider import clock as process_clock
from magic_hour_provider.clock import Clock, SimulatedClock


class MovableTime:
    """A time that only :meth:`advance` moves away from another one.

    :param base: that other time, in seconds since 1970; by default it stands still.
    """

    def __init__(self, base: Callable[[], float] = lambda: 1_800_000_000.0) -> None:
        self._base, self._ahead = base, 0.0

    def now(self) -> float:
        """Return the seconds since 1970."""
        return self._base() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self._ahead += seconds


class HeldClock(SimulatedClock):
    """A clock whose pauses do not move it: they end when a test has."""

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self.timekeeper.advance(seconds)

    async def async_sleep(self, seconds: float) -> None:
        """Wait until the time has passed."""
        end = self.now() + seconds
        self.waits.append(seconds)  # from here on a test may move the time
        while self.now() < end:  # noqa: ASYNC110 (moved from another thread, which cannot set an event of this loop)
            await asyncio.sleep(0.005)


def set_clock(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Set the clock of this process until the test is over."""
    monkeypatch.setattr(process_clock, "_current", clock)
