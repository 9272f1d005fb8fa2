"""Any bytes on the wire, any link, any answer of a storage: an error of ours, and never a second paid request."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest
from hypothesis import strategies as st

from helpers.clocks import MovableTime
from helpers.fuzz import fuzz, one_of_these, texts
from helpers.samples import KEY
from magic_hour_provider import clock
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import ConnectionFailedError, MagicHourError, SubmissionUnknownError
from magic_hour_provider.api.models import Download, UploadLink


class Listener:
    """Answers each connection on loopback with the same bytes, and counts the requests."""

    def __init__(self) -> None:
        self.reply, self.requests = b"", 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, suppress(OSError):  # of a client that has had enough
                data = connection.recv(65536)
                while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
                    data += more
                self.requests += data.startswith(b"POST /v1/ai-image-generator ")
                connection.sendall(self.reply)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


LISTENER: list[Listener] = []


@pytest.fixture(autouse=True, scope="module")
def listener() -> Iterator[None]:
    """One server for all examples."""
    LISTENER.append(Listener())
    yield
    LISTENER.pop().close()


LINE = one_of_these(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 201 x",
        b"HTTP/1.1 302 x",
        b"HTTP/1.1 429",
        b"HTTP/1.1 999 x",
        b"HTTP/9 200",
        b"\xff",
    ]
)
HEADER = one_of_these(
    [
        b"Content-Type: application/json",
        b"Content-Encoding: gzip",
        b"Content-Encoding: deflate, br, zstd",
        b"Transfer-Encoding: chunked",
        b"Content-Length: 5",
        b"Content-Length: " + b"9" * 5000,
        b"Content-Length: -1",
        b"Location: http://[",
        b"Location: http://a..b/\xff",
        b"Location: //\xe2\x84\x80.x/",
        b"Retry-After: Mon, 1 Jan 99999999999 00:00:00 GMT",
        b"Set-Cookie: \xff=\x01; Max-Age=" + b"9" * 5000,
        b"no colon",
        b"X: " + b"x" * 70_000,
    ]
)
PAYLOAD = st.one_of(
    one_of_these([b'{"id": "cmabc123"}', b'12\r\n{"id": "cmabc123"}\r\n0\r\n\r\n', b""]), st.binary(max_size=30)
)
REPLY = st.one_of(
    st.builds(
        lambda line, headers, body: b"\r\n".join([line, *headers, b"", body]),
        LINE,
        st.lists(HEADER, max_size=3),
        PAYLOAD,
    ),
    st.binary(max_size=40),
)


@fuzz(few=50, reply=REPLY)
def test_any_bytes_on_the_wire(reply: bytes) -> None:
    """A create is sent once, whatever comes back, and only a whole rejection says that nothing was charged."""
    (server,) = LISTENER
    server.reply, server.requests = reply, 0
    with MagicHourClient(api_key=KEY, base_url=server.address, timeout=20) as client:
        try:
            made = client.create("ai-image-generator", {"style": {"prompt": "a cat"}})
        except SubmissionUnknownError as error:
            str(error).encode()
        except MagicHourError as error:
            assert not isinstance(error, ConnectionFailedError)
            assert error.status_code is not None and 300 <= error.status_code < 500
        else:
            assert made.id == "cmabc123"
        assert server.requests == 1
        try:
            client.get_account()
        except MagicHourError as error:
            str(error).encode()


HOST = st.one_of(
    one_of_these(
        ["a..b", "127.0.0.1:99999", "[::1", "x" * 70 + ".example", "a" * 300, "u:p@a..b", "٣.example", ".", "-"]
    ),
    texts,
)
LINK = st.one_of(
    st.builds("{}{}/{}".format, one_of_these(["http://", "https://", "//", "ftp://", ""]), HOST, texts),
    texts,
)


def no_address(host: Any, *args: object, **kwargs: object) -> Any:
    """Take a name as Python's own function does, and find no machine."""
    (host.encode("idna") if isinstance(host, str) else host).decode()
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def clean(link: str) -> str:
    """Return a link as it can stand in an answer that was read."""
    return link.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


@contextmanager
def without_names() -> Iterator[None]:
    """Ask no name server, and let no time pass."""
    with pytest.MonkeyPatch.context() as patch, clock.override(clock.SimulatedClock(MovableTime())):
        patch.setattr(socket, "getaddrinfo", no_address)
        yield


@fuzz(few=50, link=LINK.map(clean))
def test_any_link(link: str) -> None:
    """A link that leads nowhere fails its upload and its download; its text is not said."""
    with without_names(), MagicHourClient(api_key=KEY, timeout=5) as client:
        with pytest.raises(MagicHourError):
            client.upload_to(UploadLink(link, "api-assets/a.png"), io.BytesIO(b"x"), 1)
        with pytest.raises(MagicHourError):
            client.download(Download(link), io.BytesIO())


VALUE = st.one_of(
    one_of_these(
        [
            "image/png",
            "bytes 0-2/3",
            "bytes */3",
            "bytes " + "9" * 5000 + "-1/1",
            "bytes */" + "9" * 5000,
            '"one"',
            "W/",
            "sha-256=:AAAA:",
            "md5=x,crc32c=!!",
            "gzip",
            "3",
            "9" * 5000,
            "http://a..b/",
            "//[",
            "//\u2100.x/",
            "http://host.example/",
            "Mon, 1 Jan 99999999999 00:00:00 GMT",
        ]
    ),
    texts,
)
NAMES = ("content-type", "content-range", "etag", "location", "retry-after", "x-goog-hash", "x-amz-checksum-sha256")
NAMES += ("content-md5", "digest", "content-encoding", "content-length")
ANSWER = st.tuples(
    st.sampled_from([200, 206, 302, 307, 403, 404, 416, 429, 503]),
    st.fixed_dictionaries({}, optional={name: VALUE.map(clean) for name in NAMES}),
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"abc", b"", b"\x1f\x8b"]),
)


@fuzz(answers=st.lists(ANSWER, min_size=1, max_size=4))
def test_any_answer_of_a_storage(answers: list[tuple[int, dict[str, str], bytes]]) -> None:
    """A download ends with a whole file or with an error of ours, after a bounded number of requests."""
    sent = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        status, headers, body = answers[sent % len(answers)]
        sent += 1
        given = [(name.encode(), value.encode()) for name, value in headers.items()]
        return httpx.Response(status, headers=given, stream=httpx.ByteStream(body))

    with without_names(), MagicHourClient(api_key=KEY, transport=httpx.MockTransport(answer)) as client:
        file = io.BytesIO()
        try:
            received = client.download(Download("https://files.example/a.png"), file, refresh_link=lambda link: link)
        except MagicHourError as error:
            str(error).encode()
        else:
            assert received.size == len(file.getvalue())
    assert sent <= 200
