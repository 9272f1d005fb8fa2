"""Whole files and folders on any storage: read, replace, remove, test whether a name is taken."""

from __future__ import annotations

import errno
import inspect
import os
from typing import TYPE_CHECKING, Any

from magic_hour_provider.storage.local import ensure_local_folder, local_path, replace_local_file, sync_folder

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

S3 = ("s3", "s3a", "s3n")
"""Protocols of S3 and of stores that speak as S3 does."""
OBJECT_STORES = (*S3, "gs", "gcs", "abfs", "abfss", "az")
"""Protocols of storage that has objects and no folders."""


def already_exists_error(path: object) -> FileExistsError:
    """Return the error that says that a name is taken."""
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def exists(fs: Any, path: str) -> bool:
    """Whether a name is taken, as far as its storage tells: S3 refuses to say so to those who may not list."""
    fs.invalidate_cache()  # a listing of before would not have what another has stored since
    try:
        return bool(fs.exists(path))
    except PermissionError:
        return False


def ensure_folder(folder: ObjectStoragePath) -> None:
    """Make a folder, where folders exist. In object stores a missing one would become a bucket."""
    if local := local_path(folder):
        ensure_local_folder(local)
    elif folder.protocol not in OBJECT_STORES:
        folder.mkdir(parents=True, exist_ok=True)


def read_file(path: ObjectStoragePath) -> bytes:
    """Return a small file's bytes, never from a cached listing.

    :raises FileNotFoundError: it is surely not there.
    """
    if local := local_path(path):
        return local.read_bytes()
    # A listing of before the file was written would make it look missing.
    path.fs.invalidate_cache()
    one_request = {"max_concurrency": 1} if _asks_for_the_length(path.fs) else {}
    data: bytes = path.fs.cat_file(path.path, **one_request)
    return data


def _asks_for_the_length(fs: Any) -> bool:
    """Whether a storage's library asks for a file's length first, to read large ones in parts side by side: s3fs."""
    read = getattr(fs, "_cat_file", None)
    return read is not None and "max_concurrency" in inspect.signature(read).parameters


def remove_file(path: ObjectStoragePath) -> None:
    """Remove a file for good."""
    if local := local_path(path):
        local.unlink()
        sync_folder(local.parent)
    else:
        path.fs.rm_file(path.path)


def replace_file(path: ObjectStoragePath, data: bytes) -> None:
    """Write a small file over the one before: a reader finds either the old one or the new one."""
    if local := local_path(path):
        replace_local_file(local, data)
        return
    # An object store shows an object when all of it is there. File servers may show half of it for a moment, which is
    # a file that cannot be read, and never a missing one.
    try:
        path.fs.pipe_file(path.path, data)
    except FileNotFoundError:
        if path.protocol in OBJECT_STORES:
            raise  # a bucket is missing, and making one is nobody's intent
        path.fs.makedirs(path.path.rpartition("/")[0], exist_ok=True)
        path.fs.pipe_file(path.path, data)
