"""How many polls the simulator answers per second and core, beside a bare ASGI application with a constant answer.

The bare application runs on the same server, uvicorn, and answers as many bytes, so it is the most that can be had.
What counts is the CPU time of the server's process, so the client's own cost does not matter. Medians of interleaved
rounds. Beside it: what rendering a video costs, against a limit.
"""

from __future__ import annotations

import multiprocessing
import resource
import selectors
import socket
import statistics
import sys
import tempfile
import time
from collections import deque
from multiprocessing.connection import Connection
from pathlib import Path

KEY = "mhk_live_simulator"
CONNECTIONS = (1, 2000)
IN_FLIGHT = 32
POLLS = 10_000
ROUNDS = 3
BOUND = 0.7
VIDEO_SECONDS = (3, 5)
VIDEO_LIMIT_MS = 150


def allow_many_files() -> None:
    """Raise this process's limit of open files: each connection takes one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def serve_simulator(pipe: Connection) -> None:
    """Run a simulator with one job, and tell its CPU time whenever asked."""
    import httpx

    from magic_hour_provider.simulator import Simulator

    allow_many_files()
    with Simulator(manual_clock=True) as sim:
        request = {"image_count": 1, "style": {"prompt": "A lighthouse at dawn"}}
        answer = httpx.post(
            f"{sim.url}/v1/ai-image-generator", json=request, headers={"Authorization": f"Bearer {KEY}"}
        )
        pipe.send((sim.url, answer.json()["id"]))
        tell_cpu(pipe)
        pipe.send(sim.stats()["polls"])


def serve_constant(pipe: Connection, body: bytes) -> None:
    """Run the bare application, and tell its CPU time whenever asked."""
    import asyncio
    import threading

    import uvicorn

    allow_many_files()
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]

    async def application(scope, receive, send):  # noqa: ARG001
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        application,
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    pipe.send((f"http://127.0.0.1:{listening.getsockname()[1]}", "constant"))
    tell_cpu(pipe)
    pipe.send(0)


def tell_cpu(pipe: Connection) -> None:
    """Answer each message with the CPU time of this process, in seconds, until one is false."""
    while pipe.recv():
        pipe.send(time.process_time())


class Server:
    """A server in a process of its own."""

    def __init__(self, target: object, *arguments: object) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(target=target, args=(theirs, *arguments), daemon=True)  # type: ignore[arg-type]
        self._process.start()
        url, job = self._pipe.recv()
        host, port = url.removeprefix("http://").split(":")
        self.address = (host, int(port))
        # The headers that httpx sends.
        self.request = (
            f"GET /v1/image-projects/{job} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\n"
            f"Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nUser-Agent: benchmark\r\n"
            f"Authorization: Bearer {KEY}\r\n\r\n"
        ).encode()

    def cpu(self) -> float:
        """Return the CPU time of the server, in seconds."""
        self._pipe.send(True)
        return float(self._pipe.recv())

    def stop(self) -> int:
        """Stop it, and return how many polls it has counted."""
        self._pipe.send(False)
        polls = int(self._pipe.recv())
        self._process.join(30)
        return polls


class Clients:
    """Kept connections to a server, all of which send requests in turn."""

    def __init__(self, server: Server, count: int) -> None:
        self._request = server.request
        self._free = deque(socket.create_connection(server.address) for _ in range(count))
        self._free[0].sendall(self._request)
        time.sleep(0.3)
        answer = self._free[0].recv(65536)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        self.body = answer.partition(b"\r\n\r\n")[2]
        self._length = len(answer)
        self.sent = 1

    def poll(self, times: int) -> None:
        """Send so many requests, 32 at a time, each on the connection that has been idle longest."""
        selector = selectors.DefaultSelector()
        left = times

        def send() -> None:
            nonlocal left
            connection = self._free.popleft()
            selector.register(connection, selectors.EVENT_READ, [self._length])
            connection.sendall(self._request)
            left -= 1

        for _ in range(min(IN_FLIGHT, len(self._free))):
            send()
        while selector.get_map():
            for key, _ in selector.select():
                received = len(key.fileobj.recv(65536))  # type: ignore[union-attr]
                assert received, "the server closed a connection"
                key.data[0] -= received
                if key.data[0] <= 0:
                    selector.unregister(key.fileobj)
                    self._free.append(key.fileobj)  # type: ignore[arg-type]
                    if left:
                        send()
        self.sent += times
        selector.close()

    def close(self) -> None:
        """Close them all."""
        for connection in self._free:
            connection.close()


def rates(server: Server, clients: Clients) -> float:
    """Return how many polls the server answers per second of its CPU time."""
    before = server.cpu()
    clients.poll(POLLS)
    return POLLS / (server.cpu() - before)


def polls() -> bool:
    """Measure polls, print the table, and say whether the bound was kept."""
    sim = Server(serve_simulator)
    one = Clients(sim, 1)
    bare = Server(serve_constant, one.body)
    sent = one.sent
    one.close()
    good = True
    print("| Open connections | Polls per second and core | Bare application | Ratio |")
    print("| ---: | ---: | ---: | ---: |")
    for count in CONNECTIONS:
        both = [Clients(server, count) for server in (sim, bare)]
        for server, clients in zip((sim, bare), both, strict=True):
            rates(server, clients)  # warm
        rounds = [
            [rates(server, clients) for server, clients in zip((sim, bare), both, strict=True)] for _ in range(ROUNDS)
        ]
        ours, theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(mine / bare_one for mine, bare_one in rounds)
        good = good and ratio >= BOUND
        print(f"| {count:,} | {ours:,.0f} | {theirs:,.0f} | {ratio:.2f} |")
        sent += both[0].sent
        for clients in both:
            clients.close()
    counted = sim.stop()
    bare.stop()
    assert counted == sent, f"the simulator counted {counted} polls, and {sent} were sent"
    print(f"\nBound: {BOUND}. All {counted:,} polls are in the simulator's counters.\n")
    return good


def videos() -> bool:
    """Measure rendering, print the table, and say whether the limit was kept."""
    from magic_hour_provider.api.catalog import TOOLS
    from magic_hour_provider.simulator.rendering.render import Renderer
    from magic_hour_provider.simulator.service import Service

    good = True
    print("| Video of | CPU time | Limit |")
    print("| ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        service = Service(speed=1, balance=10**9, tier="creator", seed=0, clock=lambda: 1.8e9, storage=folder)
        renderer = Renderer(folder)
        for seconds in VIDEO_SECONDS:
            request = {"end_seconds": seconds, "style": {"prompt": "A lighthouse at dawn"}}
            times = []
            for _ in range(5):
                job = service.create(TOOLS["text-to-video"], request)
                before = time.process_time()
                renderer.render_file(job, 1)
                times.append(1000 * (time.process_time() - before))
            middle = statistics.median(times)
            good = good and middle <= VIDEO_LIMIT_MS
            print(f"| {seconds} s | {middle:.0f} ms | {VIDEO_LIMIT_MS} ms |")
    return good


def main() -> int:
    """Print the tables; the exit code is 0 when the bounds were kept."""
    allow_many_files()
    kept = [polls(), videos()]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
