"""Waiting for what other threads, processes and servers do."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import httpx

from airflow_settings import HANG_S
from magic_hour_provider.api.client import MagicHourClient

T = TypeVar("T")


def until(found: Callable[[], T], seconds: float = HANG_S) -> T:
    """Wait until something is there, and return it.

    :param seconds: after which it will never be there.
    """
    began, pause = time.monotonic(), 0.005
    while not (value := found()):
        waited = time.monotonic() - began
        assert waited < seconds, "waited too long"
        time.sleep(pause)
        # After a long wait a server that has to do it, too, is asked less often.
        pause = min(1.2 * pause, max(0.05, min(0.25, 0.05 * waited)))
    return value


def give_httpx_time() -> None:
    """Let requests of tests wait for as long as anything, where httpx takes five seconds without being asked.

    Its contexts for TLS are made once: loading the certificates costs more than most tests do.
    """
    timeout = httpx._config.DEFAULT_TIMEOUT_CONFIG
    timeout.connect = timeout.read = timeout.write = timeout.pool = HANG_S
    default = httpx._transports.default
    default.create_ssl_context = functools.cache(default.create_ssl_context)


def at_once(times: int, work: Callable[[], object]) -> list[Exception]:
    """Do the same in several threads; return what they raised."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def time_out(client: MagicHourClient, seconds: float, requests: int = 1) -> None:
    """Let a client's next requests to storage wait so long for an answer; all others have the time that they need.

    :param seconds: how long.
    :param requests: how many requests.
    """
    left = [seconds] * requests

    def set_timeout(request: httpx.Request) -> None:
        if left:
            request.extensions["timeout"] = request.extensions["timeout"] | {"read": left.pop()}

    client._storage.event_hooks = {"request": [set_timeout]}
