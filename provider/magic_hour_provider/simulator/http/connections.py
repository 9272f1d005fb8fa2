"""The server's open connections, which faults close and keep waiting."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from starlette.types import Receive, Scope

_TICK_S = 0.05

# A connection's two ends: the client's address and port, and the server's.
Ends = tuple[tuple[str, int], tuple[str, int]]


class OpenConnections:
    """The transports of the open connections, found by the scope of a request.

    ASGI gives an application both ends of a connection (``client`` and ``server`` of the scope), and they name it: no
    two open connections have the same ends.
    """

    def __init__(self) -> None:
        self._transports: dict[Ends, asyncio.Transport] = {}

    def __len__(self) -> int:
        return len(self._transports)

    def add(self, transport: asyncio.Transport) -> None:
        """Add a connection that was opened."""
        self._transports[_ends(transport)] = transport

    def discard(self, transport: asyncio.Transport) -> None:
        """Remove a connection that was lost."""
        ends = _ends(transport)
        if self._transports.get(ends) is transport:
            del self._transports[ends]

    def abort_all(self) -> None:
        """Close every connection at once, whatever is still to be sent."""
        for transport in list(self._transports.values()):
            transport.abort()

    def close(self, scope: Scope) -> None:
        """Close the connection of a request, when what was sent on it has left."""
        transport = self._transports.get(_ends_of_scope(scope))
        if transport is not None:
            transport.close()

    async def pause(self, scope: Scope, seconds: float) -> None:
        """Wait so many real seconds, or until the connection of a request is closed by either side."""
        transport = self._transports.get(_ends_of_scope(scope))
        until = asyncio.get_running_loop().time() + seconds
        # A transport has no event to wait for.
        while transport is not None and not transport.is_closing():
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                return
            await asyncio.sleep(min(left, _TICK_S))

    async def hold_and_close(self, scope: Scope, receive: Receive, seconds: float) -> None:
        """Wait so many real seconds, or until the client disconnects, and close the connection of a request."""
        try:
            await asyncio.wait_for(_disconnected(receive), seconds)
        except TimeoutError:
            self.close(scope)
            # Until the server has noticed: it takes a missing response on an open connection for our mistake.
            await _disconnected(receive)


def _ends(transport: asyncio.Transport) -> Ends:
    peer, here = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    # An address of IPv6 has four parts, of which ASGI gives the first two.
    return cast("Ends", ((peer[0], peer[1]), (here[0], here[1])))


def _ends_of_scope(scope: Scope) -> Any:
    return (tuple(scope["client"]), tuple(scope["server"]))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
