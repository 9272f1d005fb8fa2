"""Any ``Range`` header of a stored file: the bytes that it names, all of them, or 416."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import StreamingResponse

from helpers.fuzz import assert_linear, fuzz, numbers, one_of_these, texts
from magic_hour_provider.plugin.media_tab.files import guard
from magic_hour_provider.plugin.media_tab.files.reader import MediaStorage
from magic_hour_provider.plugin.media_tab.files.response import (
    RangeNotSatisfiableError,
    parse_range,
    respond_with_file,
)
from magic_hour_provider.plugin.media_tab.files.roots import locate_file, parse_roots

PLACE = st.one_of(st.integers(0, 120), st.integers(0, 10**20), numbers, texts).map(str)
RANGE = st.one_of(
    st.builds("bytes={}-{}".format, PLACE, PLACE),
    st.builds("bytes={}-".format, PLACE),
    st.builds("bytes=-{}".format, PLACE),
    st.builds("{}={}-{}".format, one_of_these(["Bytes", "bytes ", "lines", ""]), PLACE, PLACE),
    st.builds("bytes={}-{},{}-{}".format, PLACE, PLACE, PLACE, PLACE),
    texts,
)
SIZE = st.one_of(st.integers(0, 100), st.integers(0, 2**62))


@fuzz(header=st.one_of(st.none(), RANGE), size=SIZE)
def test_any_range(header: str | None, size: int) -> None:
    """It is None, or a part of the file that is not empty."""
    try:
        part = parse_range(header, size)
    except RangeNotSatisfiableError:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


BODY = bytes(range(100))
HEADERS = st.fixed_dictionaries(
    {}, optional={"range": RANGE, "if-range": texts, "if-none-match": texts, "x-other": texts}
)


async def answer(headers: dict[str, str], method: str, folder: str) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the headers and the body of the response for the file."""
    sent = [(name.encode(), value.encode("utf-8", "replace")) for name, value in headers.items()]
    request = Request({"type": "http", "method": method, "headers": sent, "path": "/"})
    location = locate_file(f"{folder}/a.bin", parse_roots([folder]))
    response = await respond_with_file(request, MediaStorage(), location, download=False)
    body = b""
    if isinstance(response, StreamingResponse):
        async for chunk in response.body_iterator:
            body += chunk
    return response.status_code, dict(response.headers), body


@pytest.fixture(autouse=True, scope="module")
def patient() -> Iterator[None]:
    """A viewer who waits for a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "READ_TIMEOUT_S", 600)
        yield


@fuzz(few=50, headers=HEADERS, method=one_of_these(["GET", "HEAD"]))
def test_any_headers_of_a_request_for_a_file(headers: dict[str, str], method: str) -> None:
    """200 with the file, 206 with the bytes that the response says it has, 304, or 416 with the size."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.bin").write_bytes(BODY)
        status, found, body = asyncio.run(answer(headers, method, str(Path(folder).resolve())))
    assert status in (200, 206, 304, 416)
    start, end = 0, len(BODY)
    if status == 206:
        start, end = (int(place) for place in found["content-range"][len("bytes ") : -len("/100")].split("-"))
        end += 1
    elif status == 416:
        assert found["content-range"] == "bytes */100"
    if status in (200, 206):
        assert found["content-length"] == str(end - start)
        assert body == (BODY[start:end] if method == "GET" else b"")


@pytest.mark.parametrize("text", ["9", "-", "bytes=", "0-1,", " ", "\0"])
def test_a_header_of_any_size_is_linear_work(text):
    """Eight times as long a header is no more work in Python, and is the whole file."""
    assert_linear(lambda header: parse_range(header, 100), lambda n: f"bytes={text * n}-", 10_000)
    assert parse_range(f"bytes={text * 10_000}-", 100) is None
