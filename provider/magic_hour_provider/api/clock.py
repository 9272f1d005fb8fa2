"""The time and how to wait for it, in one piece, so that tests can move both."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """The real time."""

    def now(self) -> float:
        """Return the seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait on a worker."""
        time.sleep(seconds)

    async def pause(self, seconds: float) -> None:
        """Wait on an event loop."""
        await asyncio.sleep(seconds)


CLOCK = Clock()
