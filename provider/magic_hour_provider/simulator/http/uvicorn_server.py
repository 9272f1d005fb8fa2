"""uvicorn as the simulator needs it: on a socket of its own, in any thread, and stopped at once."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

_TICK_S = 1.0
_CUT_S = 0.002


class Server(uvicorn.Server):
    """A server that stops without waiting for anybody.

    uvicorn's own looks ten times a second whether it should stop, and then gives connections time; tests start and stop
    a simulator hundreds of times.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_protocol(),
                ws="none",
                lifespan="off",
                log_config=None,  # leaves the logging of the process it runs in alone
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
            )
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until :meth:`stop`."""
        self._loop = asyncio.get_running_loop()
        while not self.should_exit:
            await self.on_tick(0)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cut every connection, and wait until their requests have noticed."""
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        while self.server_state.connections or self.server_state.tasks:
            for connection in list(self.server_state.connections):
                transport = cast("asyncio.Transport | None", getattr(connection, "transport", None))
                if transport is not None:
                    transport.abort()
            await asyncio.sleep(_CUT_S)
        for server in self.servers:
            await server.wait_closed()

    def stop(self) -> None:
        """Stop serving soon. May be called from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, so it has stopped
                self._loop.call_soon_threadsafe(self._stop.set)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound, so that a busy port shows before a thread is started.

    :raises OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only for sockets that name their protocol. With it, each answer on a kept
    # connection would wait some 40 ms, as its head and its body are sent apart.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except BaseException:
        listening.close()
        raise
    return listening


def _protocol() -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, made to hand its transport to the application, which must be able to close it."""
    base: Any
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as base
    except ImportError:  # httptools is optional for uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol as base

    class Protocol(base):  # type: ignore[misc]
        app_state: dict[str, Any]

        def connection_made(self, transport: asyncio.Transport) -> None:
            # Each connection gets a copy: app_state is shared by all.
            self.app_state = {**self.app_state, "transport": transport}
            super().connection_made(transport)

    return cast("type[asyncio.Protocol]", Protocol)
