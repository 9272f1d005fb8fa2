"""Files that appear whole or not at all, and never over another one.

What a storage can do decides how. A local file is written under a temporary name and linked to its own, which the
kernel refuses if the name is taken. An object store shows nothing before an upload is completed, and is asked to
refuse a taken name where it can; a copy under another name would cost a second transfer. Anything else gets a
temporary name and a rename.
"""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from magic_hour_provider.ledger.record import new_key
from magic_hour_provider.storage.local import (
    OBJECT_STORES,
    S3,
    already_exists_error,
    exists,
    local_path,
    open_staging_file,
    sync_data,
    sync_folder,
)
from magic_hour_provider.storage.s3_writer import PART, S3Writer

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_BLOCK = 2 * 1024 * 1024  # bytes; other object stores take small blocks
_COPIES = 3  # of a block that their libraries have at the same time
_SYNC_EVERY = 32 * 1024 * 1024  # bytes


class Target(Protocol):
    """A file on its way into storage."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""

    def seek(self, offset: int, /) -> object:
        """Go back to the start, the only place there is to go to; followed by :meth:`truncate`."""

    def truncate(self) -> object:
        """Drop what was written."""

    def commit(self) -> None:
        """Give the file its name, now that it is whole.

        :raises FileExistsError: the name is taken; nothing was changed.
        """

    def abort(self) -> None:
        """Leave nothing behind."""


def open_writer(path: ObjectStoragePath, content_type: str = "") -> Target:
    """Begin a new file; its name is not touched before it is whole.

    :param content_type: what browsers are told it is, where the storage keeps that.
    """
    if local := local_path(path):
        return LocalWriter(local)
    if path.protocol in S3:
        return S3Writer(path.fs, path.path, content_type)
    return ObjectWriter(path.fs, path.path) if path.protocol in OBJECT_STORES else RenamingWriter(path.fs, path.path)


def memory_of(path: ObjectStoragePath, size: int | None) -> int:
    """Return how many bytes a file on its way to a place takes at the most.

    :param size: its own, if known.
    """
    if path.protocol in S3:
        return PART if size is None else min(size, PART)
    if path.protocol in OBJECT_STORES:
        return _COPIES * (_BLOCK if size is None else min(size, _BLOCK))
    return 0


class LocalWriter:
    """A file on a local disk, synced so that it lasts through a loss of power."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part, self._file = open_staging_file(path)
        self._unsynced = 0
        self._syncs: ThreadPoolExecutor | None = None
        self._syncing: Future[None] | None = None

    def write(self, data: bytes, /) -> object:
        """Take the next bytes; long files are synced on the way, so that the end need not wait for all of it."""
        self._unsynced += self._file.write(data)
        if self._unsynced >= _SYNC_EVERY and (self._syncing is None or self._syncing.done()):
            self._syncs = self._syncs or ThreadPoolExecutor(1, thread_name_prefix="magic-hour-sync")
            self._syncing = self._syncs.submit(sync_data, self._file.fileno())
            self._unsynced = 0
        return len(data)

    def seek(self, offset: int, /) -> object:
        """Go back to the start."""
        return self._file.seek(offset)

    def truncate(self) -> object:
        """Drop what was written."""
        return self._file.truncate()

    def commit(self) -> None:
        """Link the file to its name, which fails if the name is taken."""
        self._file.flush()
        self._settle()
        sync_data(self._file.fileno())
        try:  # with the file still open, and locked
            os.link(self._part, self._path)
            self._part.unlink()
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if self._path.exists():
                raise already_exists_error(self._path) from None
            self._part.rename(self._path)
        self._file.close()
        sync_folder(self._path.parent)

    def abort(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            self._settle()
        with contextlib.suppress(OSError):  # what could not be written cannot be flushed
            self._file.close()
        self._part.unlink(missing_ok=True)

    def _settle(self) -> None:
        if self._syncs is not None:
            self._syncs.shutdown()
        if self._syncing is not None:
            self._syncing.result()


class ObjectWriter:
    """An object of another store, by its fsspec library: nothing of it shows before it is closed.

    :param fs: its file system.
    :param path: container and key.
    """

    def __init__(self, fs: Any, path: str) -> None:
        self._fs, self._path = fs, path
        self._file = self._open()

    def _open(self) -> Any:
        try:
            return self._fs.open(self._path, "xb", block_size=_BLOCK)
        except (NotImplementedError, ValueError):  # a library that knows no exclusive writing
            return self._fs.open(self._path, "wb", block_size=_BLOCK)

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""
        return self._file.write(data)

    def seek(self, offset: int, /) -> object:
        """Go back to the start, with a new upload."""
        self.abort()
        self._file = self._open()
        return offset

    def truncate(self) -> object:
        """Nothing is left of what was written."""
        return 0

    def commit(self) -> None:
        """Complete the upload."""
        if "x" not in self._file.mode and exists(self._fs, self._path):
            raise already_exists_error(self._path)
        try:
            self._file.close()
        except Exception as error:
            # Each library says in its own way that the name is taken.
            if exists(self._fs, self._path):
                raise already_exists_error(self._path) from error
            raise

    def abort(self) -> None:
        """Give the upload up. Closing would complete it, and so would forgetting it."""
        self._file.closed = True
        self._file.discard()


class RenamingWriter:
    """A file of any other storage, renamed when it is whole.

    :param fs: its file system.
    :param path: the final name.
    """

    def __init__(self, fs: Any, path: str) -> None:
        self._fs, self._path = fs, path
        folder, _, name = path.rpartition("/")
        self._part = f"{folder}/.{name}.{new_key()}.part"
        self._file = fs.open(self._part, "wb")

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""
        return self._file.write(data)

    def seek(self, offset: int, /) -> object:
        """Go back to the start, with a new file: not every storage can shorten one."""
        self._file.close()
        self._file = self._fs.open(self._part, "wb")
        return offset

    def truncate(self) -> object:
        """Nothing is left of what was written."""
        return 0

    def commit(self) -> None:
        """Rename the file, unless the name is taken."""
        self._file.close()
        if exists(self._fs, self._path):
            raise already_exists_error(self._path)
        self._fs.mv(self._part, self._path)

    def abort(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._fs.rm_file(self._part)
