"""Local files that survive a loss of power: synced folders, locked staging files, atomic replacement."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import time
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

from magic_hour_provider.api.errors import InvalidInputError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_STALE_S = 3600.0  # age of a staging file whose writer is surely gone
_NO_SUCH_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)


def check_absolute(folder: str, name: str = "output_path") -> None:
    """Refuse a folder that would lie below whatever folder the worker happens to run in.

    :param folder: a path or a storage URI; of a template counts what stands before its first expression.
    :param name: of the argument or setting, for the message.
    :raises InvalidInputError: it is a relative path.
    """
    literal, *templates = re.split(r"\{[{%#]", folder, maxsplit=1)
    scheme, is_uri, rest = literal.partition("://")
    if is_uri:
        host = rest.partition("/")[0].rpartition("@")[2]
        relative = scheme.lower() in ("file", "local") and host not in ("", "~")
        hint = f"After file:// the whole path follows: file:///{rest}"
    else:
        first, is_path, _ = literal.removeprefix("file:").partition("/")
        # Of a template it may not be known yet.
        relative = bool(first) and not (templates and (not is_path or ":" in first))
        hint = "Write the whole path, beginning with /, or a storage URI such as s3://connection@bucket/folder"
    if relative:
        raise InvalidInputError(
            f"{name} {folder[:200]!r} is a relative path: files would be stored below whatever folder the worker "
            "runs in.",
            next_step=f"{hint}.",
        )


def clean_folder(folder: Any) -> Any:
    """Return a folder without the blanks and line ends that a file or a variable has left around it.

    Of an enum it is the value; what is neither, and no text, is returned as it is.
    """
    folder = folder.value if isinstance(folder, Enum) else folder
    return folder.strip() if isinstance(folder, str) else folder


def check_given_folder(folder: Any) -> None:
    """Refuse an ``output_path`` as :func:`check_absolute` does, as far as it is known while a DAG is parsed."""
    folder = clean_folder(folder)
    if isinstance(folder, str | PurePath):
        check_absolute(str(folder))


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


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def random_suffix() -> str:
    """Return eight random hexadecimal digits, for names that no other writer uses."""
    return secrets.token_hex(4)
