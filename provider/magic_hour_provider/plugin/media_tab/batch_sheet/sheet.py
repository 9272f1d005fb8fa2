"""A batch's contact sheet: the page of its items, and the files of one."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol, TypeVar

from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.plugin.media_tab.batch_sheet.cache import ListingCache
from magic_hour_provider.plugin.media_tab.batch_sheet.contents import RecordContents, record_path
from magic_hour_provider.plugin.media_tab.batch_sheet.items import (
    ItemSelection,
    Listing,
    SheetItem,
    find_items,
    select_items,
)
from magic_hour_provider.plugin.media_tab.batch_sheet.listing import list_records, locate_records
from magic_hour_provider.plugin.media_tab.batch_sheet.tiles import files_of, is_shown, make_tile
from magic_hour_provider.plugin.media_tab.database.ownership import NOT_ITS_FILE, find_job_ids
from magic_hour_provider.plugin.media_tab.files.reader import MediaStorage
from magic_hour_provider.plugin.media_tab.files.roots import FileLocation, FileNotShownError
from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot

_T = TypeVar("_T")

PAGE_ITEMS, MAX_PAGE_ITEMS = 48, 240
"""Number of items in one response."""
_NO_FILE = "This item has no such file."
_EMPTY: dict[str, Any] = {"problem": None, "counts": {}, "total": 0, "matching": 0, "is_cut": False, "items": []}

MayRead = Callable[[str], bool]


class InThread(Protocol):
    """Calls a function that blocks, or takes long, in a thread."""

    def __call__(self, function: Callable[[], _T], /) -> Awaitable[_T]:
        """Return what it returns."""


@dataclass(frozen=True)
class SheetQuery:
    """Which items are asked for; as of :func:`.items.select_items`."""

    status: str | None = None
    problems_first: bool = False
    offset: int = 0
    limit: int = PAGE_ITEMS


class BatchSheet:
    """Reads what a batch's page shows of its items. One event loop only.

    :param storage: reads below the media roots.
    :param in_thread: for what takes long.
    """

    def __init__(self, storage: MediaStorage, in_thread: InThread) -> None:
        self._storage, self._in_thread = storage, in_thread
        self._listings, self._contents = ListingCache(), RecordContents(storage)

    async def load_page(
        self, task: TaskSnapshot | None, owner: Owner, query: SheetQuery, may_read: MayRead, *, live: bool
    ) -> dict[str, Any]:
        """Return a part of a batch's items; none of a task that is no batch.

        :param owner: the task instance.
        :param may_read: whether the viewer may read a DAG; it may block.
        :param live: whether the task is active.
        :raises FileNotShownError: its storage does not answer now.
        """
        page = _EMPTY | {"now": time.time(), "live": live}
        try:
            folder = await self._locate(task)
            if folder is None:
                return page
            listing = await self._listings.get(folder.uri, partial(self._list, folder))
        except FileNotShownError as error:
            if error.status != 403:
                raise
            return page | {"problem": str(error)}
        chosen = await self._in_thread(lambda: select_items(listing, live=live, **vars(query)))
        tiles = await self._make_tiles(folder, chosen, owner, may_read)
        counts = {"counts": chosen.counts, "total": len(listing.items), "matching": chosen.matching}
        return page | counts | {"is_cut": listing.is_cut, "items": tiles}

    async def locate_file(
        self, task: TaskSnapshot | None, owner: Owner, record: str, index: int, may_read: MayRead
    ) -> FileLocation:
        """Return where a file of an item is stored.

        :param owner: the task instance whose page shows it.
        :param record: name of the record that says so, without its folder.
        :param index: of the file.
        :param may_read: as of :meth:`load_page`.
        :raises FileNotShownError: it is none of theirs, or cannot be shown.
        """
        folder = await self._locate(task)
        path = record_path(record)
        step = await self._contents.read(folder, path) if folder is not None else None
        media = files_of(step).media
        if step is None or step.name.step != "done" or not 0 <= index < len(media):
            raise FileNotShownError(_NO_FILE, 404)
        item = SheetItem(step.name.key, "complete", step.name.job_id)
        if not await self._in_thread(lambda: is_shown(item, [step], owner, may_read)):
            raise FileNotShownError("This file is not shown: it is of another DAG, which you may not read.")
        job_id = step.record.job_id if step.record is not None else None
        location = await self._storage.locate(media[index][0])
        if job_id is None or job_id not in find_job_ids(location.name):
            raise FileNotShownError(NOT_ITS_FILE)
        return location

    async def find_output_path(self, task: TaskSnapshot | None) -> str | None:
        """Return a batch's ``output_path``, with the connection of a media root; None: the task has reported no batch.

        :raises FileNotShownError: it is under no root, or that cannot be known now.
        """
        folder = await self._locate(task)
        return folder.uri.rpartition("/")[0] if folder is not None else None

    async def _locate(self, task: TaskSnapshot | None) -> FileLocation | None:
        output_path = task.batch.get("output_path") if task is not None else None
        if not isinstance(output_path, str) or not output_path:
            return None
        return await locate_records(self._storage, output_path)

    async def _list(self, folder: FileLocation, before: Listing | None) -> Listing:
        paths, is_cut = await list_records(self._storage, folder)
        return await self._in_thread(lambda: find_items(paths, before, is_cut=is_cut))

    async def _make_tiles(
        self, folder: FileLocation, chosen: ItemSelection, owner: Owner, may_read: MayRead
    ) -> list[dict[str, Any]]:
        paths = [path for item in chosen.items for path in _paths_of(item) if path]
        steps = await self._contents.read_all(folder, paths)
        uris = [uri for item in chosen.items for uri, _ in files_of(steps.get(item.path)).media]
        problems = dict(zip(uris, await self._storage.find_problems(uris), strict=True))
        may_read = lru_cache(maxsize=None)(may_read)
        return await self._in_thread(
            lambda: [make_tile(item, steps, owner, problems, may_read) for item in chosen.items]
        )


def _paths_of(item: SheetItem) -> tuple[str, ...]:
    # The id of an item that is not its key stands in its intent.
    return (item.path, item.intent) if "--" in item.key else (item.path,)
