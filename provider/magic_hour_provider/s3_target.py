"""A file on its way into S3: sent in parts that are held in little memory, and shown when it is whole."""

from __future__ import annotations

import contextlib
import errno
import io
import mmap
import threading
from typing import Any

from magic_hour_provider.storage import is_there, taken

_PART = 5 * 1024 * 1024  # bytes; the least that S3 takes for all parts but the last
_SMALL = 1024 * 1024  # bytes of a part that every file may hold
_LARGE_PARTS = threading.BoundedSemaphore(3)  # larger ones, of all files of this process
_READ = 64 * 1024  # bytes


class _Part(io.RawIOBase):
    """A part that waits to be sent, and can be sent again.

    Its memory is a map of its own, given back when it is sent: the heap would keep some for each thread.

    botocore asks where a body stands before it reads it, and takes that for its start. s3fs repeats a call with a body
    that the try before has read to its end; what stands there starts over.
    """

    def __init__(self) -> None:
        super().__init__()
        self._memory = mmap.mmap(-1, _PART)
        self._at = 0
        self._was_read = False
        self.size = 0

    def fill(self, data: memoryview) -> int:
        """Take what there is room for; return how many bytes that was."""
        taken = min(len(data), _PART - self.size)
        self._memory[self.size : self.size + taken] = data[:taken]
        self.size += taken
        return taken

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read again."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return some of the next bytes: botocore would copy a MiB at a time, only to hash it."""
        end = self.size if size is None or size < 0 else min(self._at + min(size, _READ), self.size)
        data = self._memory[self._at : end]
        self._at = max(self._at, end)
        self._was_read = self._at == self.size
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go somewhere."""
        self._was_read = False
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        """Return where the next bytes come from."""
        return self.seek(0) if self._was_read else self._at

    def close(self) -> None:
        """Give the memory back."""
        super().close()
        self._memory.close()


class S3Target:
    """An object of S3, uploaded in parts of 5 MiB that wait in one buffer.

    s3fs's own files hold each part up to three times while it is sent. Of large files only a few have a part in memory
    at a time; the others wait for one of those to be sent.

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
        self._part = _Part()
        self._is_large = False

    def begin(self) -> None:
        """Begin an upload in parts."""
        self._upload = self._fs.call_s3("create_multipart_upload", **self._at, **self._kept_as)["UploadId"]

    def write(self, data: bytes, /) -> object:
        """Take the next bytes, and send a part when it is full."""
        left = memoryview(data)
        while left:
            if self._part.size >= _SMALL and not self._is_large:
                _LARGE_PARTS.acquire()
                self._is_large = True
            left = left[self._part.fill(left) :]
            if self._part.size == _PART:
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
                raise taken(self._path) from error
        self._upload = None
        self._empty()
        self._fs.invalidate_cache(self._path)

    def discard(self) -> None:
        """Abort the upload, so that nobody pays for its parts."""
        self._empty()
        self._parts = []
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
        self._empty()

    def _empty(self) -> None:
        self._part.close()
        self._part = _Part()
        if self._is_large:
            self._is_large = False
            _LARGE_PARTS.release()

    def _body(self) -> dict[str, Any]:
        # Given apart, so that a body which is not read from its start can only fail and never pass for an empty one.
        self._part.seek(0)
        return {"Body": self._part, "ContentLength": self._part.size}

    def _complete(self, condition: dict[str, str]) -> None:
        if self._upload is None:
            self._fs.call_s3("put_object", **self._body(), **self._at, **self._kept_as, **condition)
            return
        if self._part.size:
            self._send()
        parts = {"Parts": self._parts}
        self._fs.call_s3(
            "complete_multipart_upload", UploadId=self._upload, MultipartUpload=parts, **self._at, **condition
        )
