"""Names of small files, as the storage has them at this moment: never from a cached listing.

S3 is asked for its pages directly: what s3fs remembers of a folder may be older than what another machine has written.
The other libraries are asked to forget first, one listing at a time in this process: a listing of before that is still
under way would be remembered again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from magic_hour_provider.storage.files import OBJECT_STORES, S3
from magic_hour_provider.storage.local import local_path

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import ObjectStoragePath

_forgetting = threading.Lock()


def list_names(folder: ObjectStoragePath, prefix: str) -> list[str]:
    """Return the names in a folder that begin so; none where there is no folder.

    :raises Exception: of the storage's own library: the folder cannot be listed.
    """
    if local := local_path(folder):
        return [name for name in _list_local(local) if name.startswith(prefix)]
    if folder.protocol in S3:
        start = f"{folder.path.rstrip('/')}/"
        found = _list_objects(folder.fs, f"{start}{prefix}", Delimiter="/")
        return [key.rpartition("/")[2] for key in found]
    with _forgetting:
        folder.fs.invalidate_cache()
        return [name for name in _list_folder(folder.fs, folder.path) if name.startswith(prefix)]


def list_tree(folder: ObjectStoragePath) -> list[str]:
    """Return the names of all files in a folder and in its folders, as ``inner/name``; none where there is no folder.

    In object stores that is one flat listing; elsewhere one listing for each folder inside, and none deeper.

    :raises Exception: of the storage's own library: something there cannot be listed.
    """
    if local := local_path(folder):
        return list(_walk_local(local))
    fs, start = folder.fs, f"{folder.path.rstrip('/')}/"
    if folder.protocol in S3:
        length = len(fs.split_path(start)[1])
        return [key[length:] for key in _list_objects(fs, start) if not key.endswith("/")]
    with _forgetting:
        fs.invalidate_cache()
        if folder.protocol in OBJECT_STORES:
            return [str(path).removeprefix(start) for path in fs.find(folder.path)]
        return list(_walk(fs, folder.path))


def _list_objects(fs: Any, start: str, **more: Any) -> Iterator[str]:
    """Yield the keys of S3 that begin so, page by page."""
    bucket, prefix, _ = fs.split_path(start)
    while True:
        page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
        for one in page.get("Contents", ()):
            yield one["Key"]
        if not page.get("IsTruncated"):
            return
        more["ContinuationToken"] = page["NextContinuationToken"]


def _list_local(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (a Path for each of thousands of names takes most of the time)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _walk_local(folder: Path) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir():
            yield from (f"{entry.name}/{name}" for name in _list_local(folder / entry.name))
        else:
            yield entry.name


def _list_folder(fs: Any, path: str) -> list[str]:
    try:
        found = fs.ls(path, detail=False)
    except FileNotFoundError:
        return []
    return [str(one).rstrip("/").rpartition("/")[2] for one in found]


def _walk(fs: Any, path: str) -> Iterator[str]:
    # Not by the library's own walk, which takes a folder that cannot be listed for an empty one.
    try:
        entries = fs.ls(path, detail=True)
    except FileNotFoundError:
        return
    for entry in entries:
        name = str(entry["name"]).rstrip("/").rpartition("/")[2]
        if entry.get("type") == "directory":
            yield from (f"{name}/{inner}" for inner in _list_folder(fs, entry["name"]))
        else:
            yield name
