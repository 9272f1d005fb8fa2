"""Files that appear whole or not at all, and never over another one.

What a storage can do decides how. A local file is written under a temporary name and linked to its own, which the
kernel refuses if the name is taken. An object store shows nothing before an upload is completed, and is asked to
refuse a taken name where it can; a copy under another name would cost a second transfer. Anything else gets a
temporary name and a rename.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from magic_hour_provider.record import new_key
from magic_hour_provider.storage import OBJECT_STORES, S3, is_there, local_path, open_temporary, sync_data, sync_folder

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_PART = 5 * 1024 * 1024  # bytes; the least that S3 takes for all parts but the last
_BLOCK = 2 * 1024 * 1024  # bytes; other object stores take small blocks, and their libraries copy each several times
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

    def discard(self) -> None:
        """Leave nothing behind."""


def open_target(path: ObjectStoragePath, content_type: str = "") -> Target:
    """Begin a new file; its name is not touched before it is whole.

    :param content_type: what browsers are told it is, where the storage keeps that.
    """
    if local := local_path(path):
        return LocalTarget(local)
    if path.protocol in S3:
        return S3Target(path.fs, path.path, content_type)
    return ObjectTarget(path.fs, path.path) if path.protocol in OBJECT_STORES else RenamedTarget(path.fs, path.path)


def _taken(path: object) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


class LocalTarget:
    """A file on a local disk, synced so that it lasts through a loss of power."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part, self._file = open_temporary(path)
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
                raise _taken(self._path) from None
            self._part.rename(self._path)
        self._file.close()
        sync_folder(self._path.parent)

    def discard(self) -> None:
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


class _Part(io.BytesIO):
    """A part that waits to be sent, and can be sent again.

    botocore asks where a body stands before it reads it, and takes that for its start. s3fs repeats a call with a body
    that the try before has read to its end; what stands there starts over.
    """

    _was_read = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes."""
        data = super().read(size)
        self._was_read = super().tell() == len(self.getbuffer())
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go somewhere."""
        self._was_read = False
        return super().seek(offset, whence)

    def tell(self) -> int:
        """Return where the next bytes come from."""
        return self.seek(0) if self._was_read else super().tell()


class S3Target:
    """An object of S3, uploaded in parts of 5 MiB that wait in one buffer.

    s3fs's own files hold each part up to three times while it is sent.

    :param fs: s3fs's file system.
    :param path: bucket and key.
    :param content_type: what it is kept as.
    """

    def __init__(self, fs: Any, path: str, content_type: str = "") -> None:
        self._fs, self._path = fs, path
        self._kept_as = {"ContentType": content_type} if content_type else {}
        bucket, key, _ = fs.split_path(path)
        self._at = {"Bucket": bucket, "Key": key}
        self._upload: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._buffer = _Part()

    def begin(self) -> None:
        """Begin an upload in parts."""
        self._upload = self._fs.call_s3("create_multipart_upload", **self._at, **self._kept_as)["UploadId"]

    def write(self, data: bytes, /) -> object:
        """Take the next bytes, and send a part when it is full."""
        left = memoryview(data)
        while left:
            room = _PART - self._buffer.tell()
            self._buffer.write(left[:room])
            left = left[room:]
            if self._buffer.tell() == _PART:
                self._send()
        return len(data)

    def seek(self, offset: int, /) -> object:
        """Go back to the start."""
        self.discard()
        return offset

    def truncate(self) -> object:
        """Nothing is left of what was written."""
        return 0

    def commit(self) -> None:
        """Complete the upload, on the condition that nobody has taken the name meanwhile."""
        try:
            self._complete({"IfNoneMatch": "*"})
        except OSError as error:
            if error.errno == errno.ENOSYS and not is_there(self._fs, self._path):
                # Compatible stores that have no conditions: here only the look before tells.
                self._complete({})
            elif isinstance(error, FileExistsError) or not is_there(self._fs, self._path):
                raise
            else:
                raise _taken(self._path) from error
        self._upload = None
        self._fs.invalidate_cache(self._path)

    def discard(self) -> None:
        """Abort the upload, so that nobody pays for its parts."""
        self._buffer, self._parts = _Part(), []
        if self._upload is not None:
            upload, self._upload = self._upload, None
            with contextlib.suppress(OSError):
                self._fs.call_s3("abort_multipart_upload", UploadId=upload, **self._at)

    def _send(self) -> None:
        if self._upload is None:
            self.begin()
        number = len(self._parts) + 1
        sent = self._fs.call_s3("upload_part", PartNumber=number, UploadId=self._upload, **self._body(), **self._at)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        self._buffer = _Part()

    def _body(self) -> dict[str, Any]:
        # Given apart, so that a body which is not read from its start can only fail and never pass for an empty one.
        size = self._buffer.seek(0, io.SEEK_END)
        self._buffer.seek(0)
        return {"Body": self._buffer, "ContentLength": size}

    def _complete(self, condition: dict[str, str]) -> None:
        if self._upload is None:
            self._fs.call_s3("put_object", **self._body(), **self._at, **self._kept_as, **condition)
            return
        if self._buffer.tell():
            self._send()
        parts = {"Parts": self._parts}
        self._fs.call_s3(
            "complete_multipart_upload", UploadId=self._upload, MultipartUpload=parts, **self._at, **condition
        )


class ObjectTarget:
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
        self.discard()
        self._file = self._open()
        return offset

    def truncate(self) -> object:
        """Nothing is left of what was written."""
        return 0

    def commit(self) -> None:
        """Complete the upload."""
        if "x" not in self._file.mode and is_there(self._fs, self._path):
            raise _taken(self._path)
        try:
            self._file.close()
        except Exception as error:
            # Each library says in its own way that the name is taken.
            if is_there(self._fs, self._path):
                raise _taken(self._path) from error
            raise

    def discard(self) -> None:
        """Give the upload up. Closing would complete it, and so would forgetting it."""
        self._file.closed = True
        self._file.discard()


class RenamedTarget:
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
        if is_there(self._fs, self._path):
            raise _taken(self._path)
        self._fs.mv(self._part, self._path)

    def discard(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._fs.rm_file(self._part)
