"""What is loaded from Airflow's database, shared by its viewers for a few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from anyio import CapacityLimiter, to_thread

from magic_hour_provider import clock

_KEPT_S = 3.0  # at least; what takes long to load is kept longer
_TIMES_LOADING = 5.0
_MAX_KEPT = 16
_LOADS = 2  # at the same time

_T = TypeVar("_T")


@dataclass
class _Entry(Generic[_T]):
    task: asyncio.Task[_T]
    expires_at: float | None = None  # None while it is being loaded


class LoadCache(Generic[_T]):
    """Loads something once for all that ask meanwhile. One event loop only.

    :param load: returns it, by what :meth:`get` was given; blocks.
    """

    def __init__(self, load: Callable[..., _T]) -> None:
        self._load = load
        self._limiter = CapacityLimiter(_LOADS)
        self._entries: dict[tuple[Hashable, ...], _Entry[_T]] = {}

    async def get(self, *key: Hashable) -> _T:
        """Return what was loaded some seconds ago at the most.

        :param key: the arguments of the load.
        :raises Exception: as the load does; that is not kept.
        """
        entry = self._entries.get(key)
        if entry is None or (entry.expires_at is not None and entry.expires_at <= clock.current().monotonic()):
            entry = self._entries[key] = _Entry(asyncio.create_task(self._start(key)))
        return await asyncio.shield(entry.task)

    async def _start(self, key: tuple[Hashable, ...]) -> _T:
        begin = clock.current().monotonic()
        try:
            loaded = await to_thread.run_sync(self._load, *key, limiter=self._limiter)
        except BaseException:
            self._entries.pop(key, None)
            raise
        now = clock.current().monotonic()
        entry = self._entries.pop(key)
        entry.expires_at = now + max(_KEPT_S, _TIMES_LOADING * (now - begin))
        self._remove_old(now)
        self._entries[key] = entry
        return loaded

    def _remove_old(self, now: float) -> None:
        loaded = [(key, entry.expires_at) for key, entry in self._entries.items() if entry.expires_at is not None]
        for number, (key, expires_at) in enumerate(loaded):  # the oldest first
            if expires_at <= now or number <= len(loaded) - _MAX_KEPT:
                del self._entries[key]
