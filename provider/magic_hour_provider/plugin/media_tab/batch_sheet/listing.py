"""Lists the records of a batch, a part at a time: each part within the bounds of storage reads, so that none holds up
what others read.

An object store that has coroutines is asked for its pages and stops at once when nobody waits any more. Elsewhere some
of the 256 folders are listed together, in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from magic_hour_provider.batch.records.folder import BATCH_FOLDER
from magic_hour_provider.plugin.media_tab.files.reader import MediaStorage, runs_on_loop, translating_storage_errors
from magic_hour_provider.plugin.media_tab.files.roots import NO_ROOTS, FileLocation, FileNotShownError
from magic_hour_provider.storage.files import S3
from magic_hour_provider.storage.listing import list_names
from magic_hour_provider.storage.paths import open_path

MAX_NAMES = 200_000
"""Names of records that are listed: of about 50,000 items."""
_SHARD_NAME = 2  # characters
_SHARDS = 32  # folders in one part
_MAX_S = 60.0  # for the whole listing
_OUTSIDE = (
    "The items of this batch are not shown: its output_path lies outside the folders that an administrator has named "
    "in [magic_hour] media_roots."
)


async def locate_records(storage: MediaStorage, output_path: str) -> FileLocation:
    """Return the folder of a batch's records.

    :param output_path: as its task has reported it, so not trusted.
    :raises FileNotShownError: it is under no root, or that cannot be known now.
    """
    try:
        location = await storage.locate(f"{output_path.rstrip('/')}/{BATCH_FOLDER}")
    except FileNotShownError as error:
        if error.status != 403 or str(error) == NO_ROOTS:
            raise
        raise FileNotShownError(_OUTSIDE) from None
    storage.guard_of(location.root).check(location.root.uri)
    return location


async def list_records(storage: MediaStorage, folder: FileLocation) -> tuple[list[str], bool]:
    """Return the names of all records below their folder, and whether there are more than :data:`MAX_NAMES`.

    :raises FileNotShownError: they cannot be listed now.
    """
    found: list[str] = []
    try:
        async with asyncio.timeout(_MAX_S):
            with translating_storage_errors(folder):
                async for part in _list_parts(storage, folder):
                    found += part
                    if len(found) > MAX_NAMES:
                        return found[:MAX_NAMES], True
    except TimeoutError:
        raise FileNotShownError(
            f"The batch's records could not be listed within {_MAX_S:.0f} s. Its results name every item.", 503
        ) from None
    return found, False


async def _list_parts(storage: MediaStorage, folder: FileLocation) -> AsyncIterator[Sequence[str]]:
    guard, root = storage.guard_of(folder.root), folder.root
    file_system: Any = None if root.is_local else await storage.connect(root)
    if root.scheme in S3 and runs_on_loop(file_system):
        more: dict[str, str] = {}
        while True:
            page = await guard.run_on_loop(root.uri, file_system.loop, partial(_list_page, file_system, folder, more))
            yield _names_of(page, folder)
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}
    inside = await guard.run_in_thread(root.uri, lambda: list_names(open_path(folder.uri), ""))
    shards = sorted(name for name in inside if len(name) == _SHARD_NAME)
    for start in range(0, len(shards), _SHARDS):
        some = shards[start : start + _SHARDS]
        yield await guard.run_in_thread(root.uri, partial(_list_folders, folder, some))


async def _list_page(file_system: Any, folder: FileLocation, more: dict[str, str]) -> Any:
    bucket, _, prefix = folder.path.partition("/")
    return await file_system._call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{prefix}/", **more)


def _names_of(page: Any, folder: FileLocation) -> list[str]:
    start = len(folder.path.partition("/")[2]) + 1
    names = (one["Key"][start:] for one in page.get("Contents", ()))
    return [name for name in names if name.find("/") == _SHARD_NAME]


def _list_folders(folder: FileLocation, shards: Sequence[str]) -> list[str]:
    root = open_path(folder.uri)
    return [f"{shard}/{name}" for shard in shards for name in list_names(root / shard, "")]
