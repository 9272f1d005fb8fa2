"""Streams between HTTP and open binary files, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import httpx

from magic_hour_provider.api.errors import InputChangedError, TransferError
from magic_hour_provider.api.jobs import Download, UploadLink

CHUNK = 1024 * 1024  # bytes held in memory at a time
_PIECE = 2 * CHUNK  # of an upload; an object store is asked once for each
_NOTHING = "No job was made and nothing was charged."


@dataclass(frozen=True)
class Received:
    """A file that arrived whole.

    :param size: bytes.
    :param sha256: checksum, in hexadecimal digits.
    :param content_type: as the server said, without parameters; empty if it did not say.
    """

    size: int
    sha256: str
    content_type: str


class Readable(Protocol):
    """What an upload reads from: an open binary file, of any storage."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""


def _exactly(source: Readable, size: int, name: str) -> Iterator[bytes]:
    """Yield the whole file in pieces, but only if it has the size that the storage was told."""
    left = size
    while left:
        chunk = source.read(min(_PIECE, left))
        if not chunk:
            raise InputChangedError(
                f"{name} became shorter while it was uploaded: {size} bytes at first, then {size - left}. {_NOTHING} "
                "Something still writes to it: start the task when the file is complete."
            )
        left -= len(chunk)
        if not left and source.read(1):
            raise InputChangedError(
                f"{name} became longer while it was uploaded: it had {size} bytes at first. {_NOTHING} Something still "
                "writes to it: start the task when the file is complete."
            )
        yield chunk


def upload(http: httpx.Client, link: UploadLink, source: Readable, size: int, name: str = "An input file") -> None:
    """Send an open file to its upload link; costs nothing.

    :param http: a client without our key: the link carries its own permission.
    :param source: binary file, at its start.
    :param size: bytes in the file; storage services want the length before the first byte.
    :param name: what people call the file.
    :raises InputChangedError: the file has another size than was told.
    :raises TransferError: the service did not take the whole file.
    """
    try:
        # A redirect would ask for a body that is gone by then: it counts as refused, and the next try starts anew.
        response = http.put(
            link.upload_url,
            content=_exactly(source, size, name),
            headers={"Content-Length": str(size)},
            follow_redirects=False,
        )
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise TransferError(f"{name}: the upload broke off ({type(error).__name__}). {_NOTHING}") from None
    if not response.is_success:
        too_large = response.status_code == 413
        refused = TransferError(
            f"{name}: Magic Hour's storage refused the upload (HTTP {response.status_code}"
            f"{', which means that the file is too large' if too_large else ''}). {_NOTHING}",
            status_code=response.status_code,
        )
        refused.can_retry = not too_large
        raise refused


def download(http: httpx.Client, link: Download, target: BinaryIO) -> Received:
    """Write what a signed link gives into an open file, and check that it came whole.

    :param http: a client without our key.
    :param target: binary file, written from where it stands.
    :raises TransferError: the link was refused, the transfer broke off, or it gave an empty file or a web page.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with http.stream("GET", link.url) as response:
            if not response.is_success:
                raise TransferError(
                    f"Magic Hour's storage refused a download (HTTP {response.status_code}).",
                    status_code=response.status_code,
                )
            content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type == "text/html":
                raise TransferError("A download link gave a web page where a media file was expected.")
            for chunk in response.iter_bytes(CHUNK):
                target.write(chunk)
                digest.update(chunk)
                size += len(chunk)
    except httpx.RequestError as error:
        raise TransferError(f"A download broke off after {size} bytes ({type(error).__name__}).") from None
    if size == 0:
        raise TransferError("A download link gave an empty file.")
    return Received(size, digest.hexdigest(), content_type)
