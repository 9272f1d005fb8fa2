"""Local files that survive a loss of power: synced folders, locked staging files, atomic replacement."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_STALE_S = 3600.0  # age of a staging file whose writer is surely gone
_SUFFIX = 8  # digits of `random_suffix`
_NO_SUCH_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)


def local_path(path: ObjectStoragePath) -> Path | None:
    """Return the path on this machine's file system, if it is one."""
    from fsspec.implementations.local import LocalFileSystem

    return Path(path.path) if isinstance(path.fs, LocalFileSystem) else None


def ensure_local_folder(folder: Path) -> None:
    """Make a folder and its parents, and sync their names."""
    if not folder.is_dir():
        ensure_local_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk, where the file system can."""
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


def sync_data(handle: int) -> None:
    """Sync an open file's bytes to disk, where the file system can.

    :param handle: its file descriptor.
    """
    try:
        os.fdatasync(handle)
    except OSError as error:
        if error.errno not in _NO_SUCH_SYNC:
            raise


def open_staging_file(path: Path) -> tuple[Path, BinaryIO]:
    """Open a new staging file beside a path, and lock it: a lock ends with its process, however that ends.

    :returns: its own path, and the open file.
    """
    while True:
        staging = path.with_name(f".{path.name}.{random_suffix()}.part")  # two tasks may download the same job
        file = staging.open("xb")
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if staging.exists():
            return staging, file
        file.close()  # not locked yet, it was taken for a killed one's


def remove_stale_staging_files(folder: Path, pattern: str) -> None:
    """Remove staging files whose writers were killed; a living writer holds a lock on its own.

    :param pattern: glob of their names.
    """
    for stale in folder.glob(pattern):
        with contextlib.suppress(OSError), stale.open("rb") as file:
            if not _lock(file) and time.time() - stale.stat().st_mtime <= _STALE_S:
                continue
            stale.unlink()


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked, or a file system without locks: there only age tells
        return False
    return True


def replace_local_file(path: Path, data: bytes) -> None:
    """Write a small file atomically, and sync it: a reader finds either the old one or the new one."""
    # Not by fsspec: its rename may copy, and its writing is not synced.
    ensure_local_folder(path.parent)
    for stale in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - stale.stat().st_mtime > _STALE_S:
                stale.unlink()
    staging = path.with_name(f".{path.name}.{random_suffix()}.tmp")
    try:
        _write_synced(staging, data)
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
    sync_folder(path.parent)


def create_local_file(path: Path, data: bytes) -> None:
    """Create a small file whole, synced, and only where its name is free.

    :raises FileExistsError: the name is taken; nothing was changed.
    """
    try:
        ensure_local_folder(path.parent)
    except FileExistsError as error:  # what is taken is not the file's own name
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from error
    staging = path.with_name(f".{path.name}.{random_suffix()}.tmp")
    try:
        _write_synced(staging, data)
        try:
            os.link(staging, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links: not whole at once, but never over another one
            _write_synced(path, data)
    finally:
        staging.unlink(missing_ok=True)
    sync_folder(path.parent)


def find_final_name(name: str) -> str | None:
    """Return the name that a small file's staging file was to get; None: it is none.

    A writer that was killed leaves it behind, perhaps whole.
    """
    final, _, suffix = name.removesuffix(".tmp").removeprefix(".").rpartition(".")
    return final if name == f".{final}.{suffix}.tmp" and final and len(suffix) == _SUFFIX else None


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def random_suffix() -> str:
    """Return eight random hexadecimal digits, for names that no other writer uses."""
    return secrets.token_hex(_SUFFIX // 2)
