"""The HTTP response with a stored file: byte ranges for seeking, media types from a fixed list."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from email.utils import formatdate
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from magic_hour_provider.plugin.media_tab.files.media_types import SIGNATURE_SIZE
from magic_hour_provider.plugin.media_tab.files.reader import FileInfo, FileReader, MediaStorage
from magic_hour_provider.plugin.media_tab.files.roots import FileLocation

_T = TypeVar("_T")

READ_SIZE = 512 * 1024
"""Bytes read at a time."""

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_HEADERS = {
    "accept-ranges": "bytes",
    "cache-control": "private, no-cache",  # cached by the browser, and revalidated: the viewer may have changed
    "content-encoding": "identity",  # or Airflow's API server would compress what is compressed already
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class RangeNotSatisfiableError(Exception):
    """The requested range is outside the file."""


class ViewerLeftError(Exception):
    """Nobody waits for the response any more."""


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last of a ``Range`` header; None: the whole file.

    Several ranges at once, numbers beyond any file, and anything but a byte range, are ignored (RFC 9110, 14.2 allows
    it).

    :param size: of the file, in bytes.
    :raises RangeNotSatisfiableError: the range has no byte of the file.
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
        raise RangeNotSatisfiableError
    return start, end


async def respond_with_file(
    request: Request, storage: MediaStorage, location: FileLocation, *, download: bool
) -> Response:
    """Return the response to a GET or HEAD for a file.

    :param download: as an attachment, whatever it is.
    :raises FileNotShownError: it cannot be read.
    """
    is_whole = request.method == "GET" and not {"range", "if-none-match"} & set(request.headers)
    reader = await storage.open(location, READ_SIZE if is_whole else SIGNATURE_SIZE)
    streamed = False
    try:
        info = reader.info
        headers = _HEADERS | {"etag": f'"{info.etag}"', "content-disposition": _disposition(location, info, download)}
        if info.modified is not None:
            headers["last-modified"] = formatdate(info.modified, usegmt=True)
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        range_header = request.headers.get("range")
        if request.headers.get("if-range") not in (None, headers["etag"], headers.get("last-modified")):
            range_header = None  # another file by now: all of it
        try:
            part = parse_range(range_header, info.size)
        except RangeNotSatisfiableError:
            return Response(status_code=416, headers=headers | {"content-range": f"bytes */{info.size}"})
        start, end = part or (0, info.size)
        headers["content-length"] = str(end - start)
        if part:
            headers["content-range"] = f"bytes {start}-{end - 1}/{info.size}"
        status, content_type = 206 if part else 200, info.content_type or "application/octet-stream"
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers | {"content-type": content_type})
        streamed = True
        return StreamingResponse(_stream(reader, start, end), status, headers, content_type)
    finally:
        if not streamed:
            reader.close()


def _disposition(location: FileLocation, info: FileInfo, download: bool) -> str:
    disposition = "attachment" if download or info.content_type is None else "inline"
    return f"{disposition}; filename*=utf-8''{quote(location.name.encode(errors='replace'), safe='')}"


async def _stream(reader: FileReader, start: int, end: int) -> AsyncIterator[bytes]:
    begin = start
    try:
        while start < end:
            stop = min(start + READ_SIZE, end)
            chunk = await reader.read(start, stop)
            if len(chunk) != stop - start:
                raise OSError("The file became shorter while it was being sent.")
            if stop == end and start != begin:
                await reader.check_unchanged()
            start = stop
            yield chunk
    finally:
        reader.close()


async def while_connected(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """Wait for something as long as the viewer does, and cancel it when he leaves.

    :raises ViewerLeftError: he has left.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ViewerLeftError
    finally:
        working.cancel()
        leaving.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
