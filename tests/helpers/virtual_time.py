"""An event loop whose time passes only when nothing else is left to do, and a Magic Hour in its memory.

For what a server over real HTTP cannot show: thousands of jobs, and days, in seconds.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar

import httpx
import pytest

from helpers.clocks import set_clock
from helpers.jobs import batch_trigger_arguments, trigger_arguments
from magic_hour_provider.api.client import AsyncMagicHourClient
from magic_hour_provider.api.responses import Response, transport_error
from magic_hour_provider.clock import Clock
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.hooks.settings import ConnectionSettings
from magic_hour_provider.triggers.batch import MagicHourBatchTrigger
from magic_hour_provider.triggers.job import MagicHourJobTrigger

START = 1_800_000_000.0
Result = TypeVar("Result")


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timer, moves the time; not while a thread is at work that has the name ``waits_for``."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.waits_for = ""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.waits_for:
            if ready := super().select(0):
                return ready
            if any(thread.name == self.waits_for for thread in threading.enumerate()):
                return super().select(0.002)
        self.time += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time.

    :param waits_for: name of threads while which no time passes.
    """

    def __init__(self, waits_for: str = "") -> None:
        self._jumping = _JumpingSelector()
        self._jumping.waits_for = waits_for
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time."""
        return self._jumping.time


class LoopClock(Clock):
    """Reads the running loop's time; ``ahead`` is how far the machine's clock has been set ahead of it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        """Return the machine's time."""
        return START + self.monotonic() + self.ahead

    def monotonic(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, Result], *, waits_for: str = "") -> Result:
    """Run a coroutine in virtual time.

    :param waits_for: name of threads while which no time passes.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(waits_for)) as runner:
        return runner.run(main)


@dataclass(eq=False)
class Service:
    """A Magic Hour in memory: a job ends when the time in ``ends`` comes, others never do.

    :param answer: takes a poll's job id and its number, and returns a response or an error instead, or None.
    :param latency_s: how long a response takes.
    :param keys: the keys that are accepted.
    """

    ends: dict[str, float] = field(default_factory=dict)
    answer: Callable[[str, int], httpx.Response | Exception | None] = lambda job_id, number: None
    latency_s: float = 0.05
    keys: tuple[str, ...] = ("mhk_live_one",)
    polls: list[tuple[float, str]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    closed: int = 0

    async def respond(self, job_id: str, key: str) -> httpx.Response:
        """Return the response to a poll, or raise what it met instead."""
        loop = asyncio.get_running_loop()
        self.polls.append((loop.time(), job_id))
        number = len(self.polls)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency_s)
        finally:
            self.in_flight -= 1
        if key not in self.keys:
            return httpx.Response(401, json={"message": "no such key"})
        special = self.answer(job_id, number)
        if isinstance(special, Exception):
            raise special
        if special is not None:
            return special
        has_ended = loop.time() >= self.ends.get(job_id, float("inf"))
        status, links = ("complete", [{"url": "https://files.example/1.mp4"}]) if has_ended else ("rendering", [])
        return httpx.Response(200, json={"id": job_id, "status": status, "credits_charged": 5, "downloads": links})

    def times(self, job_id: str) -> list[float]:
        """Return when a job was polled."""
        return [time for time, polled in self.polls if polled == job_id]


@dataclass(frozen=True)
class _Transport:
    """The transport of one client of a service."""

    service: Service
    key: str

    async def get(self, path: str, doing: str) -> Response:
        try:
            return Response.of(await self.service.respond(path.rpartition("/")[2], self.key))
        except httpx.RequestError as error:
            raise transport_error(error, doing) from None

    async def aclose(self) -> None:
        self.service.closed += 1


def statuses(events: list[dict]) -> Counter:
    """Count how waits ended."""
    return Counter(event["status"] for event in events)


class Virtual:
    """Triggers in virtual time. Every client of a connection reaches ``service``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = LoopClock()
        self.service = Service()
        self.key = "mhk_live_one"
        self.readings = 0
        self.clients = 0
        self.most_per_second = 200.0
        self.logged: list[str] = []

        async def settings(_: MagicHourHook) -> ConnectionSettings:
            self.readings += 1
            await asyncio.sleep(0.01)
            return ConnectionSettings(api_key=self.key, max_polls_per_second=self.most_per_second)

        async def client(_: MagicHourHook, settings: ConnectionSettings) -> AsyncMagicHourClient:
            self.clients += 1
            return AsyncMagicHourClient(api_key=settings.api_key, transport=_Transport(self.service, settings.api_key))

        monkeypatch.setattr(MagicHourHook, "async_settings", settings)
        monkeypatch.setattr(MagicHourHook, "get_async_conn", client)
        set_clock(monkeypatch, self.clock)
        # Thousands of jobs would spend their time in writing lines to the terminal.

        async def ainfo(line: str) -> None:
            self.logged.append(line)

        for one in (MagicHourJobTrigger, MagicHourBatchTrigger):
            monkeypatch.setattr(one, "log", SimpleNamespace(ainfo=ainfo))

    def trigger(self, job_id: str, **changes: Any) -> MagicHourJobTrigger:
        """Make a trigger of a lip sync submitted and deferred now, with an hour to wait."""
        return MagicHourJobTrigger(**trigger_arguments(job_id, self.clock.now(), **{"tool": "lip-sync"} | changes))

    def batch(self, job_ids: Iterable[str], **changes: Any) -> MagicHourBatchTrigger:
        """Make a trigger of lip syncs submitted and deferred now, with an hour to wait until all have ended."""
        now = self.clock.now()
        return MagicHourBatchTrigger(**batch_trigger_arguments(job_ids, now, **{"tool": "lip-sync"} | changes))
