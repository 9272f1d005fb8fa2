"""One async client per connection, made again when its key is rejected: keys rotate."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable

from magic_hour_provider import clock
from magic_hour_provider.api.client import AsyncMagicHourClient
from magic_hour_provider.api.errors import ConnectionFailedError, MagicHourError
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.hooks.settings import ConnectionSettings

# Seconds until a connection is read again that could not be read, as Airflow's API may be in trouble, or whose key is
# still rejected, as the new one may be saved late.
READ_AGAIN_S = 10.0


class ClientLease:
    """A client and the settings it was made of; closed when it is replaced and nobody uses it."""

    def __init__(self, settings: ConnectionSettings, client: AsyncMagicHourClient) -> None:
        self.settings = settings
        self.client = client
        self.users = 0


class ClientProvider:
    """Makes the client of one connection, and reads the connection again when its key is rejected.

    :param conn_id: the connection.
    :param context: context in which it works: its work belongs to no single task.
    :param on_read: called with the settings, whenever the connection was read.
    """

    def __init__(
        self,
        conn_id: str,
        context: contextvars.Context,
        on_read: Callable[[ConnectionSettings], None],
    ) -> None:
        self._conn_id = conn_id
        self._context = context
        self._on_read = on_read
        self.generation = 0
        """Counts how often the connection was read."""
        self._lease: ClientLease | None = None
        self._rejected = False
        """The key of this generation was rejected: the connection is read again before it is used."""
        self._final_until = float("-inf")
        """Until then another rejection is final, as the connection has just been read again."""
        self._reading: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def acquire(self) -> ClientLease:
        """Return the client, reading the connection if need be: once for all who ask meanwhile.

        Give it back with :meth:`release`.

        :raises MagicHourError: the connection cannot work, or cannot be read at the moment.
        """
        while self._lease is None or self._rejected:
            if self._reading is None:
                self._reading = asyncio.get_running_loop().create_task(self._read(), context=self._context)
            try:
                # Shielded: the poll that asked first may be canceled while others need the client too.
                await asyncio.shield(self._reading)
            except MagicHourError:
                raise
            except Exception as error:
                # Airflow's API may be away for a moment: a failed poll, not the end of every wait.
                raise ConnectionFailedError(
                    f"The connection {self._conn_id!r} could not be read ({type(error).__name__}); trying again."
                ) from error
        self._lease.users += 1
        return self._lease

    def release(self, lease: ClientLease) -> None:
        """Give a client back."""
        lease.users -= 1
        if lease is not self._lease:
            self._close_when_unused(lease)

    async def _read(self) -> None:
        try:
            hook, before = MagicHourHook(self._conn_id), self._lease
            settings = await hook.async_settings()
            if before is None or settings != before.settings:
                self._lease = ClientLease(settings, await hook.get_async_conn(settings))
            self.generation += 1
            self._rejected = False
            self._final_until = float("-inf") if before is None else clock.current().monotonic() + READ_AGAIN_S
            if before is not None and before is not self._lease:
                self._close_when_unused(before)
            self._on_read(settings)
        finally:
            self._reading = None

    def on_accepted(self, lease: ClientLease) -> None:
        """Record that the service accepted the key."""
        if lease is self._lease:
            self._final_until = float("-inf")

    def on_rejected(self, generation: int) -> bool:
        """Record that the service rejected the key; returns whether another poll may help.

        It may if the connection was read again meanwhile, or was not since the key last worked, or not for some
        seconds: a new key may be saved some time after the old one ended.

        :param generation: the generation that was polled with.
        """
        if generation != self.generation:
            return True
        if clock.current().monotonic() < self._final_until:
            return False
        self._rejected = True
        return True

    def _close_when_unused(self, lease: ClientLease) -> None:
        if lease.users == 0:
            task = asyncio.get_running_loop().create_task(lease.client.aclose(), context=self._context)
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close everything."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._lease is not None:
            await self._lease.client.aclose()
            self._lease = None
        if self._closing:
            await asyncio.wait(self._closing)
