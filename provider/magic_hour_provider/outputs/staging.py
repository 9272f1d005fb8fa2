"""One output file of a job while it is being stored: staged, committed or aborted, in memory shared with the others."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from magic_hour_provider.api.errors import Charge, InvalidInputError, TransferError, describe_error
from magic_hour_provider.api.models import Job, library_url
from magic_hour_provider.api.transport.downloads import Received
from magic_hour_provider.outputs.media_header import HeaderReader
from magic_hour_provider.outputs.result import StoredFile
from magic_hour_provider.storage.files import exists
from magic_hour_provider.storage.paths import checksum
from magic_hour_provider.storage.writers import Writer, max_buffer_size, open_writer

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

# Each extension, with the types that are its own.
_TYPES_OF = {
    "png": "image/png image/apng image/x-png",
    "jpg": "image/jpeg image/jpg image/pjpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "avif": "image/avif",
    "heic": "image/heic image/heif",
    "bmp": "image/bmp image/x-ms-bmp",
    "tiff": "image/tiff",
    "mp4": "video/mp4 application/mp4",
    "m4v": "video/x-m4v",
    "mov": "video/quicktime",
    "webm": "video/webm audio/webm",
    "mkv": "video/x-matroska video/matroska application/x-matroska",
    "avi": "video/x-msvideo video/avi video/msvideo",
    "mpg": "video/mpeg",
    "ogv": "video/ogg",
    "3gp": "video/3gpp",
    "mp3": "audio/mpeg audio/mp3 audio/x-mp3 audio/mpeg3",
    "wav": "audio/wav audio/x-wav audio/wave audio/vnd.wave audio/x-pn-wav",
    "m4a": "audio/mp4 audio/m4a audio/x-m4a",
    "aac": "audio/aac audio/x-aac audio/aacp",
    "ogg": "audio/ogg application/ogg audio/vorbis",
    "opus": "audio/opus",
    "flac": "audio/flac audio/x-flac",
    "aiff": "audio/aiff audio/x-aiff",
}
_EXTENSIONS = {content_type: extension for extension, types in _TYPES_OF.items() for content_type in types.split()}
_KNOWN = {*_TYPES_OF, "jpeg", "apng", "heif", "tif", "mpeg", "oga", "aif", "svg"}


class NotStoredError(TransferError):
    """The user's storage did not take a file; another link would not help."""


class StoppedError(Exception):
    """The task is being killed."""


def not_stored_error(job: Job, folder: ObjectStoragePath, error: Exception) -> NotStoredError:
    """Return the error that tells a person that the user's storage did not take a file."""
    return NotStoredError(
        f"A file of Magic Hour job {job.id} could not be stored in {str(folder)!r} ({describe_error(error)}).",
        charge=Charge.KEPT,
        next_step=f"Fix the folder: a retry downloads the job's files and pays nothing. See "
        f"{library_url(job.kind, job.id)}",
    )


class MemoryBudget:
    """Memory that the files of one job share while they are written.

    :param size: bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()

    def acquire(self, size: int) -> int:
        """Wait until ``size`` bytes are free, or all of them where it is more; return how many were taken."""
        with self._changed:
            size = min(size, self._size)
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
            return size

    def release(self, size: int) -> None:
        """Give bytes back."""
        with self._changed:
            self._free += size
            self._changed.notify_all()


class StagedOutput:
    """One output file between its link and its name: what a download writes into.

    :param folder: where the file goes.
    :param name: its final name without the extension, which the link or the first response tells.
    :param stop: set when the task is being killed.
    :param memory: shared with the job's other files.
    """

    def __init__(
        self, job: Job, index: int, folder: ObjectStoragePath, name: str, stop: threading.Event, memory: MemoryBudget
    ) -> None:
        self.job, self.index = job, index
        self._folder, self._name, self._stop, self._memory = folder, name, stop, memory
        self._path, self._acquired = folder, 0
        self._writer: Writer | None = None
        self._header = HeaderReader()

    def start(self, content_type: str, size: int | None) -> None:
        """Open a writer, unless the name is taken: then the bytes are only compared.

        :param size: bytes of the file, if known.
        """
        link = self.job.downloads[self.index]
        self._path = self._folder / f"{self._name}.{extension_of(link.url if link else '', content_type)}"
        with self._storage_errors():
            if not exists(self._path.fs, self._path.path):
                self._acquired = self._memory.acquire(max_buffer_size(self._path, size))
                self._writer = open_writer(self._path, content_type)

    def write(self, data: bytes, /) -> object:
        """Write the next bytes.

        :raises StoppedError: the task is being killed.
        """
        if self._stop.is_set():
            raise StoppedError
        self._header.write(data)
        with self._storage_errors():
            return self._writer.write(data) if self._writer is not None else len(data)

    def restart(self) -> None:
        """Drop what was written."""
        self._header.restart()
        with self._storage_errors():
            if self._writer is not None:
                self._writer.restart()

    def commit(self, received: Received) -> StoredFile:
        """Give the file its name, now that it is whole; or compare it with the file that has the name.

        :raises InvalidInputError: another file has the name.
        """
        with self._storage_errors():
            found = None if self._committed() else checksum(self._path)
        if found not in (None, received.sha256):
            raise InvalidInputError(
                f"{self._path} exists already and is another file (its SHA-256 is {found}, that of the job's file "
                f"{received.sha256}). Nothing was overwritten. It is of Magic Hour job {self.job.id}.",
                charge=Charge.KEPT,
                next_step="Move the old file away: the next attempt downloads the job's files and pays nothing.",
            )
        facts = self._header.read_facts()
        return StoredFile(
            str(self._path), self.index, received.content_type, received.size, received.sha256, **facts._asdict()
        )

    def _committed(self) -> bool:
        if self._writer is None:
            return False
        try:
            self._writer.commit()
        except FileExistsError:
            return False
        self._writer = None
        return True

    def close(self) -> None:
        """Abort what is not committed, and release the memory."""
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.abort()
        except Exception as error:  # noqa: BLE001 (it must not hide why the file was not whole)
            log.warning("What there was of %s could not be removed: %s", self._path, error)
        finally:
            self._memory.release(self._acquired)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each storage library has errors of its own
            raise not_stored_error(self.job, self._folder, error) from error


def extension_of(url: str, content_type: str) -> str:
    """Return the extension of a file: its link's, if media have it, or else the one that its type has."""
    stem, _, suffix = urlsplit(url).path.rpartition("/")[2].rpartition(".")
    suffix = suffix.lower() if stem and re.fullmatch(r"(?i)[a-z0-9]{2,5}", suffix, re.ASCII) else ""
    return suffix if suffix in _KNOWN else _EXTENSIONS.get(content_type) or suffix or "bin"
