"""Streams a stored file to a browser: byte ranges, media types from a fixed list, all reading in threads."""

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

from magic_hour_provider.api.redaction import redact
from magic_hour_provider.plugin.media_tab.media_types import HEAD, sniff_served_type
from magic_hour_provider.plugin.media_tab.roots import FileLocation, FileNotShownError
from magic_hour_provider.storage.paths import open_path

log = logging.getLogger(__name__)

READ_SIZE = 512 * 1024
"""Bytes read at a time."""

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
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


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last of a ``Range`` header; None: the whole file.

    Several ranges at once, and anything but a byte range, are ignored (RFC 9110, 14.2 allows it).

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


@dataclass
class StoredFileReader:
    """A stored file, open for reading.

    :param file: the file system's file object.
    :param size: bytes.
    :param modified: seconds since 1970, or None.
    :param etag: changes with the file.
    :param content_type: for showing it in the page; None: for download only.
    """

    file: Any
    size: int
    modified: float | None
    etag: str
    content_type: str | None


def open_stored_file(location: FileLocation) -> StoredFileReader:
    """Open a file with the connection of its root. Blocks: not for an event loop.

    :raises FileNotShownError: it is not there, is no to_safe_json file, or was moved out of its root meanwhile.
    """
    root = open_path(location.root.uri)
    try:
        info = root.fs.info(location.path)
        if info.get("type") != "file" or info.get("size") is None:
            raise FileNotFoundError(location.path)
        if location.root.is_local and not stat.S_ISREG(os.lstat(location.path).st_mode):
            raise FileNotFoundError(location.path)
        file = root.fs.open(location.path, "rb", block_size=READ_SIZE)
    except FileNotFoundError:
        raise FileNotShownError(location.missing_message, 404) from None
    except Exception as error:  # each storage library has errors of its own
        log.warning(
            "The stored file %s cannot be read (%s: %s).", location.path, type(error).__name__, redact(str(error))
        )
        raise FileNotShownError(
            f"The storage of this file does not answer ({type(error).__name__}). Its connection is the one that "
            "[magic_hour] media_roots names; the API server's log says more.",
            502,
        ) from error
    try:
        if location.root.is_local and not _is_unchanged(file, location.path):
            raise FileNotShownError("This file is not shown: it was moved while it was opened.", 404)
        head = file.read(HEAD)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    modified = info.get("mtime") or info.get("LastModified") or info.get("updated") or info.get("last_modified")
    if hasattr(modified, "timestamp"):
        modified = modified.timestamp()
    return StoredFileReader(
        file,
        int(info["size"]),
        float(modified) if isinstance(modified, int | float) else None,
        hashlib.sha256(repr(sorted(info.items(), key=str)).encode()).hexdigest()[:32],
        sniff_served_type(location.name, head),
    )


def _is_unchanged(file: Any, path: str) -> bool:
    """Whether a path still leads to the open file: no symbolic link was put into it meanwhile."""
    try:
        current, opened = os.lstat(path), os.fstat(file.fileno())
    except OSError:
        return False
    return os.path.realpath(path) == path and (current.st_dev, current.st_ino) == (opened.st_dev, opened.st_ino)


async def respond_with_file(request: Request, location: FileLocation, *, download: bool) -> Response:
    """Return the response to a GET or HEAD for a file.

    :param download: as an attachment, whatever it is.
    :raises FileNotShownError: it cannot be read.
    """
    opened = await to_thread.run_sync(open_stored_file, location)
    try:
        headers = _HEADERS | {
            "etag": f'"{opened.etag}"',
            "content-disposition": _disposition(location, opened, download),
        }
        if opened.modified is not None:
            headers["last-modified"] = formatdate(opened.modified, usegmt=True)
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return _without_body(opened, 304, headers)
        range_header = request.headers.get("range")
        if request.headers.get("if-range") not in (None, headers["etag"], headers.get("last-modified")):
            range_header = None  # another file by now: all of it
        try:
            part = parse_range(range_header, opened.size)
        except RangeNotSatisfiableError:
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
    return StreamingResponse(_stream(opened.file, start, end), status, headers, kind)


def _without_body(opened: StoredFileReader, status: int, headers: dict[str, str]) -> Response:
    opened.file.close()
    return Response(status_code=status, headers=headers)


def _disposition(location: FileLocation, opened: StoredFileReader, download: bool) -> str:
    disposition = "attachment" if download or opened.content_type is None else "inline"
    return f"{disposition}; filename*=utf-8''{quote(location.name, safe='')}"


async def _stream(file: Any, start: int, end: int) -> AsyncIterator[bytes]:
    try:
        await to_thread.run_sync(file.seek, start)
        while start < end:
            chunk = await to_thread.run_sync(file.read, min(READ_SIZE, end - start))
            if not chunk:
                raise OSError("The file became shorter while it was being sent.")
            start += len(chunk)
            yield chunk
    finally:
        file.close()
