"""Reading stored files: locating them below the roots, opening them, and reading parts of them, within bounds.

File systems with coroutines of their own (S3, Google Cloud Storage, Azure) are read by these: a read that nobody waits
for any more is cancelled. Others, this machine's disk among them, are read in threads.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from magic_hour_provider.api.redaction import redact
from magic_hour_provider.plugin.media_tab.files.guard import ReadGuard, StorageUnavailableError
from magic_hour_provider.plugin.media_tab.files.media_types import SIGNATURE_SIZE, sniff_served_type
from magic_hour_provider.plugin.media_tab.files.roots import (
    NO_ROOTS,
    FileLocation,
    FileNotShownError,
    MediaRoot,
    get_media_folders,
    is_local_uri,
    locate_file,
    parse_roots,
)
from magic_hour_provider.storage.paths import open_path

log = logging.getLogger(__name__)

_LOCAL = "this machine"  # whose breaker stands for all local folders until a file's own root is known


@dataclass(frozen=True)
class FileInfo:
    """What is known of an open file.

    :param size: bytes.
    :param modified: seconds since 1970, or None.
    :param etag: changes with the file.
    :param content_type: for showing it in the page; None: for download only.
    """

    size: int
    modified: float | None
    etag: str
    content_type: str | None


class FileReader(Protocol):
    """An open file."""

    info: FileInfo

    async def read(self, start: int, end: int) -> bytes:
        """Return the bytes from one place to another.

        :raises StorageUnavailableError: not in time.
        """

    async def check_unchanged(self) -> None:
        """Do nothing while the file is the one that was opened.

        :raises OSError: another one has its name by now.
        """

    def close(self) -> None:
        """Close it; what is being read meanwhile is abandoned."""


class MediaStorage:
    """Opens and checks files below the configured roots. One for each application."""

    def __init__(self) -> None:
        self._disk = ReadGuard("magic-hour-disk")
        self._storage = ReadGuard("magic-hour-storage")

    async def locate(self, uri: str) -> FileLocation:
        """Return where a file is stored.

        :raises FileNotShownError: it is under no root, or that cannot be known now.
        """
        folders = get_media_folders()
        if not is_local_uri(uri):
            return _locate(uri, folders)
        return await self._disk.run_in_thread(_LOCAL, partial(_locate, uri, folders))

    def check(self, location: FileLocation) -> None:
        """Do nothing while a file's root is read.

        :raises StorageUnavailableError: it has stalled.
        """
        self.guard_of(location.root).check(location.root.uri)

    async def find_problems(self, uris: Sequence[str]) -> list[str | None]:
        """Return for each URI why its file cannot be shown; None where nothing is known against it.

        Only this machine's disk is asked: that costs no request.
        """
        folders = get_media_folders()
        local = [uri for uri in uris if is_local_uri(uri)]
        problems: dict[str, str | None] = {}
        if local:
            try:
                problems = await self._disk.run_in_thread(_LOCAL, partial(_find_local_problems, local, folders))
            except StorageUnavailableError as error:
                problems = dict.fromkeys(local, str(error))
        return [problems[uri] if uri in problems else _find_problem(uri, folders) for uri in uris]

    async def open(self, location: FileLocation, first: int = SIGNATURE_SIZE) -> FileReader:
        """Open a file with the connection of its root.

        :param first: bytes at its beginning that will be read next.
        :raises FileNotShownError: it is missing, is no regular file, was moved out of its root, or cannot be read.
        """
        root = location.root
        with translating_storage_errors(location):
            if root.is_local:
                return await self._open_in_thread(self._disk, location)
            file_system = await self.connect(root)
            if runs_on_loop(file_system):
                return await self._open_on_loop(file_system, location, first)
            return await self._open_in_thread(self._storage, location)

    async def connect(self, root: MediaRoot) -> Any:
        """Return the file system of a root, with the root's own connection."""
        # With a breaker of its own: a connection that is there says nothing of the storage.
        return await self._storage.run_shared(f"the connection of {root.uri}", partial(_connect, root))

    def guard_of(self, root: MediaRoot) -> ReadGuard:
        """Return the bounds within which a root is read."""
        return self._disk if root.is_local else self._storage

    async def _open_in_thread(self, guard: ReadGuard, location: FileLocation) -> FileReader:
        uri = location.root.uri
        file, info = await guard.run_in_thread(uri, partial(_open_file, location), _close_opened)
        return _ThreadReader(guard, uri, file, info)

    async def _open_on_loop(self, file_system: Any, location: FileLocation, first: int) -> FileReader:
        uri = location.root.uri
        details, head = await self._storage.run_on_loop(
            uri, file_system.loop, partial(_read_head, file_system, location.path, first)
        )
        return _LoopReader(self._storage, uri, file_system, location, details, head)


@contextmanager
def translating_storage_errors(location: FileLocation) -> Iterator[None]:
    """Say in a sentence that a file is missing, or that its storage does not answer.

    :raises FileNotShownError: in the place of whatever the storage's library raises.
    """
    try:
        yield
    except FileNotShownError:
        raise
    except FileNotFoundError:
        raise FileNotShownError(location.missing_message, 404) from None
    except Exception as error:  # each storage library has errors of its own
        text = redact(str(error))
        log.warning("%s cannot be read (%s: %s).", location.path, type(error).__name__, text)
        raise FileNotShownError(
            f"The storage of this file does not answer ({type(error).__name__}). Its connection is the one that "
            "[magic_hour] media_roots names; the API server's log says more.",
            502,
        ) from error


def runs_on_loop(file_system: Any) -> bool:
    """Whether a file system has coroutines of its own, on an event loop of its own."""
    return bool(getattr(file_system, "async_impl", False)) and not file_system.asynchronous


def _connect(root: MediaRoot) -> Any:
    return open_path(root.uri).fs


def _locate(uri: str, folders: Sequence[str]) -> FileLocation:
    if not folders:
        raise FileNotShownError(NO_ROOTS)
    is_local = is_local_uri(uri)
    return locate_file(uri, parse_roots(folder for folder in folders if is_local_uri(folder) == is_local))


def _find_problem(uri: str, folders: Sequence[str]) -> str | None:
    try:
        location = _locate(uri, folders)
    except FileNotShownError as error:
        return str(error)
    return location.missing_message if location.root.is_local and not os.path.isfile(location.path) else None  # noqa: PTH113


def _find_local_problems(uris: Sequence[str], folders: Sequence[str]) -> dict[str, str | None]:
    return {uri: _find_problem(uri, folders) for uri in uris}


def _file_info(location: FileLocation, details: Mapping[str, Any], head: bytes) -> FileInfo:
    names = ("mtime", "LastModified", "updated", "last_modified")
    modified: Any = next((details[name] for name in names if details.get(name)), None)
    if hasattr(modified, "timestamp"):
        modified = modified.timestamp()
    return FileInfo(
        int(details["size"]),
        float(modified) if isinstance(modified, int | float) else None,
        hashlib.sha256(repr(sorted(details.items(), key=str)).encode(errors="backslashreplace")).hexdigest()[:32],
        sniff_served_type(location.name, head),
    )


def _check_file(details: Mapping[str, Any], path: str) -> None:
    if details.get("type") != "file" or details.get("size") is None:
        raise FileNotFoundError(path)


# Read in threads


def _open_file(location: FileLocation) -> tuple[Any, FileInfo]:
    root, path = open_path(location.root.uri), location.path
    details = root.fs.info(path)
    _check_file(details, path)
    if location.root.is_local and not stat.S_ISREG(os.lstat(path).st_mode):
        raise FileNotFoundError(path)
    file = root.fs.open(path, "rb")
    try:
        if location.root.is_local and not _is_unchanged(file, path):
            raise FileNotShownError("This file is not shown: it was moved while it was opened.", 404)
        return file, _file_info(location, details, file.read(SIGNATURE_SIZE))
    except BaseException:
        file.close()
        raise


def _is_unchanged(file: Any, path: str) -> bool:
    """Whether a path still leads to the open file: no symbolic link was put into it meanwhile."""
    try:
        current, opened = os.lstat(path), os.fstat(file.fileno())
    except OSError:
        return False
    return os.path.realpath(path) == path and (current.st_dev, current.st_ino) == (opened.st_dev, opened.st_ino)


def _close_opened(opened: Future[tuple[Any, FileInfo]]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result()[0].close()


class _ThreadReader:
    """A file object, read in threads."""

    def __init__(self, guard: ReadGuard, root: str, file: Any, info: FileInfo) -> None:
        self._guard, self._root, self._file, self.info = guard, root, file, info
        self._in_use, self._is_closed = threading.Lock(), False

    async def read(self, start: int, end: int) -> bytes:
        return await self._guard.run_in_thread(self._root, partial(self._seek_and_read, start, end))

    def _seek_and_read(self, start: int, end: int) -> bytes:
        data = b""
        with self._in_use:
            if not self._is_closed:
                self._file.seek(start)
                data = self._file.read(end - start)
        if self._is_closed:  # while it was being read
            self._file.close()
        return data

    async def check_unchanged(self) -> None:
        """Do nothing: an open file stays what it is."""

    def close(self) -> None:
        self._is_closed = True
        if self._in_use.acquire(blocking=False):  # else the thread that is in it closes it
            self._file.close()
            self._in_use.release()


# Read by the file system's own coroutines


async def _read_head(file_system: Any, path: str, first: int) -> tuple[Mapping[str, Any], bytes]:
    details = await file_system._info(path)
    _check_file(details, path)
    end = min(int(details["size"]), first)
    return details, await file_system._cat_file(path, start=0, end=end) if end else b""


class _LoopReader:
    """An object in a storage, read by range requests."""

    def __init__(
        self,
        guard: ReadGuard,
        root: str,
        file_system: Any,
        location: FileLocation,
        details: Mapping[str, Any],
        head: bytes,
    ) -> None:
        self._guard, self._root, self._file_system, self._location = guard, root, file_system, location
        self._head, self.info = head, _file_info(location, details, head)

    async def read(self, start: int, end: int) -> bytes:
        if end <= len(self._head):
            return self._head[start:end]
        read = partial(self._file_system._cat_file, self._location.path, start=start, end=end)
        data: bytes = await self._guard.run_on_loop(self._root, self._file_system.loop, read)
        return data

    async def check_unchanged(self) -> None:
        ask = partial(self._file_system._info, self._location.path)
        details = await self._guard.run_on_loop(self._root, self._file_system.loop, ask)
        if _file_info(self._location, details, self._head).etag != self.info.etag:
            raise OSError("The file was replaced while it was being sent.")

    def close(self) -> None:
        """Do nothing: nothing is kept open."""
