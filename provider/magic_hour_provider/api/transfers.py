"""Streams between HTTP and open binary files, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import httpx

from magic_hour_provider.api.errors import TransferError
from magic_hour_provider.api.jobs import Download, UploadLink

CHUNK = 1024 * 1024  # bytes held in memory at a time


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


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk


def upload(http: httpx.Client, link: UploadLink, source: BinaryIO, size: int) -> None:
    """Send an open file to its upload link; costs nothing.

    :param http: a client without our key: the link carries its own permission.
    :param source: binary file, at its start.
    :param size: bytes in the file; storage services want the length before the first byte.
    :raises TransferError: the service did not take the whole file.
    """
    try:
        response = http.put(link.upload_url, content=_chunks(source), headers={"Content-Length": str(size)})
    except httpx.RequestError as error:
        raise TransferError(
            f"The upload of an input file broke off ({type(error).__name__}). No job was made and nothing was charged."
        ) from None
    if not response.is_success:
        raise TransferError(
            f"Magic Hour's storage refused an input file (HTTP {response.status_code}). "
            "No job was made and nothing was charged.",
            status_code=response.status_code,
        )


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
