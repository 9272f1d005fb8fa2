"""Summaries of runs, shared by their viewers for a few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from anyio import CapacityLimiter, to_thread

from magic_hour_provider import clock
from magic_hour_provider.plugin.media_tab.database.run_summary import RunSummary

_KEPT_S = 3.0  # at least; a summary is kept longer where loading takes long
_TIMES_LOADING = 5.0
_MAX_KEPT = 16
_LOADS = 2  # at the same time

Load = Callable[[str, str], RunSummary]


@dataclass
class _Entry:
    task: asyncio.Task[RunSummary]
    expires_at: float | None = None  # None while it is being loaded


class RunCache:
    """Loads the summary of a run once for all that ask meanwhile. One event loop only.

    :param load: returns the summary of a run, by DAG id and run id; blocks.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._limiter = CapacityLimiter(_LOADS)
        self._entries: dict[tuple[str, str], _Entry] = {}

    async def get(self, dag_id: str, run_id: str) -> RunSummary:
        """Return the summary of a run, as it was some seconds ago at the most.

        :raises Exception: as the load does; that is not kept.
        """
        key = dag_id, run_id
        entry = self._entries.get(key)
        if entry is None or (entry.expires_at is not None and entry.expires_at <= clock.current().monotonic()):
            entry = self._entries[key] = _Entry(asyncio.create_task(self._start(key)))
        return await asyncio.shield(entry.task)

    async def _start(self, key: tuple[str, str]) -> RunSummary:
        begin = clock.current().monotonic()
        try:
            summary = await to_thread.run_sync(self._load, *key, limiter=self._limiter)
        except BaseException:
            self._entries.pop(key, None)
            raise
        now = clock.current().monotonic()
        entry = self._entries.pop(key)
        entry.expires_at = now + max(_KEPT_S, _TIMES_LOADING * (now - begin))
        self._remove_old(now)
        self._entries[key] = entry
        return summary

    def _remove_old(self, now: float) -> None:
        loaded = [(key, entry.expires_at) for key, entry in self._entries.items() if entry.expires_at is not None]
        for number, (key, expires_at) in enumerate(loaded):  # the oldest first
            if expires_at <= now or number <= len(loaded) - _MAX_KEPT:
                del self._entries[key]
