"""Links given as inputs: those of this machine are fetched, counted and thrown away, where the behavior says so."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, unquote, urlsplit

from magic_hour_provider.api.catalog import EXTENSIONS, Tool
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.jobs.facts import values_at

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
_SILENCE_S = 10.0
_MOST_S = 120.0  # for one file
_PIECE = 1024 * 1024


class InputLinks:
    """What came of the links of all requests. Threads share it.

    :param behavior: whether links are fetched.
    :param limit: the largest file, in bytes.
    """

    def __init__(self, behavior: Behavior, limit: int) -> None:
        self.is_fetching = behavior.input_links == "fetched"
        self._limit = limit
        self._lock = threading.Lock()
        self._missing: set[str] = set()
        self._counts = {"fetched": 0, "failed": 0, "bytes": 0}

    def fetch(self, tool: Tool, request: object) -> None:
        """Fetch the links of a request that are of this machine, each to its end."""
        for field in tool.files:
            extensions = [one for kind in field.accepts for one in EXTENSIONS[kind]]
            for value in values_at(request, field.field):
                if isinstance(value, str) and is_fetchable(value):
                    self._note(value, *self._fetch(value, extensions))

    def _note(self, url: str, size: int, is_whole: bool) -> None:
        with self._lock:
            self._counts["fetched" if is_whole else "failed"] += 1
            self._counts["bytes"] += size
            (self._missing.discard if is_whole else self._missing.add)(url)

    def _fetch(self, url: str, extensions: Iterable[str]) -> tuple[int, bool]:
        """Return how many bytes came, and whether that is a file that the field takes."""
        parts = urlsplit(url)
        if unquote(parts.path).rpartition(".")[2].lower() not in extensions:
            return 0, False
        size, until = 0, time.monotonic() + _MOST_S
        try:
            with closing(_connect(parts)) as connection:
                connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
                response = connection.getresponse()
                expected = response.length
                while response.status == 200 and (piece := response.read(_PIECE)):
                    size += len(piece)
                    if size > self._limit or time.monotonic() > until:
                        return size, False
        except (OSError, HTTPException):
            return size, False
        return size, size > 0 and expected in (None, size)

    def is_missing(self, url: str) -> bool:
        """Whether a link was fetched in vain."""
        with self._lock:
            return url in self._missing

    def stats(self) -> dict[str, int]:
        """Return how many links were fetched, how many in vain, and the bytes that came."""
        with self._lock:
            return dict(self._counts)


def _connect(parts: SplitResult) -> HTTPConnection:
    """Return a connection: nothing of it is logged, no proxy is asked, and no redirect leads to somewhere else."""
    if parts.scheme == "https":
        context = ssl._create_unverified_context()  # noqa: S323 (of this machine)
        return HTTPSConnection(parts.netloc, timeout=_SILENCE_S, context=context)
    return HTTPConnection(parts.netloc, timeout=_SILENCE_S)


def is_fetchable(url: str) -> bool:
    """Whether a link is of this machine, and of no file that the simulator itself has made."""
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and parts.hostname in _THIS_MACHINE
            and not parts.path.startswith(("/_files/", "/v1/"))
        )
    except ValueError:
        return False
