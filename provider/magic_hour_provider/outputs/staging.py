"""One file of a finished job on its way into storage, and what it shares with the job's others."""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from magic_hour_provider.api.errors import InvalidInputError, TransferError
from magic_hour_provider.api.models import Job, library_url
from magic_hour_provider.api.transport.downloads import Received
from magic_hour_provider.storage.local import exists
from magic_hour_provider.storage.paths import StoredFile, checksum
from magic_hour_provider.storage.writers import Target, memory_of, open_writer

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

_TYPES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif", "video/mp4": "mp4"}
_TYPES |= {"video/webm": "webm", "audio/mpeg": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/mp4": "m4a"}


class NotStoredError(TransferError):
    """The user's storage did not take a file: another link would not help."""


class StoppedError(Exception):
    """The task is being killed."""


def not_stored(job: Job, place: ObjectStoragePath, error: Exception) -> NotStoredError:
    """Return the error of a file that the user's storage did not take, for a person."""
    return NotStoredError(
        f"A file of Magic Hour job {job.id} could not be stored in {str(place)!r} ({type(error).__name__}: {error}). "
        f"The job is paid for and stays collectable: mend the folder; a retry collects it and pays nothing. See "
        f"{library_url(job.kind, job.id)}"
    )


class MemoryBudget:
    """Memory that the files of a job share.

    :param size: bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()

    def take(self, size: int) -> int:
        """Wait until there is room, and return how much was taken."""
        with self._changed:
            size = min(size, self._size)
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
            return size

    def give_back(self, size: int) -> None:
        """Let the next one in."""
        with self._changed:
            self._free += size
            self._changed.notify_all()


class StagedOutput:
    """A file on its way from a link to its place.

    :param name: its final name without the extension, which the link or the first answer tells.
    :param stop: set when the task is being killed.
    :param room: memory that it shares with others.
    """

    def __init__(
        self, job: Job, index: int, place: ObjectStoragePath, name: str, stop: threading.Event, room: MemoryBudget
    ) -> None:
        self.job, self.index = job, index
        self._place, self._name, self._stop, self._room = place, name, stop, room
        self._path, self._taken = place, 0
        self._target: Target | None = None

    def start(self, content_type: str, size: int | None) -> None:
        """Open the target, unless the name is taken: then the bytes are only compared."""
        self._path = self._place / f"{self._name}.{extension_of(self.job.downloads[self.index].url, content_type)}"
        try:
            if not exists(self._path.fs, self._path.path):
                self._taken = self._room.take(memory_of(self._path, size))
                self._target = open_writer(self._path, content_type)
        except Exception as error:
            raise not_stored(self.job, self._place, error) from error

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""
        if self._stop.is_set():
            raise StoppedError
        try:
            return self._target.write(data) if self._target is not None else len(data)
        except Exception as error:
            raise not_stored(self.job, self._place, error) from error

    def seek(self, offset: int, /) -> object:
        """Go back to the start."""
        try:
            return self._target.seek(offset) if self._target is not None else offset
        except Exception as error:
            raise not_stored(self.job, self._place, error) from error

    def truncate(self) -> object:
        """Drop what was written."""
        return self._target.truncate() if self._target is not None else 0

    def commit(self, received: Received) -> StoredFile:
        """Give the file its name, now that it is whole; or compare it with the one that has it."""
        try:
            there = None if self._committed() else checksum(self._path)
        except Exception as error:
            raise not_stored(self.job, self._place, error) from error
        if there not in (None, received.sha256):
            raise InvalidInputError(
                f"{self._path} exists already and is another file (its SHA-256 is {there}, that of the job's file "
                f"{received.sha256}). Nothing was overwritten. Magic Hour job {self.job.id} is paid for: move the old "
                "file away; the next attempt collects the same job again and pays nothing."
            )
        return StoredFile(str(self._path), self.index, received.content_type, received.size, received.sha256)

    def _committed(self) -> bool:
        if self._target is None:
            return False
        try:
            self._target.commit()
        except FileExistsError:
            return False
        self._target = None
        return True

    def close(self) -> None:
        """Leave nothing behind of a file that was not whole."""
        target, self._target = self._target, None
        try:
            if target is not None:
                target.abort()
        except Exception as error:  # noqa: BLE001 (it must not hide why the file was not whole)
            log.warning("What there was of %s could not be removed: %s", self._path, error)
        finally:
            self._room.give_back(self._taken)


def extension_of(url: str, content_type: str) -> str:
    """Return the extension of a file: its link's, or else the one that its type has."""
    suffix = urlsplit(url).path.rpartition("/")[2].rpartition(".")[2].lower()
    if re.fullmatch(r"[a-z0-9]{2,5}", suffix):
        return suffix
    return _TYPES.get(content_type, "bin")
