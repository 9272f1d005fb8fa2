"""Writers of files that appear whole or not at all, and never over another one.

What a storage can do decides how. A local file is written to a staging file and linked to its name, which the
kernel refuses if the name is taken. An object store shows nothing before an upload is completed, and is asked to
refuse a taken name where it can; a copy under another name would cost a second transfer. Anything else gets a
staging file and a rename.
"""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from magic_hour_provider.api.transport.downloads import Sink
from magic_hour_provider.storage.files import OBJECT_STORES, S3, already_exists_error, exists
from magic_hour_provider.storage.local import local_path, open_staging_file, random_suffix, sync_data, sync_folder
from magic_hour_provider.storage.s3_writer import PART, S3Writer

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_BLOCK = 2 * 1024 * 1024  # bytes; other object stores take small blocks
_COPIES = 3  # of a block that their libraries have at the same time
_SYNC_EVERY = 32 * 1024 * 1024  # bytes


class Writer(Sink, Protocol):
    """A new file that has its name only once it is committed."""

    def commit(self) -> None:
        """Give the file its name, now that it is whole.

        :raises FileExistsError: the name is taken; nothing was changed.
        """

    def abort(self) -> None:
        """Leave nothing behind."""


def open_writer(path: ObjectStoragePath, content_type: str = "") -> Writer:
    """Return a writer of a new file.

    :param path: its name, which is not touched before the commit.
    :param content_type: what browsers are served it as, where the storage keeps that.
    """
    if local := local_path(path):
        return LocalWriter(local)
    if path.protocol in S3:
        return S3Writer(path.fs, path.path, content_type)
    return ObjectWriter(path.fs, path.path) if path.protocol in OBJECT_STORES else RenamingWriter(path.fs, path.path)


def max_buffer_size(path: ObjectStoragePath, size: int | None) -> int:
    """Return how many bytes of memory a file's writer takes at most.

    :param path: the file's name.
    :param size: the file's bytes, if known.
    """
    if path.protocol in S3:
        return PART if size is None else min(size, PART)
    if path.protocol in OBJECT_STORES:
        return _COPIES * (_BLOCK if size is None else min(size, _BLOCK))
    return 0


class LocalWriter:
    """Writes a file on a local disk, synced so that it survives a loss of power.

    :param path: its name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._staging, self._file = open_staging_file(path)
        self._unsynced = 0
        self._syncs: ThreadPoolExecutor | None = None
        self._syncing: Future[None] | None = None

    def write(self, data: bytes, /) -> object:
        """Write the next bytes; long files are synced on the way, so that the commit need not wait for all of it."""
        self._unsynced += self._file.write(data)
        if self._unsynced >= _SYNC_EVERY and (self._syncing is None or self._syncing.done()):
            self._syncs = self._syncs or ThreadPoolExecutor(1, thread_name_prefix="magic-hour-sync")
            self._syncing = self._syncs.submit(sync_data, self._file.fileno())
            self._unsynced = 0
        return len(data)

    def restart(self) -> None:
        """Empty the staging file."""
        self._file.seek(0)
        self._file.truncate()

    def commit(self) -> None:
        """Link the staging file to its name, which fails if the name is taken.

        :raises FileExistsError: the name is taken; nothing was changed.
        """
        self._file.flush()
        self._wait_for_sync()
        sync_data(self._file.fileno())
        try:  # with the file still open, and locked
            os.link(self._staging, self._path)
            self._staging.unlink()
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if self._path.exists():
                raise already_exists_error(self._path) from None
            self._staging.rename(self._path)
        self._file.close()
        sync_folder(self._path.parent)

    def abort(self) -> None:
        """Remove the staging file."""
        with contextlib.suppress(OSError):
            self._wait_for_sync()
        with contextlib.suppress(OSError):  # what could not be written cannot be flushed
            self._file.close()
        self._staging.unlink(missing_ok=True)

    def _wait_for_sync(self) -> None:
        if self._syncs is not None:
            self._syncs.shutdown()
        if self._syncing is not None:
            self._syncing.result()


class ObjectWriter:
    """Writes an object of another store, by its fsspec library: nothing of it shows before it is closed.

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
        """Write the next bytes."""
        return self._file.write(data)

    def restart(self) -> None:
        """Start over with a new upload."""
        self.abort()
        self._file = self._open()

    def commit(self) -> None:
        """Complete the upload.

        :raises FileExistsError: the name is taken; nothing was changed.
        """
        # Not every library and store can refuse a taken name: there only this test of before tells.
        if exists(self._fs, self._path):
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
    """Writes a file of any other storage to a staging file, and renames it when it is whole.

    :param fs: its file system.
    :param path: the final name.
    """

    def __init__(self, fs: Any, path: str) -> None:
        self._fs, self._path = fs, path
        folder, _, name = path.rpartition("/")
        self._staging = f"{folder}/.{name}.{random_suffix()}.part"
        self._file = fs.open(self._staging, "wb")

    def write(self, data: bytes, /) -> object:
        """Write the next bytes."""
        return self._file.write(data)

    def restart(self) -> None:
        """Start over with a new staging file: not every storage can shorten one."""
        self._file.close()
        self._file = self._fs.open(self._staging, "wb")

    def commit(self) -> None:
        """Rename the staging file, unless the name is taken.

        :raises FileExistsError: the name is taken; nothing was changed.
        """
        self._file.close()
        if exists(self._fs, self._path):
            raise already_exists_error(self._path)
        _rename(self._fs, self._staging, self._path)

    def abort(self) -> None:
        """Remove the staging file."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._fs.rm_file(self._staging)


def _rename(fs: Any, source: str, target: str) -> None:
    """Rename a file. Where a file system has no move of its own, fsspec's would read its name as a pattern."""
    from fsspec.spec import AbstractFileSystem

    owner = fs
    # One that shows a folder of another one leaves the move to that.
    while isinstance(inner := getattr(owner, "fs", None), AbstractFileSystem):
        owner = inner
    if type(owner).mv is AbstractFileSystem.mv:
        fs.cp_file(source, target)
        fs.rm_file(source)
    else:
        fs.mv(source, target)
