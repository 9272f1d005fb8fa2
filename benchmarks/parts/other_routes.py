"""Asks Airflow's own routes again and again, in a process of its own: what else a benchmark does delays no response.

Started as a script it takes the address and the authorization, asks until its input ends, and prints how long each
response took.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

_ROUTES = ("/api/v2/version", "/api/v2/monitor/health", "/api/v2/dags")


@contextmanager
def asking_other_routes(url: str, authorization: str) -> Iterator[list[float]]:
    """Ask while the block runs.

    :return: how long each response took, in milliseconds; filled when the block ends.
    """
    times: list[float] = []
    command = [sys.executable, __file__, url, authorization]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield times
        output, _ = process.communicate(timeout=120)
        times += json.loads(output)
    finally:
        process.kill()
        process.wait(30)


def main(url: str, authorization: str) -> None:
    """Ask until the input ends."""
    stop, times = threading.Event(), []
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    with httpx.Client(base_url=url, headers={"authorization": authorization}, timeout=120, trust_env=False) as http:
        while not stop.wait(0.05):
            for address in _ROUTES:
                begun = time.perf_counter()
                http.get(address).raise_for_status()
                times.append((time.perf_counter() - begun) * 1000)
    print(json.dumps(times))


if __name__ == "__main__":
    main(*sys.argv[1:])
