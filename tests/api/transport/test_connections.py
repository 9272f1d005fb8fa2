"""The triggerer's client over real sockets: what connections do, and what servers do to them."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from magic_hour_provider.api.client import AsyncMagicHourClient
from magic_hour_provider.api.errors import (
    ConnectionFailedError,
    InvalidResponseError,
    MagicHourError,
    ResponseLostError,
)

KEY = "mhk_live_testsonly0123456789"
BODY = json.dumps({"id": "abc", "status": "rendering"}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)

Script = Callable[["Server", int, int], Awaitable[bytes | None] | bytes | None]


class Server:
    """Answers each request as a script says: ``script(server, connection, request)`` gives bytes, or None to close."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = self.open = self.most_open = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self.open += 1
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
                if b"\r\nConnection: close" in answer or not answer.startswith(b"HTTP/1.1"):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def serving(script: Script, *, tls: ssl.SSLContext | None = None, **options):
    """Run a server and a client of it."""
    server = Server(script)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    scheme = "https" if tls else "http"
    options = {"api_key": KEY, "base_url": f"{scheme}://127.0.0.1:{port}", "timeout": 5} | options
    async with listening, AsyncMagicHourClient(**options) as client:
        yield server, client


def always(answer: bytes | None) -> Script:
    """Return the script that answers every request alike."""
    return lambda *_: answer


def test_one_connection_is_kept():
    """Polls one after another share a connection; the request has the key, the host and nothing that asks for gzip."""

    async def main():
        async with serving(always(ANSWER)) as (server, client):
            for _ in range(20):
                assert (await client.get_job("video", "abc")).status == "rendering"
            return server

    server = asyncio.run(main())
    assert (server.connections, len(server.requests)) == (1, 20)
    head = server.requests[0].decode().lower()
    assert head.startswith("get /v1/video-projects/abc http/1.1\r\nhost: 127.0.0.1:")
    assert f"authorization: bearer {KEY}" in head
    assert "accept-encoding: identity" in head


def test_connections_are_bounded():
    """A hundred polls at once take no more connections than are allowed."""

    async def slowly(*_):
        await asyncio.sleep(0.01)
        return ANSWER

    async def main():
        async with serving(slowly, max_connections=7) as (server, client):
            await asyncio.gather(*(client.get_job("video", "abc") for _ in range(100)))
            return server

    server = asyncio.run(main())
    assert (server.connections, server.most_open, len(server.requests)) == (7, 7, 100)


def test_nothing_is_left_after_closing():
    """Every connection is closed, and no task or reader stays behind."""

    async def main():
        async with serving(always(ANSWER)) as (server, client):
            await asyncio.gather(*(client.get_job("video", "abc") for _ in range(10)))
            await client.aclose()
            await asyncio.sleep(0.05)
            assert client._getter._all == set()
            return server.open

    assert asyncio.run(main()) == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(BODY), BODY),
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ANSWER,
    ],
    ids=["chunked", "until-the-end", "close", "early-hints"],
)
def test_every_way_to_end_an_answer(answer):
    """Chunks, lengths, closed connections and hints before the answer are HTTP as much as any."""

    async def main():
        async with serving(always(answer)) as (_, client):
            return [(await client.get_job("video", "abc")).status for _ in range(3)]

    assert asyncio.run(main()) == ["rendering"] * 3


def test_an_answer_too_many():
    """What a server sends unasked is not the answer to the next poll, which may be another job's."""
    unasked = ANSWER.replace(b"rendering", b"completed")

    async def main():
        async with serving(always(ANSWER + unasked)) as (server, client):
            return [(await client.get_job("video", "abc")).status for _ in range(3)], server.connections

    assert asyncio.run(main()) == (["rendering"] * 3, 3)


def test_a_connection_that_was_closed_meanwhile():
    """A kept connection that the server closes when the next request comes is no failing poll: a new one is made."""

    async def main():
        async with serving(lambda _, __, request: ANSWER if request == 1 else None) as (server, client):
            for _ in range(3):
                await client.get_job("video", "abc")
            return server

    server = asyncio.run(main())
    assert server.connections == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, ResponseLostError),
        (ANSWER[:-5].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), ResponseLostError),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ResponseLostError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000, ResponseLostError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", InvalidResponseError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", InvalidResponseError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000, InvalidResponseError),
    ],
    ids=["closed", "half", "no-http", "huge", "html", "empty", "deep"],
)
def test_what_is_no_answer(answer, error):
    """Each is an error of ours with a sentence, and the connection is not used again where its state is not known."""

    async def main():
        async with serving(always(answer)) as (_, client):
            with pytest.raises(error) as caught:
                await client.get_job("video", "abc")
            return caught.value

    assert KEY not in str(asyncio.run(main()))


def test_an_answer_that_never_ends():
    """A byte every now and then is no progress: a poll has its time as a whole, and the connection is given up."""

    async def forever(*_):
        return b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"

    async def main():
        async with serving(forever, timeout=0.1) as (server, client):
            with pytest.raises(ResponseLostError, match="no whole answer within"):
                await client.get_job("video", "abc")
            server.script = always(ANSWER)
            await client.get_job("video", "abc")
            return server.connections

    assert asyncio.run(main()) == 2


def test_a_canceled_poll():
    """Its connection is not used again: the answer that still comes belongs to nobody."""

    async def later(server, connection, _):
        await asyncio.sleep(0.05 if connection == 1 else 0)
        return ANSWER

    async def main():
        async with serving(later) as (server, client):
            poll = asyncio.create_task(client.get_job("video", "abc"))
            await asyncio.sleep(0.02)
            poll.cancel()
            with pytest.raises(asyncio.CancelledError):
                await poll
            await client.get_job("video", "abc")
            return server.connections

    assert asyncio.run(main()) == 2


def test_idle_connections_grow_old(monkeypatch):
    """A connection that was idle for long is not trusted, and those that are too many go."""

    async def slowly(*_):
        await asyncio.sleep(0.01)
        return ANSWER

    async def main():
        async with serving(slowly) as (server, client):
            await asyncio.gather(*(client.get_job("video", "abc") for _ in range(5)))
            monkeypatch.setattr("magic_hour_provider.api.transport.connections._IDLE_S", 0.0)
            await client.get_job("video", "abc")
            await asyncio.sleep(0.05)
            return server.connections, server.open

    assert asyncio.run(main()) == (6, 1)


def test_nobody_there():
    """A refused connection, and TLS spoken to a server that does not, are hosts that cannot be reached."""

    async def main():
        async with AsyncMagicHourClient(api_key=KEY, base_url="http://127.0.0.1:9", timeout=1) as client:
            with pytest.raises(ConnectionFailedError):
                await client.get_job("video", "abc")
        async with serving(always(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")) as (_, plain):
            url = plain.base_url.replace("http", "https")
            async with AsyncMagicHourClient(api_key=KEY, base_url=url, timeout=1, verify=False) as client:
                with pytest.raises(ConnectionFailedError):
                    await client.get_job("video", "abc")

    asyncio.run(main())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody else trusts, and its key, in one file."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("verify", ["own", False, True])
def test_certificates(certificate, verify):
    """TLS is checked against the usual certificates, or those given, or not at all if that is said."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)

    async def main():
        trusted = str(certificate) if verify == "own" else verify
        async with serving(always(ANSWER), tls=tls, verify=trusted) as (server, client):
            if verify is True:
                with pytest.raises(ConnectionFailedError, match="certificate verify failed"):
                    await client.get_job("video", "abc")
                return 1
            for _ in range(5):
                await client.get_job("video", "abc")
            return server.connections

    assert asyncio.run(main()) == 1


@pytest.mark.parametrize("given", ["connection", "environment"])
def test_a_proxy(given, monkeypatch):
    """With a proxy, of the connection or of the environment, polls go through it; NO_PROXY keeps them from it."""

    async def main():
        async with serving(always(ANSWER), max_connections=3) as (server, direct):
            proxy = direct.base_url
            options = {"api_key": KEY, "base_url": "http://magic.example", "max_connections": 3}
            if given == "connection":
                options["proxy"] = proxy
            else:
                monkeypatch.setenv("http_proxy", proxy)
            async with AsyncMagicHourClient(**options) as client:
                await asyncio.gather(*(client.get_job("video", "abc") for _ in range(20)))
            through, connections = list(server.requests), server.connections
            direct_ones = []
            for without in ("127.0.0.1", proxy.removeprefix("http://")):
                monkeypatch.setenv("no_proxy", without)
                async with AsyncMagicHourClient(api_key=KEY, base_url=proxy) as client:
                    await client.get_job("video", "abc")
                direct_ones.append(server.requests[-1])
            return through, connections, direct_ones

    through, connections, direct_ones = asyncio.run(main())
    assert len(through) == 20
    assert all(request.startswith(b"GET http://magic.example/v1/video-projects/abc HTTP/1.1") for request in through)
    assert connections <= 4
    assert all(request.startswith(b"GET /v1/video-projects/abc HTTP/1.1") for request in direct_ones)


def test_a_base_url_with_a_path():
    """Magic Hour's own mock server is below a path."""

    async def main():
        async with serving(always(ANSWER)) as (server, root):
            url = f"{root.base_url}/v1/mock/0.90.0/"
            async with AsyncMagicHourClient(api_key=KEY, base_url=url) as client:
                await client.get_job("image", "abc")
            return server.requests[0]

    assert asyncio.run(main()).startswith(b"GET /v1/mock/0.90.0/v1/image-projects/abc HTTP/1.1\r\n")


def test_nothing_is_logged(caplog):
    """Neither of the two ways writes a line, not at any level: they would belong to whichever task asked first."""
    caplog.set_level(1)

    async def main():
        async with serving(always(ANSWER)) as (_, client):
            await client.get_job("video", "abc")
            options = {"base_url": "http://magic.example", "proxy": client.base_url}
            async with AsyncMagicHourClient(api_key=KEY, **options) as through:
                await through.get_job("video", "abc")
            with pytest.raises(MagicHourError):
                await client.get_job("video", "../account")

    asyncio.run(main())
    assert [record.name for record in caplog.records if record.name.startswith(("http", "h11", "magic"))] == []
