"""A storage that accepts connections and never responds costs the API server nothing but the media themselves."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from helpers import s3
from helpers.airflow_rows import make_app
from helpers.stalling import StallingProxy
from helpers.webhooks import serving, until
from magic_hour_provider.plugin import tabs
from magic_hour_provider.plugin.media_tab.files import guard, reader, response

pytest.importorskip("moto.server", reason="moto is not installed")
pytest.importorskip("s3fs", reason="s3fs is not installed")
pytest.importorskip("airflow.providers.amazon", reason="the Amazon provider is not installed")

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)
VIEWERS, EACH = 20, 10
RETURN_S = guard.READ_TIMEOUT_S + guard.OPEN_S
"""From the storage's return to that of the media, at the most."""


@pytest.fixture
def proxy() -> Iterator[StallingProxy]:
    """What stands before the storage."""
    with s3.serving() as endpoint, StallingProxy(endpoint).running() as proxy:
        yield proxy


@pytest.fixture
def server(tab, proxy, monkeypatch) -> Iterator[str]:
    """Airflow's API server on a port, with a task that has a picture in the storage."""
    from airflow.sdk.io import store

    monkeypatch.setenv(f"AIRFLOW_CONN_{s3.CONN_ID.upper()}", s3.connection(proxy.url))
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    bucket = s3.Bucket(proxy.url)
    uri = bucket.write("ai-image-generator-abc123-1.png", PNG)
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", f"{bucket.uri}, {tab.files}")
    tab.put("make", "success", return_value=tab.result(uri))
    tab.put("theirs", "success", return_value=tab.result("a-abc123-1.png"))
    monkeypatch.setattr(guard, "READ_TIMEOUT_S", 600)  # a read that does not stall may be slow
    monkeypatch.setattr(tabs.MEDIA_APP["app"], "_app", None)  # one of this server's own event loop
    with serving(make_app()) as url:
        yield url


def media_tab():
    """Return what the routes share."""
    return tabs.MEDIA_APP["app"]._app.state.media_tab


def test_the_rest_of_airflow_keeps_working(server, tab, proxy, monkeypatch):
    """With 200 reads of 20 viewers stalled, every other route responds: Airflow's, the tab's pages, other roots."""
    monkeypatch.setattr(guard, "_MAX_WAIT_S", 600)
    monkeypatch.setattr(guard, "_MAX_WAITING", 150)

    async def story():
        async with httpx.AsyncClient(
            base_url=server, headers=tab.headers, timeout=60, trust_env=False, limits=httpx.Limits(max_connections=None)
        ) as http:
            assert (await http.get(f"{tab.path('make', -1)}/files/0")).content == PNG
            proxy.is_stalled = True
            asked = [
                asyncio.create_task(http.get(f"{tab.path('make', -1)}/files/0", timeout=600))
                for _ in range(VIEWERS * EACH)
            ]
            no_room = VIEWERS * EACH - 150 - guard._SLOTS
            for _, answer in zip(range(no_room), asyncio.as_completed(asked), strict=False):
                assert (await answer).status_code == 503
            others = ["/api/v2/version", "/api/v2/monitor/health", "/api/v2/dags", tab.path("make", -1)]
            others += [f"{tab.path('make', -1)}/details", f"{tab.path(None)}/details"]
            others += [f"{tab.path('theirs', -1)}/files/0"]
            for path in others * 3:
                assert (await http.get(path)).status_code == 200, path
            assert media_tab()._storage._storage._waiting == 150
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(story())
    until(lambda: media_tab()._storage._storage._waiting == 0)
    until(lambda: media_tab()._storage._storage._slots._value == guard._SLOTS)


def test_media_come_back_with_their_storage(server, tab, proxy, monkeypatch):
    """A sentence meanwhile, at once after three time-outs and without asking the storage; then the picture."""
    assert RETURN_S < 10, "the bound"
    monkeypatch.setattr(guard, "OPEN_S", 3600)
    with httpx.Client(base_url=server, headers=tab.headers, timeout=60, trust_env=False) as http:

        def ask():
            return http.get(f"{tab.path('make', -1)}/files/0")

        assert ask().content == PNG
        proxy.is_stalled = True
        monkeypatch.setattr(guard, "READ_TIMEOUT_S", 1)
        for _ in range(3):
            answer = ask()
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "did not respond within" in answer.json()["detail"]
        before = proxy.stalled_ever
        for _ in range(5):
            assert "does not respond" in ask().json()["detail"]
        assert proxy.stalled_ever == before
        proxy.is_stalled = False
        for breaker in media_tab()._storage._storage._breakers.values():
            breaker.open_until = 0
        monkeypatch.setattr(guard, "READ_TIMEOUT_S", 600)
        assert ask().content == PNG


def test_a_viewer_who_leaves_is_not_waited_for(server, tab, proxy, monkeypatch):
    """His read is abandoned in the storage too: its connection is closed, and its slot is free."""
    loaded = httpx.get(f"{server}{tab.path('theirs', -1)}/files/0", headers=tab.headers, trust_env=False)
    assert loaded.status_code == 200
    proxy.is_stalled = True
    address = urlsplit(server)
    with socket.create_connection((address.hostname, address.port)) as viewer:
        path = f"{tab.path('make', -1)}/files/0"
        viewer.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {tab.headers['authorization']}\r\n\r\n".encode()
        )
        until(lambda: proxy.stalled)
        assert media_tab()._storage._storage._slots._value == guard._SLOTS - 1
    until(lambda: not proxy.stalled)
    until(lambda: media_tab()._storage._storage._slots._value == guard._SLOTS)


def test_a_disk_that_stalls(server, tab, monkeypatch):
    """A mount that hangs: the page comes, with a sentence in place of each picture, and other routes respond."""
    release = threading.Event()
    find = reader._find_local_problems

    def stuck(*args):
        assert release.wait(60)
        return find(*args)

    monkeypatch.setattr(guard, "READ_TIMEOUT_S", 0.2)
    monkeypatch.setattr(reader, "_find_local_problems", stuck)
    with httpx.Client(base_url=server, headers=tab.headers, timeout=60, trust_env=False) as http:
        (file,) = http.get(f"{tab.path('theirs', -1)}/details").json()["files"]
        assert "did not respond within" in file["problem"]
        (file,) = http.get(f"{tab.path('make', -1)}/details").json()["files"]
        assert file["problem"] is None, "another root is not concerned"
        assert http.get("/api/v2/version").status_code == 200
        release.set()


def test_an_object_that_is_replaced_while_it_is_sent(server, tab, proxy, monkeypatch):
    """The response breaks off: no viewer gets a file that is half of one and half of another."""
    bucket = s3.Bucket(proxy.url)
    uri = bucket.write("film-abc123-1.mp4", b"a" * 3000)
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", bucket.uri)
    tab.put("make", "success", return_value=tab.result(uri))
    monkeypatch.setattr(response, "READ_SIZE", 1000)
    with httpx.Client(base_url=server, headers=tab.headers, timeout=60, trust_env=False) as http:
        assert len(http.get(f"{tab.path('make', -1)}/files/0").content) == 3000
        stream, replaced = response._stream, []

        async def replacing(reader, start, end):
            async for chunk in stream(reader, start, end):
                if not replaced:
                    replaced.append(await asyncio.to_thread(bucket.write, "film-abc123-1.mp4", b"b" * 3000))
                yield chunk

        monkeypatch.setattr(response, "_stream", replacing)
        with pytest.raises(httpx.RemoteProtocolError):
            http.get(f"{tab.path('make', -1)}/files/0")
