"""Listings of records, shared by their viewers for some seconds; one that nobody waits for any more is abandoned."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from magic_hour_provider import clock
from magic_hour_provider.plugin.media_tab.batch_sheet.items import Listing

_KEPT_S = 3.0  # at least; a listing is kept longer where it takes long
_TIMES_LISTING = 5.0
_MAX_ITEMS = 100_000  # that are kept, of all listings together

ListItems = Callable[[Listing | None], Awaitable[Listing]]


@dataclass
class _Entry:
    task: asyncio.Task[Listing]
    listing: Listing | None = None  # None while it is being listed
    expires_at: float = 0.0
    waiting: int = 0


class ListingCache:
    """Lists a folder once for all that ask meanwhile. One event loop only."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    async def get(self, folder: str, list_items: ListItems) -> Listing:
        """Return the items of a folder, as they were some seconds ago at the most.

        :param folder: its address.
        :param list_items: lists it; it gets the listing of before, if there is one.
        :raises Exception: as it does; that is not kept.
        """
        entry = self._entries.get(folder)
        if entry is None or (entry.listing is not None and entry.expires_at <= clock.current().monotonic()):
            entry = self._start(folder, list_items, entry)
        entry.waiting += 1
        try:
            return await asyncio.shield(entry.task)
        finally:
            entry.waiting -= 1
            if not entry.waiting and entry.listing is None:
                entry.task.cancel()
                self._drop(folder, entry)

    def _start(self, folder: str, list_items: ListItems, old: _Entry | None) -> _Entry:
        before = old.listing if old is not None else None

        async def run() -> Listing:
            begin = clock.current().monotonic()
            try:
                listing = await list_items(before)
            except BaseException:
                self._drop(folder, entry)
                raise
            now = clock.current().monotonic()
            entry.listing, entry.expires_at = listing, now + max(_KEPT_S, _TIMES_LISTING * (now - begin))
            self._make_room()
            return listing

        self._entries.pop(folder, None)  # the youngest is the last
        entry = self._entries[folder] = _Entry(asyncio.create_task(run()))
        return entry

    def _drop(self, folder: str, entry: _Entry) -> None:
        if self._entries.get(folder) is entry:
            del self._entries[folder]

    def _make_room(self) -> None:
        sizes = [(len(one.listing.items), folder) for folder, one in self._entries.items() if one.listing is not None]
        total = sum(size for size, _ in sizes)
        for size, folder in sizes[:-1]:  # the oldest first
            if total > _MAX_ITEMS:
                total -= size
                del self._entries[folder]
