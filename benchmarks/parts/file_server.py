"""A server of large files for benchmarks: as cheap as can be, in a process of its own, its bytes made as they are sent.

It speaks as much of Magic Hour as the official SDK's ``generate()`` and our client need: a video "of n seconds" is
complete at once and is a file of n MiB.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

MIB = 1024 * 1024
BLOCK = random.Random(0).randbytes(MIB)  # not zeros: nothing on the way may find them easy
LATENCY_S = 0.05
WINDOW = MIB // 2  # what one connection may send before it waits for the other side, LATENCY_S away


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    protocol_version = "HTTP/1.1"
    # TCP would hold back the last part of an answer for the other side's acknowledgement.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Send ``/files/<MiB>/<name>``, ``/far/<MiB>/<name>`` over a link with latency, or a poll a job."""
        where, mib, *_ = self.path.strip("/").split("/")
        if where == "v1":
            self._answer(job(self._here(), self.path.rpartition("/")[2]))
            return
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(int(mib) * MIB))
        self.end_headers()
        pieces = [BLOCK] if where == "files" else [BLOCK[at : at + WINDOW] for at in range(0, MIB, WINDOW)]
        for _ in range(int(mib)):
            for piece in pieces:
                if where == "far":
                    time.sleep(LATENCY_S)
                self.wfile.write(piece)

    def do_POST(self) -> None:
        """Accept a job, or say where to put files."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/files/upload-urls":
            places = [f"file{number}.{item['extension']}" for number, item in enumerate(asked["items"])]
            self._answer({"items": [upload(self._here(), place) for place in places]})
        else:
            self._answer({"id": f"mib{asked['end_seconds']:g}", "credits_charged": 1, "estimated_frame_cost": 1})

    def do_PUT(self) -> None:
        """Take a file and forget it."""
        left, buffer = int(self.headers["Content-Length"]), memoryview(bytearray(MIB))
        while left:
            left -= self.rfile.readinto(buffer[: min(left, MIB)])  # type: ignore[attr-defined]
        self._answer({})

    def _here(self) -> str:
        return f"http://{self.headers['Host']}"

    def _answer(self, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


def upload(here: str, place: str) -> dict[str, str]:
    """Return where one file is to be put."""
    end = "2099-01-01T00:00:00Z"
    return {"upload_url": f"{here}/put/{place}", "file_path": f"api-assets/{place}", "expires_at": end}


def job(here: str, job_id: str) -> dict[str, Any]:
    """Return a poll a complete video, with all that the official SDK wants in it."""
    link = {"url": f"{here}/files/{job_id.removeprefix('mib')}/clip.mp4", "expires_at": "2099-01-01T00:00:00Z"}
    deprecated = {"download": link, "total_frame_cost": 1}
    size = {"width": 1, "height": 1, "fps": 30, "start_seconds": 0, "end_seconds": 1}
    state = {"id": job_id, "name": "clip", "status": "complete", "enabled": True, "type": "TEXT_TO_VIDEO"}
    return state | size | deprecated | {"error": None, "created_at": "", "credits_charged": 1, "downloads": [link]}


def _serve_files(pipe: Connection) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(f"http://127.0.0.1:{server.server_address[1]}")
    server.serve_forever()


def _serve_s3(pipe: Connection) -> None:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    pipe.send(f"http://{host}:{port}")
    pipe.recv()


@contextmanager
def served(what: str) -> Iterator[str]:
    """Run a server in a process of its own; give its address.

    :param what: ``files``, or ``s3`` for moto's S3.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target={"files": _serve_files, "s3": _serve_s3}[what], args=(theirs,), daemon=True)
    process.start()
    try:
        if not ours.poll(60):
            raise RuntimeError(f"The server of {what} did not start.")
        yield ours.recv()
    finally:
        process.terminate()
        process.join(30)
