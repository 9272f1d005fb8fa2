"""uvicorn, in a thread of its own, with access to its connections, and stopped at once.

Only what is public is used:

- ``uvicorn.Config`` with a protocol class for ``http``, as its signature allows. Ours is an ``asyncio.Protocol`` that
  makes uvicorn's own (``AutoHTTPProtocol``, what ``http="auto"`` names) with whatever arguments it was made with, and
  hands every event on. What it adds is that the transport of each connection is known to the application: ASGI has no
  message that closes a connection without a response, or in the middle of one.
- ``uvicorn.Server.serve(sockets=...)`` and ``started``. ``serve`` is a coroutine in a task of ours, so that it can be
  cancelled. uvicorn itself checks ten times a second whether it should stop, and then gives connections time;
  tests start and stop a simulator hundreds of times. The socket and the connections are ours to close, and every
  request has ended before the task is cancelled.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from magic_hour_provider.simulator.http.connections import OpenConnections

_START_S = 30.0
_TICK_S = 0.002


class UvicornServer:
    """An ASGI application on a socket, served in a thread.

    :param app: the application.
    :param connections: gets the connections.
    """

    def __init__(self, app: ASGIApp, connections: OpenConnections) -> None:
        self._connections = connections
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=_tracked_protocol(connections),
                ws="none",
                lifespan="off",
                interface="asgi3",
                proxy_headers=False,  # the client's address has to be the connection's own
                log_config=None,  # leaves the logging of the process it runs in alone
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
            )
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None

    def start(self, listening: socket.socket) -> None:
        """Serve on a socket; returns when requests are answered.

        :param listening: a bound socket, which is closed when the server stops.
        :raises RuntimeError: it does not start.
        """
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._serve(listening),), name="magic-hour-simulator", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("The simulator did not start.")
            time.sleep(_TICK_S)

    def stop(self) -> None:
        """Stop serving, and wait until the thread has ended. Open connections are closed at once."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, so it has stopped
                self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join()

    async def _serve(self, listening: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        listening.close()
        ours = {serving, stopping, asyncio.current_task()}
        # Again and again: a client may have connected just before the socket was closed.
        while len(self._connections) or asyncio.all_tasks() - ours:
            self._connections.abort_all()
            await asyncio.sleep(_TICK_S)
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


def _tracked_protocol(connections: OpenConnections) -> type[asyncio.Protocol]:
    """Return uvicorn's own protocol with its connections tracked."""
    make_http = cast("Callable[..., asyncio.Protocol]", AutoHTTPProtocol)

    class TrackedProtocol(asyncio.Protocol):
        def __init__(self, **options: Any) -> None:
            self._http = make_http(**options)

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = cast("asyncio.Transport", transport)
            connections.add(self._transport)
            self._http.connection_made(transport)

        def data_received(self, data: bytes) -> None:
            self._http.data_received(data)

        def eof_received(self) -> bool | None:
            return self._http.eof_received()

        def pause_writing(self) -> None:
            self._http.pause_writing()

        def resume_writing(self) -> None:
            self._http.resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.discard(self._transport)
            self._http.connection_lost(exc)

    return TrackedProtocol


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket, so that a busy port shows before a thread is started.

    :raises OSError: the address is not available.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only for sockets that name their protocol. With it, each response on a kept
    # connection would wait some 40 ms, as its head and its body are sent apart.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except BaseException:
        listening.close()
        raise
    return listening
