"""The line to Magic Hour that a poller's polls share: one client, made from the connection off the event loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from magic_hour_provider.api import clock
from magic_hour_provider.api.client import AsyncMagicHourClient
from magic_hour_provider.api.errors import ConnectionFailedError, MagicHourError
from magic_hour_provider.hooks.magic_hour import MagicHourHook, Settings

# Seconds until a connection is read again that could not be read, as Airflow's API may be in trouble, or whose key is
# still refused, as the new one may be saved late.
READ_AGAIN_S = 10.0


class ClientLease:
    """What the connection says, and the client made of it."""

    def __init__(self, settings: Settings, client: AsyncMagicHourClient) -> None:
        self.settings = settings
        self.client = client
        self.users = 0
        self.reading = 0
        """Counts the readings of the connection."""
        self.second = False
        """It was read again because it was refused, and has not worked since."""
        self.read_at = 0.0
        """When it was read last, by the steady clock."""


class ClientProvider:
    """Keeps the line of one connection, and reads the connection anew when its key is refused: keys rotate.

    :param conn_id: the connection.
    :param context: context in which it works: its work belongs to no single task.
    :param most: sockets at the most.
    :param opened: called with what the connection says, whenever it was read.
    """

    def __init__(
        self,
        conn_id: str,
        context: contextvars.Context,
        most: int,
        opened: Callable[[Settings], None],
    ) -> None:
        self._conn_id = conn_id
        self._context = context
        self._most = most
        self._opened = opened
        self._line: ClientLease | None = None
        self._refused: ClientLease | None = None
        self._readings = 0
        self._reading: asyncio.Task[ClientLease] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def current(self) -> ClientLease:
        """Return the line, reading the connection if need be: once for all that ask meanwhile.

        :raises MagicHourError: the connection cannot work, or cannot be read at the moment.
        """
        if self._line is not None:
            return self._line
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read(), context=self._context)
        try:
            # Shielded: the poll that asked first may be canceled while others need the line too.
            return await asyncio.shield(self._reading)
        except MagicHourError:
            raise
        except Exception as error:
            # Airflow's API may be away for a moment: a poll that fails, not the end of every wait.
            raise ConnectionFailedError(
                f"The connection {self._conn_id!r} could not be read ({type(error).__name__}); trying again."
            ) from error

    async def _read(self) -> ClientLease:
        try:
            hook, before = MagicHourHook(self._conn_id), self._refused
            settings = await hook.async_settings()
            if before is None or settings != before.settings:
                client = await hook.get_async_conn(settings=settings, max_connections=self._most)
                line = ClientLease(settings, client)
            else:
                line = before
            self._readings += 1
            line.reading, line.second, line.read_at = self._readings, before is not None, clock.current().steady()
            self._line, self._refused = line, None
            if before is not None and line is not before:
                self._close_when_unused(before)
            self._opened(settings)
            return line
        finally:
            self._reading = None

    @contextmanager
    def used(self, line: ClientLease) -> Iterator[AsyncMagicHourClient]:
        """Use a line's client; it is not closed meanwhile."""
        line.users += 1
        try:
            yield line.client
        finally:
            line.users -= 1
            if line.users == 0 and line is not self._line and line is not self._refused:
                self._close_when_unused(line)

    def worked(self, line: ClientLease) -> None:
        """Note that the service took the line's key."""
        line.second = False

    def refused(self, line: ClientLease, reading: int) -> bool:
        """Note that the service refused the line's key; returns whether another poll may help.

        It may if the connection was read anew meanwhile, or has not been read anew since the key last worked, or not
        for some seconds: a new key may be saved some time after the old one ended.

        :param reading: the line's reading when the poll was sent.
        """
        if line is not self._line or reading != line.reading:
            return True
        if line.second and clock.current().steady() - line.read_at < READ_AGAIN_S:
            return False
        self._line, self._refused = None, line
        return True

    def _close_when_unused(self, line: ClientLease) -> None:
        if line.users == 0:
            task = asyncio.get_running_loop().create_task(line.client.aclose(), context=self._context)
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close everything."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        last = self._line or self._refused
        self._line = self._refused = None
        if last is not None:
            await last.client.aclose()
        if self._closing:
            await asyncio.wait(self._closing)
