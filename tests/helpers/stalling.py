"""A storage that can stall: a TCP proxy that accepts connections and passes nothing on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from helpers.waiting import HANG_S


class StallingProxy:
    """Passes bytes between its clients and another server, except for connections that it accepts while it stalls.

    :param target: address of the other server.
    """

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self.is_stalled = False
        self.stalled, self.stalled_ever = 0, 0
        """Connections that are stalled now, and that ever were."""
        self.url = ""

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            if self.is_stalled:
                await self._stall(reader)
                return
            there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
            with contextlib.closing(back):
                await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))

    async def _stall(self, reader: asyncio.StreamReader) -> None:
        self.stalled += 1
        self.stalled_ever += 1
        try:
            while await reader.read(65536):
                pass
        finally:
            self.stalled -= 1

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()

    @contextmanager
    def running(self) -> Iterator[StallingProxy]:
        """Run it for the length of a ``with`` block."""

        def run() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._serve())

        thread = threading.Thread(target=run, name="stalling-proxy", daemon=True)
        thread.start()
        assert self._ready.wait(HANG_S)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(HANG_S)
            assert not thread.is_alive()
