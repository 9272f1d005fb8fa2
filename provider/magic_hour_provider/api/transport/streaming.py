"""One upload: an open file streamed to its upload link, in bounded memory. Retries are in :mod:`.uploads`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import httpx

from magic_hour_provider.api.errors import Charge, InputChangedError, TransferError
from magic_hour_provider.api.models import UploadLink
from magic_hour_provider.api.transport.http import UNUSABLE_ADDRESS

_PIECE = 2 * 1024 * 1024  # bytes in memory at a time; an object store is asked once for each
_STILL_WRITTEN = "Something still writes to it: start the task when the file is complete."


class Readable(Protocol):
    """What an upload reads from: an open binary file, of any storage."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""


def _exactly(source: Readable, size: int, name: str) -> Iterator[bytes]:
    """Yield the whole file in pieces, but only if it has the size that was announced."""
    left = size
    while left:
        chunk = source.read(min(_PIECE, left))
        if not chunk:
            raise InputChangedError(
                f"{name} became shorter while it was uploaded: {size} bytes at first, then {size - left}.",
                charge=Charge.NONE,
                next_step=_STILL_WRITTEN,
            )
        left -= len(chunk)
        if not left and source.read(1):
            raise InputChangedError(
                f"{name} became longer while it was uploaded: it had {size} bytes at first.",
                charge=Charge.NONE,
                next_step=_STILL_WRITTEN,
            )
        yield chunk


def upload(http: httpx.Client, link: UploadLink, source: Readable, size: int, name: str = "An input file") -> None:
    """Send an open file to its upload link; costs nothing.

    :param http: a client without our key: the link carries its own permission.
    :param source: binary file, at its start.
    :param size: bytes in the file; storage services need the length before the first byte.
    :param name: what people call the file.
    :raises InputChangedError: the file has another size than ``size``.
    :raises TransferError: the service did not take the whole file.
    """
    try:
        # A redirect would ask for a body that is gone by then: it counts as refused, and a retry starts over.
        response = http.put(
            link.upload_url,
            content=_exactly(source, size, name),
            headers={"Content-Length": str(size)},
            follow_redirects=False,
        )
    except (httpx.RequestError, *UNUSABLE_ADDRESS) as error:
        raise TransferError(
            f"{name}: the upload broke off ({type(error).__name__}).",
            charge=Charge.NONE,
            next_step="A retry uploads it again.",
        ) from None
    if not response.is_success:
        too_large = response.status_code == 413
        refused = TransferError(
            f"{name}: Magic Hour's storage refused the upload (HTTP {response.status_code}"
            f"{', which means that the file is too large' if too_large else ''}).",
            charge=Charge.NONE,
            next_step="Make it smaller." if too_large else "A retry uploads it again.",
            status_code=response.status_code,
        )
        refused.retryable = not too_large
        raise refused
