"""Downloads of finished files: signed links sent byte for byte, resumed where they broke off, verified at the end."""

from __future__ import annotations

import codecs
import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, runtime_checkable
from urllib.parse import quote

import httpx

from magic_hour_provider import clock
from magic_hour_provider.api.errors import TransferError
from magic_hour_provider.api.models import Download
from magic_hour_provider.api.responses import retry_after
from magic_hour_provider.api.transport.checksums import expected_checksums
from magic_hour_provider.api.transport.http import UNUSABLE_ADDRESS, join_address
from magic_hour_provider.times import parse_time

log = logging.getLogger(__name__)

_MAX_FAULTS_IN_A_ROW = 5  # without a byte in between
_MAX_FAULTS = 20
_MAX_PAUSE_S = 30.0
_MAX_RETRY_AFTER_S = 120.0  # a worker does not wait longer
_MAX_REDIRECTS = 5
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
# Types of media, and those that storages give to bytes of which they know nothing.
_MEDIA = re.compile(
    r"(?:image|video|audio)/.*|application/(?:mp4|ogg|x-matroska)|[^/]*|(?:application|binary)/octet-stream"
)
_UNKNOWN = re.compile(r"application/(?:x-|force-)?(?:download|binary|unknown)")
_HEAD = 512  # bytes of a file's beginning that tell media from text
_TEXT_CONTROLS = b"\t\n\f\r\x1b"
_NO_FILE = "A download link gave a web page or a text where a media file was expected."
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


@runtime_checkable
class Sink(Protocol):
    """Where the bytes of a download go."""

    def write(self, data: bytes, /) -> object:
        """Write the next bytes."""

    def restart(self) -> None:
        """Drop what was written: the file starts over."""


class FileSink:
    """A download's sink that is an open binary file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes, /) -> object:
        """Write the next bytes."""
        return self._file.write(data)

    def restart(self) -> None:
        """Empty the file."""
        self._file.seek(0)
        self._file.truncate()


@dataclass(frozen=True)
class Received:
    """A file that was downloaded whole.

    :param size: bytes.
    :param sha256: checksum, in hexadecimal digits.
    :param content_type: as the server said, without parameters; empty if it did not say.
    """

    size: int
    sha256: str
    content_type: str


class _TransientError(Exception):
    """A fault that a retry may not meet again.

    :param wait: seconds the server asks us to wait, or None.
    """

    def __init__(self, what: str, *, wait: float | None = None, status_code: int | None = None) -> None:
        super().__init__(what)
        self.wait = wait
        self.status_code = status_code


class _LinkRejectedError(Exception):
    """The link does not give the file; another one may."""

    def __init__(self, what: str, *, status_code: int | None = None) -> None:
        super().__init__(what)
        self.status_code = status_code


def download(
    http: httpx.Client,
    link: Download,
    target: Sink | BinaryIO,
    *,
    on_start: Callable[[str, int | None], object] = lambda content_type, size: None,  # noqa: ARG005 (nobody wants to know)
    refresh_link: Callable[[Download], Download] | None = None,
) -> Received:
    """Download a finished file by its signed link, and check that it came whole.

    A transfer that breaks off is resumed where it broke off, where the storage can do that.

    :param http: a client without our key.
    :param target: where the bytes go; for an open binary file see :class:`FileSink`.
    :param on_start: called with the content type, and the size if it is known, before the first byte is written.
    :param refresh_link: returns another link for one that has expired or was rejected; None: there is none.
    :raises TransferError: the link was rejected, the retries are used up, or what came is no media file.
    """
    sink = target if isinstance(target, Sink) else FileSink(target)
    return _Transfer(http, link, sink, on_start, refresh_link).run()


class _Transfer:
    """One download over all its requests: the bytes received so far, and what the rest must match."""

    def __init__(
        self,
        http: httpx.Client,
        link: Download,
        sink: Sink,
        on_start: Callable[[str, int | None], object],
        refresh_link: Callable[[Download], Download] | None,
    ) -> None:
        self._http, self._link, self._sink = http, link, sink
        self._on_start: Callable[[str, int | None], object] | None = on_start
        self._refresh_link = refresh_link
        self._furthest = 0
        self._takes_ranges = True
        self._begin()

    def _begin(self) -> None:
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._total: int | None = None
        self._etag = ""
        self._content_type = ""
        self._head = b""
        self._expected: list[tuple[Any, bytes]] = []

    def _restart(self) -> None:
        if self._size:
            self._sink.restart()
        self._begin()

    def run(self) -> Received:
        """Download the file, with as many requests as it takes."""
        in_a_row = faults = refusals = 0
        if self._refresh_link is not None and expired(self._link, clock.current().now()):
            self._link = self._refresh_link(self._link)
        while True:
            try:
                return self._request_rest()
            except _LinkRejectedError as error:
                if self._size > self._furthest:
                    refusals = 0
                refusals, faults = refusals + 1, faults + 1
                if self._refresh_link is None or refusals > 1 or faults >= _MAX_FAULTS:
                    raise TransferError(f"{error}", status_code=error.status_code) from None
                self._link = self._refresh_link(self._link)
            except _TransientError as error:
                if self._size > self._furthest:
                    in_a_row = refusals = 0
                in_a_row, faults = in_a_row + 1, faults + 1
                pause = min(2.0 ** (in_a_row - 1), _MAX_PAUSE_S) if error.wait is None else error.wait
                if in_a_row >= _MAX_FAULTS_IN_A_ROW or faults >= _MAX_FAULTS or pause > _MAX_RETRY_AFTER_S:
                    raise TransferError(f"{error} ({faults} tries)", status_code=error.status_code) from None
                log.info("%s The download resumes in %g s.", error, pause)
                clock.current().sleep(pause)
            self._furthest = max(self._furthest, self._size)

    def _request_rest(self) -> Received:
        if self._size and not self._etag:
            self._restart()  # nothing would tell whether the rest belongs to what is here
        # From the start too: the answer to a range says how long the whole file is, whatever becomes of the rest.
        headers = {"Accept-Encoding": "identity"}
        if self._size or self._takes_ranges:
            headers["Range"] = f"bytes={self._size}-"
        if self._size:
            headers["If-Range"] = self._etag
        try:
            with self._open(headers) as response:
                if not self._is_complete(response):
                    self._read_head(response)
                    self._read_body(response)
        except (*UNUSABLE_ADDRESS, httpx.LocalProtocolError) as error:
            raise _LinkRejectedError(f"A download link cannot be used ({type(error).__name__}).") from None
        except httpx.RequestError as error:
            raise _TransientError(f"A download broke off after {self._size} bytes ({type(error).__name__}).") from None
        return self._verified()

    @contextmanager
    def _open(self, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        url = self._link.url
        for _ in range(_MAX_REDIRECTS + 1):
            request = self._http.build_request("GET", url, headers=headers)
            request.url = _ExactURL(url)
            response = self._http.send(request, stream=True, follow_redirects=False)
            try:
                if not response.has_redirect_location:
                    yield response
                    return
                url = join_address(url, response.headers["location"])
            finally:
                response.close()
        raise _LinkRejectedError("A download link led from one address to the next without an end.")

    def _is_complete(self, response: httpx.Response) -> bool:
        """Return whether there is nothing left to download; raise for a status that brings no bytes."""
        status = response.status_code
        if status in (200, 206):
            return False
        if status == 416:
            length = re.fullmatch(r"(?i)bytes\s+\*/(\d{1,18})", response.headers.get("content-range", ""))
            if length is not None and int(length[1]) == self._size:
                return True
            if self._size == 0:
                if not self._takes_ranges:
                    raise _LinkRejectedError("Magic Hour's storage refused a download (HTTP 416).", status_code=416)
                self._takes_ranges = False
                raise _TransientError("Magic Hour's storage takes no request for a part of a file.", wait=0.0)
            self._restart()
            raise _TransientError("A file changed while it was being downloaded.")
        what = f"Magic Hour's storage refused a download (HTTP {status})."
        if status in _TRANSIENT:
            raise _TransientError(what, wait=retry_after(response.headers), status_code=status)
        raise _LinkRejectedError(what, status_code=status)

    def _read_head(self, response: httpx.Response) -> None:
        headers = response.headers
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if not _MEDIA.fullmatch(content_type) and not _UNKNOWN.fullmatch(content_type):
            raise _LinkRejectedError(_NO_FILE)
        part = re.fullmatch(r"(?i)bytes\s+(\d{1,18})-\d+/(\d{1,18}|\*)", headers.get("content-range", ""))
        if response.status_code == 206:
            other = self._size and (headers.get("etag") or self._etag) != self._etag
            if part is None or int(part[1]) != self._size or other:
                self._restart()
                raise _TransientError("Magic Hour's storage answered with a part of a file that was not asked for.")
        if response.status_code == 200:
            self._restart()  # no ranges here, or another file by now
        if self._size == 0:
            self._etag = headers.get("etag", "") if not headers.get("etag", "").startswith("W/") else ""
            self._content_type = content_type
            self._expected = expected_checksums(headers)
        if "content-encoding" in headers and headers["content-encoding"] != "identity":
            self._etag, self._total, self._expected = "", None, []  # all of these are of the compressed bytes
        elif part is not None and response.status_code == 206:
            self._total = int(part[2]) if part[2] != "*" else None
        elif re.fullmatch(r"\d{1,18}", headers.get("content-length", "")):  # longer ones are no size
            self._total = int(headers["content-length"])

    def _read_body(self, response: httpx.Response) -> None:
        for chunk in _join_head(response.iter_bytes()):
            if self._size == 0:
                # Media never begin like that; pages and error texts do, whatever type they are sent as.
                if _is_page(chunk) or (len(chunk) >= _HEAD and _is_text(chunk[:_HEAD])):
                    raise _LinkRejectedError(_NO_FILE)
                if self._on_start is not None:
                    self._on_start(self._content_type, self._total)
                    self._on_start = None
            self._head += chunk[: _HEAD - len(self._head)]
            self._sink.write(chunk)
            self._sha256.update(chunk)
            for digest, _ in self._expected:
                digest.update(chunk)
            self._size += len(chunk)

    def _verified(self) -> Received:
        if self._size == 0:
            raise _LinkRejectedError("A download link gave an empty file.")
        if self._total is not None and self._size < self._total:
            raise _TransientError(f"A download ended after {self._size} of {self._total} bytes.")
        wrong = any(digest.digest() != wanted for digest, wanted in self._expected)
        if wrong or (self._total is not None and self._size > self._total):
            size = self._size
            self._restart()
            raise _TransientError(f"{size} bytes came that are not the file: its length or checksum is another.")
        if _is_text(self._head):  # a short one, or one whose beginning came in pieces
            self._restart()
            raise _LinkRejectedError(_NO_FILE)
        return Received(self._size, self._sha256.hexdigest(), self._content_type)


def _join_head(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks, the first ones joined until they tell media from text."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _HEAD:
            yield head
            break
    else:
        if head:
            yield head
    yield from chunks


def _is_page(head: bytes) -> bool:
    """Whether bytes begin as HTML and XML do, behind a byte order mark too."""
    return _without_mark(head).lstrip()[:1] == b"<"


def _is_text(head: bytes) -> bool:
    """Whether a file's first bytes are those of a text: the headers of all media have control characters."""
    head = _without_mark(head)
    return bool(head) and not any(byte < 0x20 and byte not in _TEXT_CONTROLS for byte in head)


def _without_mark(head: bytes) -> bytes:
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return head.decode("utf-16", "replace").encode("utf-8", "replace")
    return head.removeprefix(codecs.BOM_UTF8)


class _ExactURL(httpx.URL):
    """An address whose path and query are sent as they were given: httpx would rewrite some characters."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        after = re.sub(r"^[^:/?#]*://[^/?#]*", "", url.partition("#")[0])
        # What may not stand in a request at all is written as its UTF-8 bytes, as everybody does.
        self._exactly = quote(after if after.startswith("/") else f"/{after}", safe=_VISIBLE).encode("ascii")

    @property
    def raw_path(self) -> bytes:
        """Path and query, as the transport sends them."""
        return self._exactly


def expired(link: Download, now: float) -> bool:
    """Whether a link says that its time is over.

    :param now: seconds since 1970.
    """
    until = parse_time(link.expires_at)
    return until is not None and until <= now
