"""Streams input files to where Magic Hour takes them, in bounded memory; see :mod:`.downloads` for the way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import httpx

from magic_hour_provider.api.errors import TransferError
from magic_hour_provider.api.jobs import UploadLink

CHUNK = 1024 * 1024  # bytes held in memory at a time


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
