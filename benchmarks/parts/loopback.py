"""A server of constant cost that every side polls at: Magic Hour, Databricks and dbt Cloud, over TLS and plain.

It has a process of its own, so that its CPU time is not counted as anybody's. A job ends at the poll that the round
says, whoever polls, so that all sides do the same work.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import resource
import ssl
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# What real responses weigh: a poll of a job of one file. The peers' are padded to the same size.
_ANSWER_BYTES = 600


@dataclass
class Summary:
    """What was asked since the last round began."""

    requests: int = 0
    refused: int = 0
    most_sockets: int = 0


class Loopback:
    """Says what the jobs of a round are like, and counts."""

    def __init__(self) -> None:
        self.sockets = 0
        self.begin({})

    def begin(self, round_: dict[str, Any]) -> None:
        """Begin a round.

        :param round_: ``polls``: the poll at which jobs end, 0 for never; ``per_second``: how many polls are answered
            within any second, before 429.
        """
        self.polls = round_.get("polls", 0)
        self.per_second = round_.get("per_second", 0)
        self.summary = Summary(most_sockets=self.sockets)
        self._seen: Counter[str] = Counter()
        self._recent: deque[float] = deque()

    def connected(self, more: int) -> None:
        """Count an opened or a closed socket."""
        self.sockets += more
        self.summary.most_sockets = max(self.summary.most_sockets, self.sockets)

    def answer(self, path: str, body: bytes) -> bytes:
        """Return the answer to a request, whole."""
        self.summary.requests += 1
        if self.per_second and self._too_fast():
            self.summary.refused += 1
            return _response("429 Too Many Requests", b"{}", b"retry-after: 1\r\n")
        kind, job = (
            ("databricks", str(json.loads(body)["run_id"])) if body else (path[:4], path.strip("/").split("/")[-1])
        )
        self._seen[job] += 1
        ended = bool(self.polls) and self._seen[job] >= self.polls
        if kind == "databricks":
            # Its trigger asks once more after the end: one poll fewer, so that the requests are as many as ours.
            ended = bool(self.polls) and self._seen[job] >= self.polls - 1
            life = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}
            state = life if ended else {"life_cycle_state": "RUNNING"}
            return _ok({"run_id": int(job), "state": {**state, "state_message": ""}, "tasks": []})
        if kind == "/api":
            return _ok({"status": {"code": 200}, "data": {"id": int(job), "status": 10 if ended else 3}})
        links = [{"url": "https://files.example/1.mp4", "expires_at": None}] if ended else []
        status = "complete" if ended else "rendering"
        return _ok({"id": job, "status": status, "enabled": True, "credits_charged": 5, "downloads": links})

    def _too_fast(self) -> bool:
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if len(self._recent) >= self.per_second:
            return True
        self._recent.append(now)
        return False


def _ok(answer: dict[str, Any]) -> bytes:
    text = json.dumps(answer)
    return _response("200 OK", json.dumps({**answer, "padding": "x" * (_ANSWER_BYTES - len(text) - 16)}).encode())


def _response(status: str, body: bytes, header: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + header + b"\r\n" + body


class _Socket(asyncio.Protocol):
    def __init__(self, loopback: Loopback) -> None:
        self._loopback = loopback
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._loopback.connected(1)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._loopback.connected(-1)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            _, found, rest = head.lower().partition(b"content-length:")
            end += 4
            whole = end + (int(rest.split(b"\r\n", 1)[0]) if found else 0)
            if len(self._received) < whole:
                return
            body, self._received = self._received[end:whole], self._received[whole:]
            path = head.split(b" ", 2)[1].decode()
            self._transport.write(self._loopback.answer(path, body))  # type: ignore[attr-defined]


def allow_many_files() -> None:
    """Raise this process's limit of open files: each socket takes one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(pipe: Connection, chain: str) -> None:
    loop, loopback = asyncio.get_running_loop(), Loopback()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    stopped = asyncio.Event()

    def ordered() -> None:
        order = pipe.recv()
        if order is None:
            stopped.set()
        elif order == "summary":
            pipe.send(asdict(loopback.summary))
        else:
            loopback.begin(order)
            pipe.send(None)

    loop.add_reader(pipe.fileno(), ordered)
    ports = {}
    for scheme, tls in (("https", context), ("http", None)):
        server = await loop.create_server(lambda: _Socket(loopback), "127.0.0.1", 0, ssl=tls, backlog=20_000)
        ports[scheme] = server.sockets[0].getsockname()[1]
    pipe.send(ports)
    await stopped.wait()


def _main(pipe: Connection, chain: str) -> None:
    allow_many_files()
    asyncio.run(_serve(pipe, chain))


class Server:
    """The server's process; ends with the ``with`` block.

    :param chain: its certificate with its key.
    """

    def __init__(self, chain: Path) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(target=_main, args=(theirs, str(chain)), daemon=True)

    def __enter__(self) -> Server:
        self._process.start()
        self.ports: dict[str, int] = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()

    def begin(self, **round_: int) -> None:
        """Begin a round; see :meth:`Loopback.begin`."""
        self._pipe.send(round_)
        self._pipe.recv()

    def summary(self) -> Summary:
        """Return what was asked since the round began."""
        self._pipe.send("summary")
        return Summary(**self._pipe.recv())
