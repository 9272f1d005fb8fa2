"""Many files to Magic Hour: side by side, and each sent again whole when it fails. An upload costs nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from magic_hour_provider.api.clock import CLOCK, Clock
from magic_hour_provider.api.errors import InputChangedError, MagicHourError, RateLimitedError, TransferError
from magic_hour_provider.api.transport.streaming import Readable

if TYPE_CHECKING:
    from magic_hour_provider.api.client import MagicHourClient

AT_ONCE = 4
"""Files sent at the same time."""
PAUSES_S = (1.0, 3.0, 9.0)
"""Seconds between the tries of something that is free."""
_LONGEST_PAUSE_S = 30.0  # on the worker, whatever the service asks for

T = TypeVar("T")


@dataclass(frozen=True)
class UploadSource:
    """A file to upload.

    :param name: what people call it.
    :param kind: ``image``, ``video`` or ``audio``.
    :param extension: in lower case, without the dot.
    :param size: bytes.
    :param open: opens it at its start; called anew for each try.
    """

    name: str
    kind: str
    extension: str
    size: int
    open: Callable[[], AbstractContextManager[Readable]]


class _StoppedError(MagicHourError):
    """Another file has failed, so this one is not wanted any more."""


def retry(work: Callable[[], T], clock: Clock = CLOCK) -> T:
    """Do what costs nothing until it works, with a pause between the tries.

    :raises MagicHourError: another try cannot help, or none of four did.
    """
    for pause in PAUSES_S:
        try:
            return work()
        except MagicHourError as error:
            if not error.retryable or isinstance(error, InputChangedError):
                raise
            asked = error.retry_after if isinstance(error, RateLimitedError) else None
        clock.sleep(max(pause, min(asked or 0.0, _LONGEST_PAUSE_S)))
    return work()


def upload_all(client: MagicHourClient, sources: Sequence[UploadSource], clock: Clock = CLOCK) -> list[str]:
    """Upload files, four at a time; the links for all of them are asked for at once.

    The first file that fails for good ends it all: the others stop at their next piece.

    :returns: for each the reference to use in requests, valid for 7 days.
    :raises InputChangedError: a file has another size than its source says.
    :raises MagicHourError: a file could not be read or sent, or there are no links to be had.
    """
    if not sources:
        return []
    links = retry(lambda: client.create_upload_urls([(one.kind, one.extension) for one in sources]), clock)
    stop = threading.Event()
    pool = ThreadPoolExecutor(min(AT_ONCE, len(sources)), "magic-hour-upload")

    def send(source: UploadSource, number: int) -> str:
        first = [links[number]]

        def once() -> str:
            if stop.is_set():
                raise _StoppedError(f"{source.name}: the upload was stopped.")
            # A new link for each new try: the old one may have expired, or be used up by an upload whose answer
            # was lost.
            link = first.pop() if first else client.create_upload_urls([(source.kind, source.extension)])[0]
            with _opened(source) as file:
                client.upload_to(link, _Reading(file, source.name, stop), source.size, source.name)
            return link.file_path

        return retry(once, clock)

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
    """A file being uploaded.

    :param stop: set when it is not wanted any more.
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
        f"{name} could not be read to its end ({type(error).__name__}: {error}). No job was made and nothing was "
        "charged; a retry uploads it anew."
    )
