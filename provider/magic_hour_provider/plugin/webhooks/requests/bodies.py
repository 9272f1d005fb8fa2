"""Request bodies that are arriving from senders who are not known yet: few, small together, and not for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MAX_BODY = 1024 * 1024  # bytes
_TIMEOUT_S = 10.0
_MAX_BODIES = 256
_MAX_BYTES = 16 * 1024 * 1024  # of all bodies together


class DroppedBodyError(Exception):
    """A body was dropped for newer ones."""


class ArrivingBody:
    """One body.

    :param scope: the time limit within which it has to arrive.
    """

    def __init__(self, bodies: ArrivingBodies, scope: asyncio.Timeout) -> None:
        self._bodies, self._scope = bodies, scope
        self.data = bytearray()
        self.is_dropped = False

    def add(self, piece: bytes) -> None:
        """Add what has arrived; the oldest others are dropped where it does not fit.

        :raises DroppedBodyError: there is no room for this one either.
        """
        if self.is_dropped:
            raise DroppedBodyError
        self.data += piece
        self._bodies._make_room(self, len(piece))

    def drop(self) -> None:
        """End the wait for it at once."""
        self.is_dropped = True
        self.data = bytearray()
        if not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())


class ArrivingBodies:
    """All bodies that are arriving at a receiver, counted from their first byte.

    A delivery of Magic Hour is small and arrives at once. So where there are too many, or they are too large together,
    the oldest ones are dropped: those that somebody keeps open keep no delivery out.
    """

    def __init__(self) -> None:
        self._bodies: dict[int, ArrivingBody] = {}  # the oldest first
        self._bytes = 0

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[ArrivingBody]:
        """Give the place for one body.

        :raises DroppedBodyError: it was dropped for newer ones.
        :raises TimeoutError: it did not arrive in time.
        """
        body: ArrivingBody | None = None
        try:
            async with asyncio.timeout(_TIMEOUT_S) as scope:
                body = ArrivingBody(self, scope)
                self._bodies[id(body)] = body
                self._make_room(body, 0)
                yield body
        except TimeoutError:
            if body is not None and body.is_dropped:
                raise DroppedBodyError from None
            raise
        finally:
            if body is not None:
                self._remove(body)

    def _make_room(self, body: ArrivingBody, more: int) -> None:
        self._bytes += more
        while len(self._bodies) > _MAX_BODIES or self._bytes > _MAX_BYTES:
            oldest = next((one for one in self._bodies.values() if one is not body), None)
            if oldest is None:
                raise DroppedBodyError
            self._remove(oldest)
            oldest.drop()

    def _remove(self, body: ArrivingBody) -> None:
        if self._bodies.pop(id(body), None) is not None:
            self._bytes -= len(body.data)
