"""What becomes of each answer that a download can get, and the bytes that are sent for it."""

from __future__ import annotations

import base64
import hashlib
import io
import socket
import threading
from contextlib import contextmanager

import httpx
import pytest

from helpers.clocks import MovableTime, set_clock
from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import TransferError
from magic_hour_provider.api.models import Download
from magic_hour_provider.api.transport.downloads import expired
from magic_hour_provider.clock import SimulatedClock

FILE = bytes(range(256)) * 40
LINK = Download("https://s.example/a.png?signature=secret")


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time that waiting moves."""
    set_clock(monkeypatch, clock := SimulatedClock(MovableTime()))
    return clock


def answers(*given):
    """Return a client that gets these answers in turn, and the requests that it has sent."""
    left, sent = list(given), []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        one = left.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    return MagicHourClient(api_key=KEY, transport=httpx.MockTransport(answer)), sent


def part(start: int, stop: int | None = None, etag: str = '"one"', **headers: str) -> httpx.Response:
    """Return an answer to a range, cut off at ``stop``."""
    given = {
        "content-type": "image/png",
        "etag": etag,
        "content-range": f"bytes {start}-{len(FILE) - 1}/{len(FILE)}",
    }
    return httpx.Response(206, content=FILE[start:stop], headers=given | headers)


def whole(**headers: str) -> httpx.Response:
    """Return the whole file, from a server without ranges."""
    return httpx.Response(200, content=FILE, headers={"content-type": "image/png"} | headers)


def fetched(client, **options) -> bytes:
    """Download the file."""
    target = io.BytesIO()
    received = client.download(LINK, target, **options)
    assert received.sha256 == hashlib.sha256(target.getvalue()).hexdigest()
    return target.getvalue()


RESUMED = [
    # what comes, and the ranges that are asked for
    ("in one piece", [part(0)], ["bytes=0-"]),
    ("no ranges", [whole()], ["bytes=0-"]),
    ("cut and resumed", [part(0, 100), part(100)], ["bytes=0-", "bytes=100-"]),
    ("cut twice", [part(0, 100), part(100, 300), part(300)], ["bytes=0-", "bytes=100-", "bytes=300-"]),
    ("no ETag to resume with", [part(0, 100, etag=""), part(0)], ["bytes=0-", "bytes=0-"]),
    ("a weak ETag", [part(0, 100, etag='W/"one"'), part(0)], ["bytes=0-", "bytes=0-"]),
    ("changed meanwhile: all of it", [part(0, 100), whole()], ["bytes=0-", "bytes=100-"]),
    (
        "changed meanwhile: If-Range ignored",
        [part(0, 100), part(100, etag='"two"'), part(0)],
        ["bytes=0-", "bytes=100-"],
    ),
    ("the wrong part", [part(0, 100), part(50), part(0)], ["bytes=0-", "bytes=100-", "bytes=0-"]),
    ("shorter by now", [part(0, 100), httpx.Response(416), part(0)], ["bytes=0-", "bytes=100-", "bytes=0-"]),
    ("the connection breaks", [httpx.ReadError("x"), httpx.ConnectError("x"), part(0)], ["bytes=0-"]),
    ("a server in trouble", [httpx.Response(502), httpx.Response(408), part(0)], ["bytes=0-"]),
]


@pytest.mark.parametrize(("given", "asked"), [row[1:] for row in RESUMED], ids=[row[0] for row in RESUMED])
def test_a_file_comes_whole(given, asked):
    """Resumed where the rest surely belongs to what is there, else from the start: never a mixture."""
    client, sent = answers(*given)
    assert fetched(client) == FILE
    assert [request.headers["range"] for request in sent][: len(asked)] == asked
    assert all(("if-range" in request.headers) == (request.headers["range"] != "bytes=0-") for request in sent)
    assert len(sent) == len(given)


def test_an_end_that_was_there_already():
    """Cut off exactly at the end, without having been given the length: the server says that nothing is left."""
    unknown = {"content-range": "bytes 0-/*", "transfer-encoding": "chunked"}
    first = part(0, **unknown)
    first.headers["content-range"] = "bytes 0-10239/*"
    client, _ = answers(first)
    assert fetched(client) == FILE


CHECKSUMS = {
    "RFC 9530": lambda data: {"repr-digest": f"sha-256=:{b64(hashlib.sha256(data))}:"},
    "Google": lambda data: {"x-goog-hash": f"crc32c=AAAAAA==,md5={b64(hashlib.md5(data))}"},
    "Azure": lambda data: {"content-md5": b64(hashlib.md5(data))},
    "Azure, of a range": lambda data: {"x-ms-blob-content-md5": b64(hashlib.md5(data))},
    "Amazon": lambda data: {"x-amz-checksum-sha256": b64(hashlib.sha256(data))},
    "Amazon's ETag": lambda data: {"server": "AmazonS3", "etag": f'"{hashlib.md5(data).hexdigest()}"'},
}


def b64(digest) -> str:
    """Return a digest as headers have it."""
    return base64.b64encode(digest.digest()).decode()


@pytest.mark.parametrize("headers", CHECKSUMS.values(), ids=CHECKSUMS)
def test_bytes_that_are_not_the_file(headers):
    """Where the storage names a checksum, other bytes of the right length are found and fetched again."""
    good, bad = headers(FILE), headers(b"another")
    client, sent = answers(part(0, **bad), part(0, **good))
    assert fetched(client) == FILE
    assert len(sent) == 2
    client, sent = answers(*[part(0, **bad) for _ in range(5)])
    with pytest.raises(TransferError, match="its length or checksum is another"):
        fetched(client)


@pytest.mark.parametrize(
    "headers",
    [
        {"etag": '"0123456789abcdef0123456789abcdef"'},
        {"etag": '"0123456789abcdef0123456789abcdef-7"', "server": "AmazonS3"},
        {
            "etag": '"0123456789abcdef0123456789abcdef"',
            "server": "AmazonS3",
            "x-amz-server-side-encryption": "aws:kms",
        },
        {"x-goog-hash": "crc32c=AAAAAA=="},
        {"content-md5": "no base64"},
        {"x-amz-checksum-sha256": "AAAA-3"},
        {"repr-digest": "sha-512=:AAAA:"},
    ],
)
def test_what_is_no_checksum_of_the_file(headers):
    """An ETag may be anything, and so may what we cannot read: it refuses no good file."""
    client, sent = answers(part(0, **headers))
    assert fetched(client) == FILE
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(401), "HTTP 401"),
        (httpx.Response(400, text="<Code>SignatureDoesNotMatch</Code>"), "HTTP 400"),
        (httpx.Response(404), "HTTP 404"),
        (httpx.Response(204), "HTTP 204"),
        (httpx.Response(200, text="{}", headers={"content-type": "application/json"}), "web page"),
        (httpx.Response(200, content=b" \n<!doctype html>", headers={"content-type": "image/png"}), "web page"),
        (httpx.Response(200, content=b"", headers={"content-type": "image/png"}), "empty file"),
        (httpx.Response(416, headers={"content-range": "bytes */0"}), "empty file"),
    ],
)
def test_a_link_that_gives_no_file(answer, words):
    """A fresh link is asked for once, and works or not."""
    client, sent = answers(answer, part(0))
    asked = []
    assert fetched(client, refresh_link=lambda old: asked.append(old) or Download("https://s.example/b.png")) == FILE
    assert asked == [LINK]
    assert str(sent[1].url) == "https://s.example/b.png"
    client, sent = answers(answer, answer)
    with pytest.raises(TransferError, match=words) as caught:
        fetched(client, refresh_link=lambda old: Download("https://s.example/b.png"))
    assert "s.example" not in str(caught.value)
    assert len(sent) == 2


def test_a_fresh_link_in_the_middle():
    """A link that expires on the way is replaced, and the rest comes by the new one."""
    client, sent = answers(part(0, 100), httpx.Response(403), part(100))
    assert fetched(client, refresh_link=lambda old: Download("https://s.example/b.png")) == FILE
    assert [request.headers["range"] for request in sent] == ["bytes=0-", "bytes=100-", "bytes=100-"]


def test_tries_are_bounded(clock):
    """Five faults in a row without a byte, or twenty in all, and the task's own retries take over."""
    client, sent = answers(*[httpx.ReadTimeout("x") for _ in range(9)])
    with pytest.raises(TransferError, match="5 tries"):
        client.download(LINK, io.BytesIO())
    assert (len(sent), clock.waits) == (5, [1, 2, 4, 8])
    client, sent = answers(*[part(start, start + 1) for start in range(99)])
    with pytest.raises(TransferError, match="20 tries"):
        fetched(client)
    client, sent = answers(httpx.Response(503, headers={"retry-after": "3600"}))
    with pytest.raises(TransferError, match="HTTP 503"):
        fetched(client)


def test_redirects_are_followed_without_our_key():
    """Also relative ones, a few; a circle ends."""
    to = [httpx.Response(302, headers={"location": where}) for where in ("https://o.example/x", "/y?z=%2F", "z")]
    client, sent = answers(*to, part(0))
    assert fetched(client) == FILE
    assert [str(request.url) for request in sent[1:]] == [
        "https://o.example/x",
        "https://o.example/y?z=%2F",
        "https://o.example/z",
    ]
    assert not any("authorization" in request.headers for request in sent)
    client, sent = answers(*[httpx.Response(302, headers={"location": "/round"}) for _ in range(9)])
    with pytest.raises(TransferError, match="without an end"):
        fetched(client)


@pytest.mark.parametrize("where", ["//[", "http://[", "//\u2100.example/", "http://a..b/"])
def test_a_redirect_that_leads_nowhere(where):
    """The link cannot be used: another one is asked for, and without one the error is ours."""
    to = [httpx.Response(302, headers={"location": where.encode()}), UnicodeError("label empty or too long")]
    client, sent = answers(*to)
    with pytest.raises(TransferError, match="cannot be used"):
        fetched(client)
    client, sent = answers(*to[: len(sent)], part(0))
    assert fetched(client, refresh_link=lambda link: link) == FILE


@pytest.mark.parametrize("status", [206, 416])
def test_a_size_of_thousands_of_digits_is_none(status, clock):
    """It is no size that anybody has, so the answer is not the one that was asked for."""
    headers = {"content-type": "image/png", "content-range": f"bytes {'0-1' if status == 206 else '*'}/{'9' * 5000}"}
    client, sent = answers(*[httpx.Response(status, content=FILE, headers=headers) for _ in range(5)])
    with pytest.raises(TransferError):
        fetched(client)
    assert 1 < len(sent) <= 5


def test_a_length_of_thousands_of_digits_is_none():
    """Nothing is known of the file's size then, and what came is the file."""
    client, _ = answers(
        httpx.Response(200, content=FILE, headers={"content-type": "image/png", "content-length": "9" * 5000})
    )
    assert fetched(client) == FILE


@pytest.mark.parametrize(
    ("expires_at", "is_over"),
    [
        (None, False),
        ("soon", False),
        ("2026-11-25T10:00:00Z", True),
        ("2026-11-25T10:00:00.000+00:00", True),
        ("2026-11-25T10:00:00", True),
        ("2026-11-25T10:00:01Z", False),
    ],
)
def test_when_a_link_is_over(expires_at, is_over):
    """As it says itself, in UTC where it does not say."""
    assert expired(Download("https://s.example/a", expires_at), 1795600800.0) is is_over


# -- byte for byte -------------------------------------------------------------------------------------------


@contextmanager
def listening(reply: bytes):
    """A server that keeps the first line of each request as it came."""
    lines: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                got = b""
                while b"\r\n\r\n" not in got:
                    got += connection.recv(65536)
                lines.append(got.partition(b"\r\n")[0])
                connection.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1], lines
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: image/png\r\nConnection: close\r\n\r\nda\x00\x01"


@pytest.mark.parametrize(
    "target",
    [
        "/a%2Fb%2fc.png?X-Amz-Signature=ab%2Bcd+e%3D&x=1&&empty=&sig=a==",
        "/a/../b/./c//d.png?q=a/../b",
        "/%7Euser/~user/it's(1)!*.png?response-content-disposition=attachment;filename=\"a'b\"",
        "/a.png?e=%zz&pipe=|&brace={}&caret=^&tick=`&back=\\",
        "/a.png?",
        "?only=query",
        "/[1]/a.png?r[]=1",
    ],
)
def test_a_link_is_sent_byte_for_byte(target):
    """A signature is of the bytes: nothing is quoted, unquoted, sorted or tidied on its way."""
    with listening(REPLY) as (port, lines), MagicHourClient(api_key=KEY) as client:
        client.download(Download(f"http://127.0.0.1:{port}{target}"), io.BytesIO())
    sent = target if target.startswith("/") else f"/{target}"
    assert lines == [f"GET {sent} HTTP/1.1".encode()]


def test_what_http_cannot_send_is_escaped_and_the_rest_left_alone():
    """Letters outside ASCII and blanks are written as their UTF-8 bytes; a fragment never leaves."""
    with listening(REPLY) as (port, lines), MagicHourClient(api_key=KEY) as client:
        client.download(Download(f"http://127.0.0.1:{port}/ü a%2F.png?x=名#part"), io.BytesIO())
    assert lines == [b"GET /%C3%BC%20a%2F.png?x=%E5%90%8D HTTP/1.1"]


def test_a_redirect_is_followed_byte_for_byte():
    """What a storage redirects to is signed as well."""
    with listening(REPLY) as (port, lines):
        to = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/a%2Fb?s=%2b+=\r\n".encode()
        with (
            listening(to + b"Content-Length: 0\r\nConnection: close\r\n\r\n") as (other, _),
            MagicHourClient(api_key=KEY) as client,
        ):
            client.download(Download(f"http://127.0.0.1:{other}/x"), io.BytesIO())
    assert lines == [b"GET /a%2Fb?s=%2b+= HTTP/1.1"]


def test_a_proxy_gets_the_same_bytes():
    """Through a proxy the whole address is asked for, as exactly."""
    with listening(REPLY) as (port, lines), MagicHourClient(api_key=KEY, proxy=f"http://127.0.0.1:{port}") as client:
        client.download(Download("http://s.example/a%2Fb.png?s=it's%2b+="), io.BytesIO())
    assert lines == [b"GET http://s.example/a%2Fb.png?s=it's%2b+= HTTP/1.1"]


def test_a_compressed_answer_is_unpacked():
    """A storage that compresses although it was asked not to gives the file all the same."""
    import gzip

    packed = gzip.compress(FILE)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\nConnection: close\r\n\r\n"
    with listening(head.encode() + packed) as (port, _), MagicHourClient(api_key=KEY) as client:
        target = io.BytesIO()
        client.download(Download(f"http://127.0.0.1:{port}/a.png"), target)
    assert target.getvalue() == FILE


TEXTS = {
    "text": b"Access denied: try again later",
    "Latin-1": "Accès refusé".encode("latin-1"),
    "JSON": b'{"error": "denied"}',
    "JSON after a mark": b'\xef\xbb\xbf{"error": "denied"}',
    "XML": b'<?xml version="1.0"?><Error/>',
    "HTML after a mark": b"\xef\xbb\xbf<!doctype html><p>no</p>",
    "HTML of 16 bits": "<!doctype html>".encode("utf-16"),
    "a long text": b"no " * 1000,
}


@pytest.mark.parametrize("content_type", ["", "image/png", "video/mp4", "application/octet-stream"])
@pytest.mark.parametrize("body", TEXTS.values(), ids=TEXTS)
def test_a_text_is_no_media_whatever_it_is_called(body, content_type):
    """Error texts with status 200 are no files: a fresh link is asked for, and nothing of the text is kept."""
    answer = httpx.Response(200, content=body, headers={"content-type": content_type})
    client, _ = answers(answer, part(0))
    assert fetched(client, refresh_link=lambda old: Download("https://s.example/b.png")) == FILE
    client, _ = answers(answer)
    with pytest.raises(TransferError, match="web page or a text"):
        fetched(client)


def test_a_text_that_comes_in_pieces():
    """A break in its first bytes does not make it a file."""
    text, etag = b"Access denied, sorry", '"one"'
    pieces = [
        httpx.Response(206, content=text[:9], headers={"content-range": f"bytes 0-19/{len(text)}", "etag": etag}),
        httpx.Response(206, content=text[9:], headers={"content-range": f"bytes 9-19/{len(text)}", "etag": etag}),
    ]
    client, _ = answers(*pieces, part(0))
    assert fetched(client, refresh_link=lambda old: Download("https://s.example/b.png")) == FILE


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "text/css; charset=utf-8", "application/problem+json", "application/javascript", "application/zip"],
)
def test_a_type_that_is_no_media(content_type):
    """It is refused whatever the link's extension is."""
    client, _ = answers(part(0, **{"content-type": content_type}))
    with pytest.raises(TransferError, match="web page or a text"):
        fetched(client)


@pytest.mark.parametrize("unit", ["Bytes", "BYTES", "bytes "])
def test_the_unit_of_a_range_in_any_case(unit):
    """A part is a part however its unit is written."""
    first, second = part(0, 100), part(100)
    for one in (first, second):
        one.headers["content-range"] = one.headers["content-range"].replace("bytes", unit, 1)
    client, sent = answers(first, second)
    assert fetched(client) == FILE
    assert [request.headers["range"] for request in sent] == ["bytes=0-", "bytes=100-"]


def test_a_storage_that_takes_no_ranges(clock):
    """A 416 to the first byte leads to one request without a range, at once."""
    client, sent = answers(httpx.Response(416), whole())
    assert fetched(client) == FILE
    assert ["range" in request.headers for request in sent] == [True, False]
    assert sum(clock.waits) == 0
    client, sent = answers(httpx.Response(416), httpx.Response(416))
    with pytest.raises(TransferError, match="HTTP 416"):
        fetched(client)
    assert len(sent) == 2


def test_what_google_decompressed_on_the_way():
    """Its checksum is of what is stored, and not of what comes."""
    hashes = f"crc32c=AAAAAA==,md5={b64(hashlib.md5(b'compressed'))}"
    client, sent = answers(whole(**{"x-goog-hash": hashes, "x-goog-stored-content-encoding": "gzip"}))
    assert fetched(client) == FILE
    assert len(sent) == 1
    plain = {"x-goog-hash": hashes, "x-goog-stored-content-encoding": "identity"}
    client, _ = answers(*[whole(**plain) for _ in range(5)])
    with pytest.raises(TransferError, match="checksum"):
        fetched(client)
