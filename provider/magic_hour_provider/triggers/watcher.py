"""One watcher per event loop and connection: all jobs of a triggerer process share one client.

A client of its own per trigger would cost 24 ms of blocked loop each (its SSL context), and hundreds of requests
waiting on one pool cost more still: so the looks in flight are bounded here, before they reach the pool.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from magic_hour_provider.api.client import AsyncMagicHourClient
from magic_hour_provider.api.errors import BadKeyError, MagicHourError, UnreachableError
from magic_hour_provider.api.jobs import Job
from magic_hour_provider.hooks.magic_hour import MagicHourHook

MAX_IN_FLIGHT = 32

_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Watcher]] = WeakKeyDictionary()


class Watcher:
    """Looks at the jobs of one connection. Never logs: its work belongs to no single task.

    :param conn_id: the connection.
    """

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        self.jobs = 0
        self._client: asyncio.Task[AsyncMagicHourClient] | None = None
        self._old: list[AsyncMagicHourClient] = []
        self._in_flight = asyncio.Semaphore(MAX_IN_FLIGHT)

    async def look(self, kind: str, job_id: str) -> Job:
        """Look at a job once; waits its turn.

        :raises MagicHourError: the look failed, or the connection cannot work.
        """
        async with self._in_flight:
            client = await self._shared_client()
            try:
                return await client.get_job(kind, job_id)
            except BadKeyError:
                # The key may have been replaced: whoever looks next resolves the connection anew.
                if self._client is not None and self._client.done() and self._client.result() is client:
                    self._old.append(client)
                    self._client = None
                raise

    async def _shared_client(self) -> AsyncMagicHourClient:
        if self._client is None or (self._client.done() and _failed(self._client)):
            # In an empty context: the client's making belongs to no single task, and must not write into its log.
            self._client = contextvars.Context().run(
                asyncio.create_task, MagicHourHook(self.conn_id).get_async_conn(max_connections=MAX_IN_FLIGHT)
            )
        try:
            # Shielded: the trigger that asked first may be canceled while the others need the client too.
            return await asyncio.shield(self._client)
        except MagicHourError:
            raise
        except Exception as error:
            # Airflow's API may be away for a moment: a look that fails, not the end of every wait.
            raise UnreachableError(
                f"The connection {self.conn_id!r} could not be read ({type(error).__name__}); trying again."
            ) from error

    async def close(self) -> None:
        """Close the clients."""
        old, self._old = self._old, []
        for client in old:
            await client.aclose()
        made, self._client = self._client, None
        if made is None:
            return
        if not made.done():
            made.cancel()
            await asyncio.wait([made])
        if not _failed(made):
            await made.result().aclose()


def _failed(task: asyncio.Task[AsyncMagicHourClient]) -> bool:
    return task.cancelled() or task.exception() is not None


@asynccontextmanager
async def watching(conn_id: str) -> AsyncIterator[Watcher]:
    """Give the watcher of this event loop and connection; the last one to leave closes it."""
    of_loop = _watchers.setdefault(asyncio.get_running_loop(), {})
    watcher = of_loop.get(conn_id)
    if watcher is None:
        watcher = of_loop[conn_id] = Watcher(conn_id)
    watcher.jobs += 1
    try:
        yield watcher
    finally:
        watcher.jobs -= 1
        if watcher.jobs == 0:
            # Out of the table first: a job that comes while this one closes gets a new watcher.
            if of_loop.get(conn_id) is watcher:
                del of_loop[conn_id]
            await watcher.close()
