"""The time and how to wait for it, in one piece, so that tests can move both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import Context


class Clock:
    """The real time."""

    def now(self) -> float:
        """Return the seconds since 1970. People and other machines set this clock: it may jump either way."""
        return time.time()

    def steady(self) -> float:
        """Return seconds that nobody sets: they only count up, from a start that means nothing."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait on a worker."""
        time.sleep(seconds)

    async def pause(self, seconds: float) -> None:
        """Wait on an event loop."""
        await asyncio.sleep(seconds)

    def call_later(
        self, seconds: float, callback: Callable[[], None], context: Context | None = None
    ) -> asyncio.Handle:
        """Call something on the running event loop after so many seconds, unless the handle is canceled before."""
        return asyncio.get_running_loop().call_later(seconds, callback, context=context)


CLOCK = Clock()
