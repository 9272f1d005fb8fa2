"""Clients of the simulator, the size of its pictures, and a receiver of its webhooks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from helpers.waiting import HANG_S
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.jobs import dimensions

KEY = "mhk_live_simulator"
NOW = 1_780_000_000.0
EXAMPLES: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "simulator" / "data" / "requests.json").read_text()
)
VIDEO_REQUEST = {"end_seconds": 5, "style": {"prompt": "A lighthouse at dawn"}}
LIP_SYNC_REQUEST = {
    "assets": {
        "audio_file_path": "https://example.com/a.mp3",
        "video_file_path": "https://example.com/a.mp4",
        "video_source": "file",
    },
    "start_seconds": 0,
    "end_seconds": 10,
}
IMAGE_REQUEST = {"image_count": 1, "style": {"prompt": "A lighthouse at dawn"}}
LONG_SIDE = dimensions.LONG_SIDE


def render_small() -> None:
    """Let this process's simulators make small pictures: drawing them takes a tenth of the time of all tests."""
    dimensions.LONG_SIDE = 192


def connect(sim: Simulator, **options: Any) -> httpx.Client:
    """Return a client with the simulator's key. It loads no certificates, which costs more than most tests do."""
    headers = {"Authorization": f"Bearer {KEY}"}
    return httpx.Client(
        base_url=sim.url, headers=headers, verify=False, trust_env=False, **{"timeout": HANG_S, **options}
    )


def request_with(words: str = "", seconds: float = 100) -> dict[str, Any]:
    """Return a request for an image that takes so many seconds, and whose directives decide how it ends."""
    return {"image_count": 1, "style": {"prompt": f"A lighthouse [[seconds:{seconds:g}]] {words}"}}


def pass_time(sim: Simulator, *seconds: float) -> None:
    """Move the simulator's clock, each time until what is due has been sent."""
    for step in seconds:
        sim.advance(step)
        sim.wait_for_deliveries()


def delivery_outcomes(sim: Simulator) -> list[tuple[str, int, str, int | None]]:
    """Return the attempts to deliver an event: event, number, outcome and status."""
    return [(one["type"], one["attempt"], one["outcome"], one["status"]) for one in sim.deliveries()]


class Receiver:
    """Takes webhooks on a port of this machine, keeps them, and answers as ``answer`` says.

    :param answer: called with the number of a request, counted from 1, and its body; returns the status to answer.
    """

    def __init__(self, answer: Callable[[int, dict[str, Any]], int] = lambda number, body: 200) -> None:
        self.answer = answer
        self.requests: list[tuple[dict[str, str], bytes]] = []
        receiver, arrived = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with arrived:
                    receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                    number = len(receiver.requests)
                status = receiver.answer(number, json.loads(body))
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", receiver.url)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # of connections: what finds no place in it comes a second later

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/magic-hour/webhook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What has been received, in the order in which it came."""
        return [json.loads(body) for _, body in self.requests]

    @property
    def events(self) -> list[str]:
        """The events received, in the order in which they came."""
        return [body["type"] for body in self.bodies]

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
