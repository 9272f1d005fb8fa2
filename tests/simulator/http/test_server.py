"""The simulator's server: kept connections, held clients, starting and stopping."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from helpers.simulator import IMAGE_REQUEST, connect
from helpers.waiting import until
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.http.uvicorn_server import listen

CREATE = "/v1/ai-image-generator"
HELD_S = 600
# Far less than a client is held, and more than the slowest machine needs to close.
CLOSED_S = 60


def test_polls_on_a_kept_connection_do_not_stall(sim: Simulator, client: httpx.Client, create: Callable[..., str]):
    """No poll waits for a delayed acknowledgement, which would take 40 ms each time."""
    job = create()
    times = []
    for _ in range(20):
        started = time.perf_counter()
        client.get(f"/v1/image-projects/{job}")
        times.append(time.perf_counter() - started)
    assert min(times[1:]) < 0.03
    assert (sim.stats()["polls"], sim.stats()["creates"]["accepted"]) == (20, 1)


@pytest.mark.parametrize(
    ("fault", "options", "accepted"),
    [
        ("close-after-accept", {"hold_seconds": HELD_S}, 1),
        ("stall", {}, 0),
        ("stall-mid-body", {}, 1),
        ("latency", {"seconds": HELD_S}, None),
    ],
)
def test_closing_does_not_wait_for_held_clients(fault: str, options: dict[str, Any], accepted: int | None):
    """A simulator closes at once although a client is held before, instead of or in the middle of its response."""
    caught: list[Exception] = []

    def post() -> None:
        try:
            http.post(CREATE, json=IMAGE_REQUEST)
        except httpx.TransportError as error:
            caught.append(error)

    with Simulator() as sim, connect(sim, timeout=HELD_S) as http:
        sim.inject_fault(fault, **options)
        held = threading.Thread(target=post)
        held.start()
        until(lambda: sim.stats()["faults_injected"])
        if accepted is not None:
            until(lambda: sim.summary().creates + sim.summary().refused)
            assert (sim.summary().creates, sim.summary().refused) == (accepted, 1 - accepted)
        started = time.monotonic()
        sim.close()
        assert time.monotonic() - started < CLOSED_S
        held.join(CLOSED_S)
        assert not held.is_alive()
        assert sim.summary().creates <= (1 if accepted is None else accepted)
    assert len(caught) == 1


def test_a_held_client_that_disconnects_is_let_go():
    """When a held client gives up, the simulator stops holding, and logs the request."""
    lines: list[str] = []
    with Simulator(log=lines.append) as sim, connect(sim) as http:
        sim.inject_fault("close-after-accept", hold_seconds=HELD_S)
        request = http.build_request("POST", CREATE, json=IMAGE_REQUEST)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        with socket.create_connection((request.url.host, request.url.port or 80)) as held:
            held.sendall(f"POST {CREATE} HTTP/1.1\r\n{head}\r\n".encode() + request.content)
            until(lambda: sim.summary().creates)
            assert lines == []
        until(lambda: lines)
        (job,) = sim.jobs()
        assert lines == [f"POST {CREATE} closed without a response {job['id']} 10 credits"]
        assert sim.summary().creates == 1


def test_idle_connections_are_closed_with_it(sim: Simulator, client: httpx.Client):
    """A kept connection that is idle, and one on which nothing was ever sent, end when the simulator does."""
    assert client.get("/_simulator/stats").status_code == 200
    with socket.create_connection(("127.0.0.1", int(sim.url.rsplit(":", 1)[1])), timeout=CLOSED_S) as silent:
        sim.close()
        with suppress(ConnectionResetError):
            assert silent.recv(1) == b""
    with pytest.raises(httpx.TransportError):
        client.get("/_simulator/stats")


def test_a_busy_port_is_not_shared():
    """A port that is busy is an error before a thread is started."""
    with listen("127.0.0.1", 0) as busy:
        busy.listen()
        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", busy.getsockname()[1])


def test_ipv6():
    """It listens on IPv6 too, where faults close connections as well."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with Simulator(host="::1") as sim, connect(sim) as http:
        sim.inject_fault("close-before-read")
        with pytest.raises(httpx.TransportError):
            http.post(CREATE, json=IMAGE_REQUEST)
        assert http.post(CREATE, json=IMAGE_REQUEST).status_code == 200
        assert sim.summary().creates == 1


def test_starting_and_closing_again():
    """A simulator that was closed frees its port at once; another one can listen there, and again."""
    port = 0
    for _ in range(3):
        with Simulator(port=port) as sim:
            port = int(sim.url.rsplit(":", 1)[1])
            assert httpx.get(f"{sim.url}/_simulator/stats").status_code == 200
