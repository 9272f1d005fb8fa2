"""Links given as inputs, fetched: whole files alone, in bounded time and size."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.simulator import input_links
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.input_links import InputLinks, is_fetchable

TOOL = get_tool("ai-image-upscaler")
FETCHED = Behavior(input_links="fetched")


@pytest.fixture
def address() -> Iterator[str]:
    """A server whose files are as long as their paths say; some break off, lie elsewhere or never come."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            what, size = self.path.strip("/").split("/")[0], 1000
            self.send_response({"moved": 302, "away": 503}.get(what, 200))
            self.send_header("Location", "/whole/a.png")
            self.send_header("Content-Length", str(0 if what == "empty" else size))
            self.end_headers()
            self.wfile.write(b"" if what == "empty" else bytes(size // 2 if what == "cut" else size))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("whole/a.png", {"fetched": 1, "failed": 0, "bytes": 1000}),
        ("whole/a%2Epng", {"fetched": 1, "failed": 0, "bytes": 1000}),
        ("whole/a.mp4", {"fetched": 0, "failed": 1, "bytes": 0}),
        ("empty/a.png", {"fetched": 0, "failed": 1, "bytes": 0}),
        ("moved/a.png", {"fetched": 0, "failed": 1, "bytes": 0}),
        ("away/a.png", {"fetched": 0, "failed": 1, "bytes": 0}),
        (":no-port/a.png", {"fetched": 0, "failed": 1, "bytes": 0}),
    ],
)
def test_what_is_a_file(address, path, expected):
    """A whole one of a type that the field takes; no redirect is followed to somewhere else."""
    links = InputLinks(FETCHED, 1000)
    url = f"http://127.0.0.1{path}" if path.startswith(":") else f"{address}/{path}"
    links.fetch(TOOL, {"assets": {"image_file_path": url}})
    assert links.stats() == expected
    assert links.is_missing(url) == bool(expected["failed"])


def test_one_that_breaks_off_or_is_too_large_or_too_slow_is_none(address, monkeypatch):
    """What came is counted all the same."""
    links, url = InputLinks(FETCHED, 999), f"{address}/whole/a.png"
    links.fetch(TOOL, {"assets": {"image_file_path": f"{address}/cut/a.png"}})
    links.fetch(TOOL, {"assets": {"image_file_path": url}})
    assert links.stats() == {"fetched": 0, "failed": 2, "bytes": 1500}
    monkeypatch.setattr(input_links, "_MOST_S", -1)
    slow = InputLinks(FETCHED, 1000)
    slow.fetch(TOOL, {"assets": {"image_file_path": url}})
    assert slow.is_missing(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://host.example/a.png",
        "ftp://127.0.0.1/a.png",
        "http://127.0.0.1/_files/id/1/a.png",
        "http://[::1/a.png",
        "api-assets/id/a.png",
        "file:///etc/passwd",
    ],
)
def test_the_simulator_leaves_this_machine_for_nobody(url):
    """And no link makes it read a file or ask itself."""
    assert not is_fetchable(url)
