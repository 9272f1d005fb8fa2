"""Uploads of input files: several at a time, each retried as a whole. An upload costs nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from magic_hour_provider import clock
from magic_hour_provider.api.errors import (
    Charge,
    InputChangedError,
    MagicHourError,
    RateLimitedError,
    TransferError,
    describe_error,
)
from magic_hour_provider.api.models import UploadLink
from magic_hour_provider.api.transport.streaming import Readable

MAX_PARALLEL_UPLOADS = 4
"""Files that are uploaded at the same time."""
RETRY_DELAYS_S = (1.0, 3.0, 9.0)
"""Seconds before each retry of something that is free."""
_MAX_RETRY_AFTER_S = 30.0  # a worker does not wait longer, whatever the service asks for

_T = TypeVar("_T")


@dataclass(frozen=True)
class UploadSource:
    """A file to upload.

    :param name: what people call it.
    :param kind: ``image``, ``video`` or ``audio``.
    :param extension: in lower case, without the dot.
    :param size: bytes.
    :param open: opens it at its start; called once for each try.
    """

    name: str
    kind: str
    extension: str
    size: int
    open: Callable[[], AbstractContextManager[Readable]]


class UploadTransport(Protocol):
    """What uploads need of a client."""

    def create_upload_urls(self, items: Sequence[tuple[str, str]]) -> list[UploadLink]:
        """Return an upload link for each ``(type, extension)``."""

    def upload_to(self, link: UploadLink, source: Readable, size: int, name: str) -> None:
        """Send an open file of ``size`` bytes to an upload link, once."""


class _StoppedError(MagicHourError):
    """Another file has failed, so this one is not needed any more."""


def retry(work: Callable[[], _T]) -> _T:
    """Call what costs nothing, and again after a delay where it fails with an error that may pass.

    :param work: makes the free requests.
    :raises MagicHourError: a retry cannot help, or four tries failed.
    """
    for pause in RETRY_DELAYS_S:
        try:
            return work()
        except MagicHourError as error:
            if not error.retryable or isinstance(error, InputChangedError):
                raise
            asked = error.retry_after if isinstance(error, RateLimitedError) else None
        clock.current().sleep(max(pause, min(asked or 0.0, _MAX_RETRY_AFTER_S)))
    return work()


def upload_all(client: UploadTransport, sources: Sequence[UploadSource]) -> list[str]:
    """Upload files, four at a time; the links for all of them come by one request.

    The first file that fails for good ends all uploads: the others stop at their next piece.

    :returns: for each the reference to use in requests, valid for 7 days.
    :raises InputChangedError: a file has another size than its source says.
    :raises MagicHourError: a file could not be read or sent, or there are no upload links.
    """
    if not sources:
        return []
    links = retry(lambda: client.create_upload_urls([(one.kind, one.extension) for one in sources]))
    stop = threading.Event()
    pool = ThreadPoolExecutor(min(MAX_PARALLEL_UPLOADS, len(sources)), "magic-hour-upload")

    def send(source: UploadSource, number: int) -> str:
        first = [links[number]]

        def once() -> str:
            if stop.is_set():
                raise _StoppedError(f"{source.name}: the upload was stopped.")
            # Another link for each retry: the first one may have expired, or be used up by an upload whose response
            # was lost.
            link = first.pop() if first else client.create_upload_urls([(source.kind, source.extension)])[0]
            with _opened(source) as file:
                client.upload_to(link, _Reading(file, source.name, stop), source.size, source.name)
            return link.file_path

        return retry(once)

    try:
        futures = [pool.submit(send, source, number) for number, source in enumerate(sources)]
        for future in wait(futures, return_when=FIRST_EXCEPTION).done:
            future.result()
        return [future.result() for future in futures]
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _opened(source: UploadSource) -> AbstractContextManager[Readable]:
    try:
        return source.open()
    except Exception as error:
        raise _unreadable(source.name, error) from error


class _Reading:
    """A file being uploaded, which stops when another one has failed.

    :param stop: set when the file is not needed any more.
    """

    def __init__(self, file: Readable, name: str, stop: threading.Event) -> None:
        self._file, self._name, self._stop = file, name, stop

    def read(self, size: int, /) -> bytes:
        if self._stop.is_set():
            raise _StoppedError(f"{self._name}: the upload was stopped.")
        try:
            return self._file.read(size)
        except Exception as error:
            raise _unreadable(self._name, error) from error


def _unreadable(name: str, error: Exception) -> TransferError:
    # Each storage library has errors of its own, and all of them mean this.
    return TransferError(
        f"{name} could not be read to its end ({describe_error(error)}).",
        charge=Charge.NONE,
        next_step="A retry uploads it again.",
    )
