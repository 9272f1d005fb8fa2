"""Objects of S3, read from their beginning to their end in one stream.

s3fs's own files ask the store once for every piece that is read, or keep 50 MiB ahead of it in memory.
"""

from __future__ import annotations

from typing import Any, Self

_PIECE = 1024 * 1024  # bytes returned at a time


class S3Reader:
    """An S3 object open for reading, with one request. Use it as a context manager.

    :param fs: s3fs's file system.
    :param path: bucket and key, with the version if there is one.
    :param limit: how many bytes are asked for; None: all of it.
    :raises OSError: as s3fs has it, when the object is not there or may not be read.
    """

    def __init__(self, fs: Any, path: str, limit: int | None = None) -> None:
        bucket, key, version = fs.split_path(path)
        wanted = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}
        if limit is not None:
            wanted["Range"] = f"bytes=0-{limit - 1}"
        self._loop = fs.loop
        self._body = fs.call_s3("get_object", **wanted, **fs.req_kw)["Body"]

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most ``size`` and at most a MiB; none at the end."""
        from fsspec.asyn import sync

        piece: bytes = sync(self._loop, self._read, min(size, _PIECE))
        return piece

    async def _read(self, size: int) -> bytes:
        # What has arrived by now may be a few KiB, and going from thread to thread for each costs more than reading.
        piece = bytearray()
        while len(piece) < size and (part := await self._body.read(size - len(piece))):
            piece += part
        return bytes(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._body.close()
