"""Objects of S3, uploaded in parts from bounded memory, and completed only where the name is free."""

from __future__ import annotations

import contextlib
import errno
import io
import mmap
from typing import Any

from magic_hour_provider.storage.local import already_exists_error, exists

PART = 5 * 1024 * 1024  # bytes; the least that S3 takes for all parts but the last


class _Part(io.RawIOBase):
    """A part that waits to be sent, and can be sent again. Its memory is taken once and given back to the system.

    botocore asks where a body stands before it reads it, and takes that for its start. s3fs repeats a call with a body
    that the try before has read to its end; what stands there starts over.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, PART)  # the heap would keep what many threads free, and grow
        self._at = self.size = 0
        self._was_read = False

    def take(self, data: memoryview) -> int:
        """Add what there is room for; return how much that is."""
        taken = min(len(data), PART - self.size)
        self._memory[self.size : self.size + taken] = data[:taken]
        self.size += taken
        return taken

    def empty(self) -> None:
        """Begin the next part."""
        self._at = self.size = 0

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def seekable(self) -> bool:
        """Again and again."""
        return True

    def readinto(self, target: Any, /) -> int:
        """Hand out the next bytes."""
        stop = min(self._at + len(target), self.size)
        target[: stop - self._at] = self._memory[self._at : stop]
        given, self._at = stop - self._at, stop
        self._was_read = self._at == self.size
        return given

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go somewhere."""
        self._was_read = False
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def tell(self) -> int:
        """Return where the next bytes come from."""
        return self.seek(0) if self._was_read else self._at

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        super().close()


class S3Writer:
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
        self._part = _Part()

    def begin(self) -> None:
        """Begin an upload in parts."""
        self._upload = self._fs.call_s3("create_multipart_upload", **self._at, **self._kept_as)["UploadId"]

    def write(self, data: bytes, /) -> object:
        """Take the next bytes, and send a part when it is full."""
        left = memoryview(data)
        while left:
            left = left[self._part.take(left) :]
            if self._part.size == PART:
                self._send()
        return len(data)

    def seek(self, offset: int, /) -> object:
        """Go back to the start."""
        self._abort()
        return offset

    def truncate(self) -> object:
        """Nothing is left of what was written."""
        return 0

    def commit(self) -> None:
        """Complete the upload, on the condition that nobody has taken the name meanwhile."""
        try:
            self._complete({"IfNoneMatch": "*"})
        except OSError as error:
            if error.errno == errno.ENOSYS and not exists(self._fs, self._path):
                # Compatible stores that have no conditions: here only the look before tells.
                self._complete({})
            elif isinstance(error, FileExistsError) or not exists(self._fs, self._path):
                raise
            else:
                raise already_exists_error(self._path) from error
        self._upload = None
        self._part.close()
        self._fs.invalidate_cache(self._path)

    def abort(self) -> None:
        """Abort the upload, so that nobody pays for its parts."""
        self._abort()
        self._part.close()

    def _abort(self) -> None:
        self._part.empty()
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
        self._part.empty()

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
