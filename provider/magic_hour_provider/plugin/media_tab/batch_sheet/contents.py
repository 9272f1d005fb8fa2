"""What the records of the items that are shown hold: some small files, read within the bounds of storage reads."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from magic_hour_provider import clock
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.records.content import ItemStep
from magic_hour_provider.batch.records.names import StepName, shard_of
from magic_hour_provider.plugin.media_tab.files.reader import MediaStorage
from magic_hour_provider.plugin.media_tab.files.roots import FileLocation, FileNotShownError

MAX_RECORD = 256 * 1024
"""Bytes of a record that are read."""
_KEPT_S = 60.0  # no record ever changes, but a person may have begun the folder again
_MAX_KEPT = 2000


class RecordContents:
    """Reads records, and keeps for a while what they hold. One event loop only."""

    def __init__(self, storage: MediaStorage) -> None:
        self._storage = storage
        self._kept: OrderedDict[tuple[str, str], tuple[float, ItemStep]] = OrderedDict()

    async def read_all(self, folder: FileLocation, paths: Iterable[str]) -> dict[str, ItemStep]:
        """Return what records hold, by their names; without those that are missing or cannot be read.

        :param folder: of all records.
        :param paths: names below it.
        :raises FileNotShownError: the storage does not answer now.
        """
        names = list(dict.fromkeys(paths))
        steps = await asyncio.gather(*(self.read(folder, name) for name in names))
        return {name: step for name, step in zip(names, steps, strict=True) if step is not None}

    async def read(self, folder: FileLocation, path: str) -> ItemStep | None:
        """Return what a record holds; None: it is missing or cannot be read.

        :raises FileNotShownError: the storage does not answer now.
        """
        key, now = (folder.uri, path), clock.current().monotonic()
        at, step = self._kept.get(key, (0.0, None))
        if step is not None and at > now:
            return step
        try:
            name = StepName.parse(path)
        except InvalidInputError:
            return None
        data = await self._load(folder, path) if name is not None else None
        if name is None or data is None:
            return None
        step = ItemStep.read(name, data)
        self._kept.pop(key, None)
        self._kept[key] = now + _KEPT_S, step
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        return step

    async def _load(self, folder: FileLocation, path: str) -> bytes | None:
        try:
            location = await self._storage.locate(f"{folder.uri}/{path}")  # no link leads out of the roots
            reader = await self._storage.open(location, MAX_RECORD)
        except FileNotShownError as error:
            if error.status in (403, 404):
                return None
            raise
        try:
            return await reader.read(0, min(reader.info.size, MAX_RECORD))
        finally:
            reader.close()


def record_path(name: str) -> str:
    """Return a record's name below the folder of all records, from its own name."""
    return f"{shard_of(name.partition('!')[0])}/{name}"
