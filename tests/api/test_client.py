"""The clients over real HTTP, and over sockets that break at every point a server can break them."""

from __future__ import annotations

import asyncio
import io
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from helpers.samples import KEY, PHOTO
from helpers.waiting import HANG_S
from magic_hour_provider import __version__
from magic_hour_provider.api import errors
from magic_hour_provider.api.client import AsyncMagicHourClient, MagicHourClient
from magic_hour_provider.api.models import Download

REQUEST = {"image_count": 1, "style": {"prompt": "x"}}


@contextmanager
def server(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection as ``behave`` does; give its address."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            behave(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()
        thread.join(HANG_S)


def read_request(connection: socket.socket) -> bytes:
    """Read a whole request with a JSON body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return data


def closed_after_request(connection: socket.socket) -> None:
    """Read the request and close."""
    read_request(connection)


def closed_after_headers(connection: socket.socket) -> None:
    """Answer with headers, and close before the body they promise."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nContent-Type: application/json\r\n\r\n")


def closed_in_the_body(connection: socket.socket) -> None:
    """Answer with half a body."""
    read_request(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"id": "abc", ')


def closed_before_reading(connection: socket.socket) -> None:
    """Close without reading: nobody can tell how much was received."""
    connection.recv(10)


def not_http(connection: socket.socket) -> None:
    """Answer with something else."""
    read_request(connection)
    connection.sendall(b"220 mail.example ready\r\n")


def silent(connection: socket.socket) -> None:
    """Read and never answer."""
    read_request(connection)
    connection.settimeout(5)
    connection.recv(10)


@pytest.mark.parametrize(
    "behave",
    [closed_after_request, closed_after_headers, closed_in_the_body, closed_before_reading, not_http, silent],
)
def test_a_create_whose_response_is_lost(behave):
    """Once the request may have left, whatever breaks makes it unknown and never repeatable."""
    with (
        server(behave) as url,
        MagicHourClient(api_key=KEY, base_url=url, timeout=0.5 if behave is silent else 30) as client,
        pytest.raises(errors.SubmissionUnknownError, match="The request was sent"),
    ):
        client.create("ai-image-generator", REQUEST)


def test_a_create_that_left_by_half():
    """A body larger than what the sockets hold, cut off while it is written: nobody can tell what was read of it."""
    request = {"image_count": 1, "style": {"prompt": "x" * 30_000_000}}
    with (
        server(closed_before_reading) as url,
        MagicHourClient(api_key=KEY, base_url=url) as client,
        pytest.raises(errors.SubmissionUnknownError, match="The request was sent"),
    ):
        client.create("ai-image-generator", request)


def tls_never_answers(connection: socket.socket) -> None:
    """Answer a TLS greeting with plain text."""
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_create_that_never_left():
    """Refused, unknown names and failing TLS handshakes are surely nothing sent."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    for url in (f"http://127.0.0.1:{free}", "http://no-such-host.invalid"):
        with MagicHourClient(api_key=KEY, base_url=url) as client, pytest.raises(errors.ConnectionFailedError):
            client.create("ai-image-generator", REQUEST)
    with (
        server(tls_never_answers) as url,
        MagicHourClient(api_key=KEY, base_url=url.replace("http", "https")) as client,
        pytest.raises(errors.ConnectionFailedError),
    ):
        client.create("ai-image-generator", REQUEST)


def test_a_redirect_is_never_followed():
    """A create is not sent to another address."""
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(308, headers={"location": "https://elsewhere.example/v1/x"})

    with (
        MagicHourClient(api_key=KEY, base_url="https://a.example", transport=httpx.MockTransport(answer)) as client,
        pytest.raises(errors.RequestRejectedError, match="redirect"),
    ):
        client.create("ai-image-generator", REQUEST)
    assert seen == ["a.example"]


def test_a_whole_job_by_hand(sim, tmp_path):
    """Upload, create, poll, download and delete work over real HTTP, and the counters agree."""
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        reference = client.upload(PHOTO)
        made = client.create("ai-image-editor", {"assets": {"image_file_paths": [reference]}, "style": {"prompt": "x"}})
        assert client.get_job(made.kind, made.id).status == "queued"
        sim.advance(60)
        job = client.get_job(made.kind, made.id)
        assert job.status == "complete"
        buffer = io.BytesIO()
        received = client.download(job.downloads[0], buffer)
        assert received.size == len(buffer.getvalue())
        assert buffer.getvalue().startswith(b"\x89PNG")
        client.delete_job(made.kind, made.id)
        with pytest.raises(errors.NotFoundError):
            client.get_job(made.kind, made.id)
        account = client.get_account()
    assert account.tier == "creator"
    assert account.credits == 100_000 - made.credits_charged
    stats = sim.stats()
    assert (stats["creates"]["accepted"], stats["uploads"], stats["downloads"], stats["deletes"]) == (1, 1, 1, 1)


def test_a_job_that_cannot_be_found_is_gone(sim):
    """A 404 is an answer there; any other failure still is an error."""
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        made = client.create("ai-image-generator", REQUEST)
        assert client.find_job("image", made.id).status == "queued"
        gone = client.find_job("image", "nobody")
        assert (gone.id, gone.kind, gone.status, gone.ended) == ("nobody", "image", "gone", True)
    with MagicHourClient(api_key="mhk_other", base_url=sim.url) as stranger, pytest.raises(errors.AuthenticationError):
        stranger.find_job("image", made.id)
    assert sim.stats()["creates"]["accepted"] == 1


def test_saved_items_are_read_to_the_last_page(sim):
    """All pages are one list, of all types or of one."""
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        everything = client.list_saved_items()
        voices = client.list_saved_items(type="voice")
    assert len(everything) == 2
    assert all(item["type"] == "voice" for item in voices)


def test_pages_of_saved_items_that_lead_in_a_circle():
    """Each page is read once, also where the last one names an earlier one as the next."""
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("cursor"))
        following = {None: "a", "a": "b", "b": "a"}[asked[-1]]
        return httpx.Response(200, json={"items": [{"id": f"of {asked[-1]}"}], "next_cursor": following})

    with MagicHourClient(api_key=KEY, transport=httpx.MockTransport(answer)) as client:
        assert len(client.list_saved_items()) == 3
    assert asked == [None, "a", "b"]


def test_a_file_that_cannot_be_uploaded(sim, tmp_path):
    """Missing and empty files, folders and unknown extensions are refused before anything is sent."""
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        for path, words in (
            ("/nowhere/a.png", "cannot be read"),
            (tmp_path / "folder.png", "cannot be read"),
            (tmp_path / "notes.txt", "no extension"),
            (tmp_path / "empty.png", "is empty"),
        ):
            with pytest.raises(errors.InvalidInputError, match=words):
                client.upload(path)
    assert sim.stats()["uploads"] == 0


def test_the_async_client_sees_the_same(sim):
    """Both clients read one job alike, and fail alike."""
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        made = client.create("ai-image-generator", REQUEST)
        sim.advance(60)
        job = client.get_job("image", made.id)

    async def poll(key: str, job_id: str):
        async with AsyncMagicHourClient(api_key=key, base_url=sim.url) as asynchronous:
            return await asynchronous.get_job("image", job_id)

    found = asyncio.run(poll(KEY, made.id))
    assert (found.id, found.status, found.credits_charged) == (job.id, job.status, job.credits_charged)
    with pytest.raises(errors.AuthenticationError):
        asyncio.run(poll("mhk_live_wrong", made.id))
    with pytest.raises(errors.NotFoundError):
        asyncio.run(poll(KEY, "nosuchjob"))
    assert sim.stats()["creates"]["accepted"] == 1


def test_storage_never_sees_the_key():
    """Signed links are used without our key, also across a redirect."""
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(dict(request.headers))
        if request.url.path == "/a":
            return httpx.Response(302, headers={"location": "https://other.example/b"})
        return httpx.Response(200, content=b"\x00\x01\x02\x03", headers={"content-type": "video/mp4"})

    with MagicHourClient(api_key=KEY, transport=httpx.MockTransport(answer)) as client:
        received = client.download(Download("https://s.example/a?sig=1"), io.BytesIO())
    assert received.size == 4
    assert len(seen) == 2
    assert not any("authorization" in headers or "x-magichour-source" in headers for headers in seen)


def test_magic_hour_sees_who_asks():
    """Its own requests name the package with its version, and Airflow as their source: paid ones and free ones."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"id": "abc", "credits_charged": 5, "tier": "creator"})

    with MagicHourClient(api_key=KEY, transport=httpx.MockTransport(answer)) as client:
        client.create("ai-image-generator", {"image_count": 1, "style": {"prompt": "x"}})
        client.get_account()
    for request in seen:
        assert request.headers["user-agent"] == f"airflow-provider-magic-hour/{__version__}"
        assert request.headers["x-magichour-source"] == "airflow"
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (httpx.Response(403), "HTTP 403"),
        (httpx.Response(200, content=b""), "empty file"),
        (httpx.Response(200, content=b"<html>", headers={"content-type": "text/html; charset=utf-8"}), "web page"),
    ],
)
def test_a_download_that_is_no_file(response, words):
    """Refused links, empty bodies and web pages are errors without the link in them."""
    with (
        MagicHourClient(api_key=KEY, transport=httpx.MockTransport(lambda request: response)) as client,
        pytest.raises(errors.TransferError, match=words) as caught,
    ):
        client.download(Download("https://s.example/a?sig=secret"), io.BytesIO())
    assert "s.example" not in str(caught.value)


def test_httpx_is_quiet_for_us_alone(sim, caplog):
    """httpx's line per request would show signed links: ours are dropped, other people's stay."""
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        client.get_account()
    assert not [r for r in caplog.records if r.name.startswith(("httpx", "httpcore"))]
    httpx.get(f"{sim.url}/_simulator/stats")
    assert [r for r in caplog.records if r.name == "httpx"]
