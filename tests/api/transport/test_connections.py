"""The event loop's client over real sockets: what connections do, and what servers and proxies do to them."""

from __future__ import annotations

import asyncio
import base64
import gc
import gzip
import json
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from helpers.certificates import server_context, write_certificate
from helpers.waiting import HANG_S
from magic_hour_provider.api.client import AsyncMagicHourClient, MagicHourClient
from magic_hour_provider.api.errors import (
    ConnectionFailedError,
    InvalidInputError,
    InvalidResponseError,
    MagicHourError,
    RequestRejectedError,
    ResponseLostError,
)
from magic_hour_provider.api.transport import http
from magic_hour_provider.api.transport.http import TransportOptions

KEY = "mhk_live_testsonly0123456789"
BODY = json.dumps({"id": "abc", "status": "rendering"}).encode()


def response(body: bytes = BODY, *headers: bytes, status: bytes = b"200 OK", length: bool = True) -> bytes:
    """Return a response as it is sent."""
    lines = [b"HTTP/1.1 " + status, *headers, *([b"Content-Length: %d" % len(body)] if length else []), b"", body]
    return b"\r\n".join(lines)


OK = response()
HUGE_CHUNK = b"%x\r\n%s\r\n" % (2_000_000, b"x" * 2_000_000)
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

Script = Callable[["Server", int, int], Awaitable[bytes | None] | bytes | None]


class Server:
    """Answers each request as a script says: ``script(server, connection, request)`` gives bytes, or None to close."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = self.open = self.most_open = 0
        self.requests: list[bytes] = []
        self.closed = asyncio.Event()
        """Set while no connection is open."""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self.open += 1
        self.closed.clear()
        self.most_open = max(self.most_open, self.open)
        number, count = self.connections, 0
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                count += 1
                answer = self.script(self, number, count)
                if answer is not None and not isinstance(answer, bytes):
                    answer = await answer
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
                head = answer.partition(b"\r\n\r\n")[0]
                if b"\r\nConnection: close" in head or not answer.startswith(b"HTTP/1.1"):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            if not self.open:
                self.closed.set()
            writer.close()


@asynccontextmanager
async def listening(script: Script, *, tls: ssl.SSLContext | None = None):
    """Run a server."""
    server = Server(script)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


@asynccontextmanager
async def serving(script: Script, *, tls: ssl.SSLContext | None = None, **options):
    """Run a server and a client of it."""
    async with listening(script, tls=tls) as server:
        base_url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}"
        async with AsyncMagicHourClient(**{"api_key": KEY, "base_url": base_url, "timeout": 30} | options) as client:
            yield server, client


def always(answer: bytes | None) -> Script:
    """Return the script that answers every request alike."""
    return lambda *_: answer


async def poll(client: AsyncMagicHourClient, job_id: str = "abc") -> str:
    """Return the status that a poll sees."""
    return (await client.get_job("video", job_id)).status


# -- connections


def test_one_connection_is_kept():
    """Polls one after another share a connection; the request has the key, the host and nothing that asks for gzip."""

    async def main():
        async with serving(always(OK)) as (server, client):
            for _ in range(20):
                assert await poll(client) == "rendering"
            return server

    server = asyncio.run(main())
    assert (server.connections, len(server.requests)) == (1, 20)
    head = server.requests[0].decode().lower()
    assert head.startswith("get /v1/video-projects/abc http/1.1\r\nhost: 127.0.0.1:")
    assert f"authorization: bearer {KEY}" in head
    assert "accept-encoding: identity" in head
    assert "x-magichour-source: airflow" in head
    assert "cookie" not in head


def test_connections_are_bounded(monkeypatch):
    """A hundred polls at once take no more connections than are allowed, and the others wait for them."""
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 7)
    full = asyncio.Event()

    async def when_full(server, *_):
        if server.open == 7:
            full.set()
        await full.wait()
        return OK

    async def main():
        async with serving(when_full) as (server, client):
            await asyncio.gather(*(poll(client) for _ in range(100)))
            return server

    server = asyncio.run(main())
    assert (server.connections, server.most_open, len(server.requests)) == (7, 7, 100)


def test_waiting_for_a_connection_is_no_failure(monkeypatch):
    """A poll that waits for others' connections does not count as one that cannot connect."""
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(http, "CONNECT_TIMEOUT_S", 0.5)

    async def slowly(_, __, request):
        await asyncio.sleep(1 if request == 1 else 0)
        return OK

    async def main():
        async with serving(slowly) as (server, client):
            statuses = await asyncio.gather(*(poll(client) for _ in range(3)))
            return statuses, server.connections

    assert asyncio.run(main()) == (["rendering"] * 3, 1)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_is_left_after_closing(certificate, scheme):
    """Every connection is closed, no task stays behind, and Python and aiohttp have nothing to warn of."""
    reported: list[object] = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        tls = server_context(certificate) if scheme == "https" else None
        async with serving(always(OK), tls=tls, verify=str(certificate)) as (server, client):
            await asyncio.gather(*(poll(client) for _ in range(10)))
            await client.aclose()
            await asyncio.wait_for(server.closed.wait(), 30)
            tasks = {task for task in asyncio.all_tasks() if "serve" not in repr(task)}
            assert tasks == {asyncio.current_task()}
            with pytest.raises(RuntimeError, match="closed"):
                await poll(client)

    gc.collect()  # what an earlier test has left is not of this one
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    assert [str(one.message) for one in warned if issubclass(one.category, ResourceWarning)] == []
    assert reported == []


def test_no_warning_at_all(tmp_path):
    """With every warning an error, a client is made off the loop, polls in vain and closes without a word."""
    script = """
import asyncio
from magic_hour_provider.api.client import AsyncMagicHourClient
from magic_hour_provider.api.errors import ConnectionFailedError
from magic_hour_provider.api.transport.http import TransportOptions

async def main():
    client = await AsyncMagicHourClient.open(TransportOptions("mhk_x", "https://127.0.0.1:9"))
    try:
        await client.get_job("video", "abc")
    except ConnectionFailedError:
        print("failed as it should")
    await client.aclose()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=HANG_S)
    assert (done.returncode, done.stdout, done.stderr) == (0, "failed as it should\n", "")


def test_connections_that_were_idle_for_long_are_closed(monkeypatch):
    """A connection that may have been dropped without a word is not used again."""
    monkeypatch.setattr("magic_hour_provider.api.transport.connections._KEEPALIVE_S", 0.0)

    async def main():
        async with serving(always(OK)) as (server, client):
            for _ in range(3):
                await poll(client)
            return server

    server = asyncio.run(main())
    assert (server.connections, len(server.requests)) == (3, 3)


def test_a_connection_that_was_closed_meanwhile():
    """A kept connection that the server closes when the next request comes is no failed poll: a new one is made."""

    async def main():
        async with serving(lambda _, __, request: OK if request == 1 else None) as (server, client):
            for _ in range(3):
                await poll(client)
            return server

    server = asyncio.run(main())
    assert server.connections == 3


def test_a_canceled_poll():
    """Its connection is not used again: the response that still comes belongs to nobody."""
    asked, released = asyncio.Event(), asyncio.Event()

    async def later(_, connection, __):
        if connection == 1:
            asked.set()
            await released.wait()
        return OK

    async def main():
        async with serving(later) as (server, client):
            task = asyncio.create_task(poll(client))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            released.set()
            await poll(client)
            return server.connections

    assert asyncio.run(main()) == 2


# -- whose response it is


def test_a_response_too_many():
    """What a server sends unasked behind a response is not the next poll's, which may be another job's."""
    unasked = OK.replace(b"rendering", b"completed")

    async def main():
        async with serving(always(OK + unasked)) as (server, client):
            return [await poll(client) for _ in range(3)], server.connections

    assert asyncio.run(main()) == (["rendering"] * 3, 3)


@pytest.mark.parametrize("unasked", [OK.replace(b"rendering", b"completed"), response(b"", status=b"408 Timeout")])
def test_a_response_on_an_idle_connection(unasked):
    """What comes over a kept connection while nothing is asked is not the next poll's response either."""

    async def main():
        writers, received = [], asyncio.Event()

        async def serve(reader, writer):
            writers.append(writer)
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(OK)
                    await writer.drain()
            writer.close()  # from Python 3.12 a server waits for its connections

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            async with AsyncMagicHourClient(api_key=KEY, base_url=f"http://127.0.0.1:{port}") as client:
                assert await poll(client, "first") == "rendering"
                (kept,) = [
                    one for waiting in client._transport._session.connector._conns.values() for one, _ in waiting
                ]
                real = kept.data_received
                kept.data_received = lambda data: (real(data), received.set())
                writers[0].write(unasked)
                await received.wait()
                assert await poll(client, "second") == "rendering"
                assert await poll(client, "third") == "rendering"
            return len(writers)

    assert asyncio.run(main()) == 2


# -- what is a response


@pytest.mark.parametrize(
    "answer",
    [
        response(CHUNKS, b"Transfer-Encoding: chunked", length=False),
        response(BODY, b"Connection: close", length=False),
        response(BODY, b"Connection: close"),
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
        response(gzip.compress(BODY), b"Content-Encoding: gzip"),
        response(BODY, b"X-Large: " + b"x" * 65_000),
        response(BODY, *(b"X-%d: %s" % (number, b"x" * 300) for number in range(200))),
        response(BODY, b"Set-Cookie: session=1; Path=/"),
        response(b"", b"Location: http://127.0.0.1:9/", status=b"302 Found"),
        response(b'{"message": "no such job"}', status=b"404 Not Found"),
        response(b"{}", b"Retry-After: 7", status=b"429 Too Many Requests"),
        response(b"", status=b"204 No Content", length=False),
        response(b"<html>"),
        response(b""),
        response(b"[" * 200_000),
        response(b"{}", status=b"503 Service Unavailable"),
    ],
    ids=[
        *("chunked", "until-the-end", "close", "early-hints", "gzip-unasked", "a-large-header", "many-headers"),
        *("cookie", "redirect", "not-found", "too-many", "no-content", "html", "empty", "deep", "unavailable"),
    ],
)
def test_both_clients_read_alike(answer):
    """What a worker reads a triggerer reads too, and neither follows a redirect."""

    async def main():
        async with serving(always(answer)) as (server, client):
            found = []
            for asked in (lambda: asyncio.to_thread(worker, client.base_url), lambda: poll(client)):
                try:
                    found.append(await asked())
                except MagicHourError as error:
                    found.append((type(error), str(error), error.retry_after))
            return found, server.requests

    def worker(base_url: str) -> str:
        with MagicHourClient(api_key=KEY, base_url=base_url, timeout=30) as client:
            return client.get_job("video", "abc").status

    (by_worker, by_triggerer), requests = asyncio.run(main())
    assert by_worker == by_triggerer
    assert len(requests) == 2
    assert KEY not in str(by_triggerer)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, ResponseLostError),
        (response(BODY, b"Connection: close")[:-5], ResponseLostError),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ResponseLostError),
        (response(b"x" * 2_000_000), ResponseLostError),
        (
            response(HUGE_CHUNK, b"Transfer-Encoding: chunked", length=False),
            ResponseLostError,
        ),
        (response(gzip.compress(b"x" * 2_000_000), b"Content-Encoding: gzip"), ResponseLostError),
        (response(b"no gzip", b"Content-Encoding: gzip"), ResponseLostError),
        (response(b"<html>"), InvalidResponseError),
        (response(b"", b"Location: https://elsewhere.example/", status=b"301 Moved"), RequestRejectedError),
    ],
    ids=["closed", "half", "no-http", "huge", "huge-chunks", "gzip-bomb", "no-gzip", "html", "redirect"],
)
def test_what_is_no_response(answer, error):
    """Each is an error of ours with a sentence, its connection is given back, and the next poll is not disturbed."""
    reported: list[object] = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        async with serving(always(answer)) as (server, client):
            with pytest.raises(error) as caught:
                await poll(client)
            assert KEY not in str(caught.value)
            server.script = always(OK)
            assert await poll(client) == "rendering"
            del caught
            gc.collect()  # aiohttp reports a response that nobody closed when it is forgotten

    asyncio.run(main(), debug=True)
    assert reported == []


@pytest.mark.parametrize("dripping", [False, True])
def test_a_response_that_never_ends(dripping):
    """Silence, and a byte every now and then, are no response: a poll has its time, and the connection is given up."""

    async def main():
        async def serve(reader, writer):
            with suppress(ConnectionError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while dripping:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.01)
                await reader.read()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
            base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            async with AsyncMagicHourClient(api_key=KEY, base_url=base_url, timeout=1) as client:
                with pytest.raises(ResponseLostError, match=r"no whole response within 1 s"):
                    await poll(client)

    asyncio.run(main())


# -- hosts that cannot be reached


def test_nobody_there():
    """A refused connection, an unknown name and TLS spoken to a server that does not are hosts not reached."""

    async def main():
        async with listening(always(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")) as plain:
            for url in ("http://127.0.0.1:9", "http://no-such-host.invalid", f"https://127.0.0.1:{plain.port}"):
                async with AsyncMagicHourClient(api_key=KEY, base_url=url, verify=False) as client:
                    with pytest.raises(ConnectionFailedError, match="could not be reached"):
                        await poll(client)

    asyncio.run(main())


def test_a_handshake_that_never_ends(monkeypatch):
    """Connecting has a time of its own, TLS included: nothing was sent."""
    monkeypatch.setattr(http, "CONNECT_TIMEOUT_S", 0.05)

    async def main():
        async def silent(reader, writer):
            await reader.read()
            writer.close()

        async with await asyncio.start_server(silent, "127.0.0.1", 0) as listener:
            base_url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            async with AsyncMagicHourClient(api_key=KEY, base_url=base_url, timeout=60, verify=False) as client:
                with pytest.raises(ConnectionFailedError, match=r"no connection within 0\.05 s"):
                    await poll(client)

    asyncio.run(main())


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody else trusts, and its key, in one file."""
    return write_certificate(tmp_path_factory.mktemp("tls") / "own.pem")


@pytest.mark.parametrize("verify", ["own", False, True])
def test_certificates(certificate, verify):
    """TLS is checked against the usual certificates, or those given, or not at all if that is said."""

    async def main():
        trusted = str(certificate) if verify == "own" else verify
        async with serving(always(OK), tls=server_context(certificate), verify=trusted) as (server, client):
            if verify is True:
                with pytest.raises(ConnectionFailedError, match="certificate verify failed"):
                    await poll(client)
                return 1
            for _ in range(5):
                await poll(client)
            return server.connections

    assert asyncio.run(main()) == 1


def test_certificates_are_read_off_the_loop(certificate, monkeypatch):
    """A client for TLS is opened without reading certificates, or importing aiohttp, on the event loop's thread."""
    readers = []
    real = ssl.create_default_context
    http._load_context.cache_clear()

    def reading(*arguments, **options):
        readers.append(threading.current_thread() is threading.main_thread())
        return real(*arguments, **options)

    monkeypatch.setattr(ssl, "create_default_context", reading)

    async def main():
        options = TransportOptions(KEY, "https://127.0.0.1:9", verify=str(certificate))
        for _ in range(3):
            await (await AsyncMagicHourClient.open(options)).aclose()

    asyncio.run(main())
    assert readers == [False]


# -- proxies


class Proxy:
    """A proxy: forwards requests for http, and tunnels to one server for https."""

    def __init__(self, target: int, status: bytes = b"200 Connection established") -> None:
        self.target, self.status = target, status
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.heads.append(head := await reader.readuntil(b"\r\n\r\n"))
        if not head.startswith(b"CONNECT "):
            writer.write(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        elif not self.status.startswith(b"200"):
            writer.write(b"HTTP/1.1 " + self.status + b"\r\nContent-Length: 0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 " + self.status + b"\r\n\r\n")
            behind, before = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(_copy(reader, before), _copy(behind, writer))
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.mark.parametrize("given", ["connection", "environment"])
def test_a_proxy(given, monkeypatch):
    """With a proxy, of the connection or of the environment, polls go through it; NO_PROXY keeps them from it."""
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 3)

    async def main():
        async with serving(always(OK)) as (server, direct):
            proxy = direct.base_url
            options = {"api_key": KEY, "base_url": "http://magic.example"}
            if given == "connection":
                options["proxy"] = proxy
            else:
                monkeypatch.setenv("http_proxy", proxy)
            async with AsyncMagicHourClient(**options) as client:
                await asyncio.gather(*(poll(client) for _ in range(20)))
            through, connections = list(server.requests), server.connections
            direct_ones = []
            for without in ("127.0.0.1", proxy.removeprefix("http://")):
                monkeypatch.setenv("no_proxy", without)
                async with AsyncMagicHourClient(api_key=KEY, base_url=proxy) as client:
                    await poll(client)
                direct_ones.append(server.requests[-1])
            return through, connections, direct_ones

    through, connections, direct_ones = asyncio.run(main())
    assert len(through) == 20
    assert all(request.startswith(b"GET http://magic.example/v1/video-projects/abc HTTP/1.1") for request in through)
    assert connections <= 4
    assert all(request.startswith(b"GET /v1/video-projects/abc HTTP/1.1") for request in direct_ones)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_tunnel(certificate, monkeypatch, scheme):
    """TLS goes through a proxy's tunnel, which gets its password and never the key; also where it speaks TLS too."""
    tls = server_context(certificate)

    async def main():
        async with listening(always(OK), tls=tls) as server:
            proxy = Proxy(server.port)
            listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls if scheme == "https" else None)
            async with listener:
                address = f"{scheme}://us%40er:p%3Aw@127.0.0.1:{listener.sockets[0].getsockname()[1]}"
                monkeypatch.setenv("https_proxy", address)
                options = TransportOptions(KEY, "https://magic.example", verify=str(certificate))
                client = await AsyncMagicHourClient.open(options)
                assert [await poll(client) for _ in range(3)] == ["rendering"] * 3
                await client.aclose()
            return proxy, server

    proxy, server = asyncio.run(main())
    assert [head.split()[:2] for head in proxy.heads] == [[b"CONNECT", b"magic.example:443"]]
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"us@er:p:w") in proxy.heads[0]
    assert KEY.encode() not in proxy.heads[0]
    assert len(server.requests) == 3
    assert b"proxy-authorization" not in server.requests[0].lower()


def test_a_password_of_a_proxy_without_tls():
    """A proxy that forwards gets its password with the request."""

    async def main():
        proxy = Proxy(0)
        async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as listener:
            address = f"http://user:secret@127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            async with AsyncMagicHourClient(api_key=KEY, base_url="http://magic.example", proxy=address) as client:
                await poll(client)
        return proxy.heads

    (head,) = asyncio.run(main())
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"user:secret") in head


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"503 Away", None])
def test_a_proxy_that_does_not_let_us_through(status):
    """Nothing was sent then, and the error does not show the proxy's password."""

    async def main():
        proxy = Proxy(0, status or b"")
        listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1] if status else 9
        address = f"http://user:s3cret@127.0.0.1:{port}"
        async with (
            listener,
            AsyncMagicHourClient(api_key=KEY, base_url="https://magic.example", proxy=address, verify=False) as client,
        ):
            with pytest.raises(ConnectionFailedError) as caught:
                await poll(client)
        return str(caught.value)

    words = asyncio.run(main())
    assert "s3cret" not in words
    assert status is None or f"HTTP {status[:3].decode()} of the proxy" in words


def test_a_proxy_that_is_none_of_ours(monkeypatch):
    """A kind of proxy that cannot be used is said, without its password, instead of going round it."""
    monkeypatch.setenv("all_proxy", "socks5://user:s3cret@127.0.0.1:1080")

    async def main():
        with pytest.raises(InvalidInputError, match="proxy") as caught:
            AsyncMagicHourClient(api_key=KEY)
        return str(caught.value)

    assert "s3cret" not in asyncio.run(main())


# -- the rest


@pytest.mark.parametrize("base", ["/v1/mock/0.90.0", "/v1/mock/0.90.0/"])
def test_a_base_url_with_a_path(base):
    """Magic Hour's own mock server is below a path."""

    async def main():
        async with listening(always(OK)) as server:
            async with AsyncMagicHourClient(api_key=KEY, base_url=f"http://127.0.0.1:{server.port}{base}") as client:
                await client.get_job("image", "abc")
            return server.requests[0]

    assert asyncio.run(main()).startswith(b"GET /v1/mock/0.90.0/v1/image-projects/abc HTTP/1.1\r\n")


def test_nothing_is_logged(caplog):
    """Not a line is written, not at any level: it would belong to whichever task asked first."""
    caplog.set_level(1)

    async def main():
        async with serving(always(OK)) as (_, client):
            await poll(client)
            options = {"base_url": "http://magic.example", "proxy": client.base_url}
            async with AsyncMagicHourClient(api_key=KEY, **options) as through:
                await poll(through)
            with pytest.raises(MagicHourError):
                await client.get_job("video", "../account")

    asyncio.run(main())
    assert [record.name for record in caplog.records if record.name.startswith(("aiohttp", "http", "magic"))] == []
