"""Objects of S3, uploaded in parts from bounded memory, and completed only where the name is free."""

from __future__ import annotations

import contextlib
import errno
import io
import mmap
from typing import Any

from magic_hour_provider.storage.files import already_exists_error, exists

PART = 5 * 1024 * 1024
"""Bytes of a part: the least that S3 takes for all parts but the last."""


class _Part(io.RawIOBase):
    """A part that waits to be sent, and can be sent again. Its memory is taken once and given back to the system.

    botocore asks where a body stands before it reads it, and takes that for its start. s3fs repeats a call with a body
    that the try before has read to its end; what stands there starts over.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, PART)  # the heap would keep what many threads free, and grow
        self._at = self.size = 0
        self._was_read = False

    def append(self, data: memoryview) -> int:
        """Add what there is room for; return how many bytes that is."""
        added = min(len(data), PART - self.size)
        self._memory[self.size : self.size + added] = data[:added]
        self.size += added
        return added

    def clear(self) -> None:
        """Drop the bytes, for the next part."""
        self._at = self.size = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:
        stop = min(self._at + len(target), self.size)
        target[: stop - self._at] = self._memory[self._at : stop]
        count, self._at = stop - self._at, stop
        self._was_read = self._at == self.size
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._was_read = False
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def tell(self) -> int:
        return self.seek(0) if self._was_read else self._at

    def close(self) -> None:
        self._memory.close()
        super().close()


class S3Writer:
    """Writes an object of S3 in parts of 5 MiB that wait in one buffer.

    s3fs's own files hold each part up to three times while it is sent.

    :param fs: s3fs's file system.
    :param path: bucket and key.
    :param content_type: the object's ``Content-Type``.
    """

    def __init__(self, fs: Any, path: str, content_type: str = "") -> None:
        self._fs, self._path = fs, path
        self._metadata = {"ContentType": content_type} if content_type else {}
        bucket, key, _ = fs.split_path(path)
        self._address = {"Bucket": bucket, "Key": key}
        self._upload_id: str | None = None
        self._sent: list[dict[str, Any]] = []
        self._part = _Part()

    def write(self, data: bytes, /) -> object:
        """Buffer the next bytes, and send each part that is full."""
        left = memoryview(data)
        while left:
            left = left[self._part.append(left) :]
            if self._part.size == PART:
                self.send()
        return len(data)

    def send(self) -> None:
        """Send the bytes that are buffered as a part; writing does so by itself when one is full."""
        if self._upload_id is None:
            created = self._fs.call_s3("create_multipart_upload", **self._address, **self._metadata)
            self._upload_id = created["UploadId"]
        number = len(self._sent) + 1
        sent = self._fs.call_s3(
            "upload_part", PartNumber=number, UploadId=self._upload_id, **self._body(), **self._address
        )
        self._sent.append({"PartNumber": number, "ETag": sent["ETag"]})
        self._part.clear()

    def restart(self) -> None:
        """Drop the bytes and the parts that were sent."""
        self._part.clear()
        self._sent = []
        if self._upload_id is not None:
            upload_id, self._upload_id = self._upload_id, None
            with contextlib.suppress(OSError):
                self._fs.call_s3("abort_multipart_upload", UploadId=upload_id, **self._address)

    def commit(self) -> None:
        """Complete the upload, on the condition that nobody has taken the name meanwhile.

        :raises FileExistsError: the name is taken; nothing was changed.
        """
        # Compatible stores may have no conditions, and say so or not: there only this test of before tells.
        if exists(self._fs, self._path):
            raise already_exists_error(self._path)
        try:
            self._complete({"IfNoneMatch": "*"})
        except OSError as error:
            if error.errno == errno.ENOSYS:
                self._complete({})
            elif isinstance(error, FileExistsError) or not exists(self._fs, self._path):
                raise
            else:
                raise already_exists_error(self._path) from error
        self._upload_id = None
        self._part.close()
        self._fs.invalidate_cache(self._path)

    def abort(self) -> None:
        """Abort the upload, so that nobody pays for its parts."""
        self.restart()
        self._part.close()

    def _body(self) -> dict[str, Any]:
        # The length is given apart, so that a body which is not read from its start can only fail and never pass for
        # an empty one.
        self._part.seek(0)
        return {"Body": self._part, "ContentLength": self._part.size}

    def _complete(self, condition: dict[str, str]) -> None:
        if self._upload_id is None:
            self._fs.call_s3("put_object", **self._body(), **self._address, **self._metadata, **condition)
            return
        if self._part.size:
            self.send()
        parts = {"Parts": self._sent}
        self._fs.call_s3(
            "complete_multipart_upload",
            UploadId=self._upload_id,
            MultipartUpload=parts,
            **self._address,
            **condition,
        )
