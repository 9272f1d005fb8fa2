"""Streams a stored file to a browser: ranges for seeking, types from a fixed list, never from the event loop's time."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from magic_hour_provider.api.errors import redact
from magic_hour_provider.plugin.media_tab.media_types import HEAD, served_type
from magic_hour_provider.plugin.media_tab.roots import Place, RefusedError
from magic_hour_provider.storage.paths import open_path

log = logging.getLogger(__name__)

CHUNK = 512 * 1024
"""Bytes read at a time."""

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_HEADERS = {
    "accept-ranges": "bytes",
    "cache-control": "private, no-cache",  # kept by the browser, and asked for again: who looks may have changed
    "content-encoding": "identity",  # Airflow's API server would compress what is compressed already
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class RangeError(Exception):
    """The range lies outside the file."""


def wanted_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last that a ``Range`` header asks for; None: the whole file.

    Several ranges at once, and anything that is no byte range, count as no range (RFC 9110, 14.2 allows it).

    :param size: of the file, in bytes.
    :raises RangeError: no byte of the file is asked for.
    """
    match = _RANGE.fullmatch(header.strip().lower()) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise RangeError
    return start, end


@dataclass
class OpenFile:
    """A stored file, open for reading.

    :param file: what the file system gave.
    :param size: bytes.
    :param modified: seconds since 1970, or None.
    :param tag: changes when the file does.
    :param content_type: for showing it in place; None: for download only.
    """

    file: Any
    size: int
    modified: float | None
    tag: str
    content_type: str | None


def open_file(place: Place) -> OpenFile:
    """Open a file with the connection of its root. Slow: not for an event loop.

    :raises RefusedError: it is not there, is no plain file, or was moved out of its root meanwhile.
    """
    root = open_path(place.root.uri)
    try:
        info = root.fs.info(place.path)
        if info.get("type") != "file" or info.get("size") is None:
            raise FileNotFoundError(place.path)
        if place.root.is_local and not stat.S_ISREG(os.lstat(place.path).st_mode):
            raise FileNotFoundError(place.path)
        file = root.fs.open(place.path, "rb", block_size=CHUNK)
    except FileNotFoundError:
        raise RefusedError(place.missing, 404) from None
    except Exception as error:  # each storage library has errors of its own
        log.warning("The stored file %s cannot be read (%s: %s).", place.path, type(error).__name__, redact(str(error)))
        raise RefusedError(
            f"The storage of this file does not answer ({type(error).__name__}). Its connection is the one that "
            "[magic_hour] media_roots names; the API server's log says more.",
            502,
        ) from error
    try:
        if place.root.is_local and not _is_still(file, place.path):
            raise RefusedError("This file is not shown: it was moved while it was opened.", 404)
        head = file.read(HEAD)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    modified = info.get("mtime") or info.get("LastModified") or info.get("updated") or info.get("last_modified")
    if hasattr(modified, "timestamp"):
        modified = modified.timestamp()
    return OpenFile(
        file,
        int(info["size"]),
        float(modified) if isinstance(modified, int | float) else None,
        hashlib.sha256(repr(sorted(info.items(), key=str)).encode()).hexdigest()[:32],
        served_type(place.name, head),
    )


def _is_still(file: Any, path: str) -> bool:
    """Whether an open file is what its resolved path names now: no link was put into the path meanwhile."""
    try:
        there, opened = os.lstat(path), os.fstat(file.fileno())
    except OSError:
        return False
    return os.path.realpath(path) == path and (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)


async def respond(request: Request, place: Place, *, download: bool) -> Response:
    """Answer a GET or HEAD for a file.

    :param download: as an attachment, whatever it is.
    :raises RefusedError: it cannot be read.
    """
    opened = await to_thread.run_sync(open_file, place)
    try:
        headers = _HEADERS | {"etag": f'"{opened.tag}"', "content-disposition": _disposition(place, opened, download)}
        if opened.modified is not None:
            headers["last-modified"] = formatdate(opened.modified, usegmt=True)
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return _without_body(opened, 304, headers)
        asked = request.headers.get("range")
        if request.headers.get("if-range") not in (None, headers["etag"], headers.get("last-modified")):
            asked = None  # another file by now: the whole of it
        try:
            part = wanted_range(asked, opened.size)
        except RangeError:
            return _without_body(opened, 416, headers | {"content-range": f"bytes */{opened.size}"})
        start, end = part or (0, opened.size)
        headers["content-length"] = str(end - start)
        if part:
            headers["content-range"] = f"bytes {start}-{end - 1}/{opened.size}"
        status, kind = 206 if part else 200, opened.content_type or "application/octet-stream"
        if request.method == "HEAD":
            return _without_body(opened, status, headers | {"content-type": kind})
    except BaseException:
        opened.file.close()
        raise
    return StreamingResponse(_pieces(opened.file, start, end), status, headers, kind)


def _without_body(opened: OpenFile, status: int, headers: dict[str, str]) -> Response:
    opened.file.close()
    return Response(status_code=status, headers=headers)


def _disposition(place: Place, opened: OpenFile, download: bool) -> str:
    how = "attachment" if download or opened.content_type is None else "inline"
    return f"{how}; filename*=utf-8''{quote(place.name, safe='')}"


async def _pieces(file: Any, start: int, end: int) -> AsyncIterator[bytes]:
    try:
        await to_thread.run_sync(file.seek, start)
        while start < end:
            piece = await to_thread.run_sync(file.read, min(CHUNK, end - start))
            if not piece:
                raise OSError("The file became shorter while it was sent.")
            start += len(piece)
            yield piece
    finally:
        file.close()
