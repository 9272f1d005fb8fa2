"""Folders and names in the user's storage: making them, making them last, and tidying up after a killed process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from magic_hour_provider.ledger.record import new_key

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

S3 = ("s3", "s3a", "s3n")
OBJECT_STORES = (*S3, "gs", "gcs", "abfs", "abfss", "az")

_LEFTOVER_S = 3600.0  # age of a temporary file whose writer is surely gone
_NO_SUCH_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)


def already_exists_error(path: object) -> FileExistsError:
    """Return the error of a name that a file has already."""
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def exists(fs: Any, path: str) -> bool:
    """Whether a name is taken, as far as its storage tells: S3 refuses to say so to those who may not list."""
    try:
        return bool(fs.exists(path))
    except PermissionError:
        return False


def ensure_folder(place: ObjectStoragePath) -> None:
    """Make a folder, where folders exist. In object stores a missing one would become a bucket."""
    if local := local_path(place):
        make_folder(local)
    elif place.protocol not in OBJECT_STORES:
        place.mkdir(parents=True, exist_ok=True)


def local_path(path: ObjectStoragePath) -> Path | None:
    """Return the path on this machine's file system, if it is one."""
    from fsspec.implementations.local import LocalFileSystem

    return Path(path.path) if isinstance(path.fs, LocalFileSystem) else None


def make_folder(folder: Path) -> None:
    """Make a local folder that lasts through a loss of power, with its parents."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make names last through a loss of power, where the file system can."""
    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SUCH_SYNC:
            raise
    finally:
        if handle is not None:
            os.close(handle)


def open_staging_file(path: Path) -> tuple[Path, BinaryIO]:
    """Open a new temporary file beside a path, and lock it: a lock ends with its process, however that ends."""
    while True:
        part = path.with_name(f".{path.name}.{new_key()}.part")  # two tasks may collect the same job
        file = part.open("xb")
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if part.exists():
            return part, file
        file.close()  # not locked yet, it was taken for a killed one's


def remove_stale_staging_files(folder: Path, pattern: str) -> None:
    """Remove temporary files whose writers were killed; those of a living one are locked by it."""
    for leftover in folder.glob(pattern):
        with contextlib.suppress(OSError), leftover.open("rb") as file:
            if not _lock(file) and time.time() - leftover.stat().st_mtime <= _LEFTOVER_S:
                continue
            leftover.unlink()


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked, or a file system without locks: there only age tells
        return False
    return True


def sync_data(handle: int) -> None:
    """Make an open file's bytes last through a loss of power, where the file system can."""
    try:
        os.fdatasync(handle)
    except OSError as error:
        if error.errno not in _NO_SUCH_SYNC:
            raise


def read_file(path: ObjectStoragePath) -> bytes:
    """Return a small file, as it is now.

    :raises FileNotFoundError: it is surely not there.
    """
    if local := local_path(path):
        return local.read_bytes()
    # A listing of before the file was written would make it look missing.
    path.fs.invalidate_cache()
    data: bytes = path.fs.cat_file(path.path)
    return data


def remove_file(path: ObjectStoragePath) -> None:
    """Remove a file for good."""
    if local := local_path(path):
        local.unlink()
        sync_folder(local.parent)
    else:
        path.fs.rm_file(path.path)


def replace_file(path: ObjectStoragePath, data: bytes) -> None:
    """Write a small file of our own anew; there is either the old one or the new one."""
    if local := local_path(path):
        _replace_local(local, data)
        return
    # An object store shows an object when all of it is there. File servers may show half of it for a moment, which is
    # a file that cannot be read, and never a missing one.
    try:
        path.fs.pipe_file(path.path, data)
    except FileNotFoundError:
        if path.protocol in OBJECT_STORES:
            raise  # a bucket is missing, which is nobody's wish to have made
        path.fs.makedirs(path.path.rpartition("/")[0], exist_ok=True)
        path.fs.pipe_file(path.path, data)


def _replace_local(path: Path, data: bytes) -> None:
    # Not by fsspec: its rename may copy, and its writing is not synced.
    make_folder(path.parent)
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_S:
                leftover.unlink()
    fresh = path.with_name(f".{path.name}.{new_key()}.tmp")
    try:
        with fresh.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    sync_folder(path.parent)
