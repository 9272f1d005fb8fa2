"""The four sides, each in a process of its own: our trigger, those of two peers, and a bare asyncio loop.

Triggers run as the triggerer runs them: ``async for`` over ``run()`` in one task each, all on one loop, started one
after the other with a breath between.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from parts.loopback import allow_many_files

_TICK_S = 0.01
_SOCKETS = 32


@dataclass(frozen=True)
class Round:
    """What a side has to do.

    :param scheme: ``https`` or ``http``.
    :param jobs: so many, started at once.
    :param interval_s: seconds between two polls a job; 0: as our own schedule has it.
    :param hold_s: seconds after which the jobs are given up; 0: wait until they end.
    :param first_id: the jobs' ids count from here.
    """

    scheme: str
    jobs: int
    interval_s: int
    hold_s: float = 0
    first_id: int = 1


@dataclass(frozen=True)
class Measured:
    """What it took.

    :param cpu_s: CPU seconds of the process, user and system.
    :param lags_s: how late the loop was at every hundredth of a second, sorted; less what other processes had of the
        core meanwhile, where Linux tells.
    :param bytes_per_job: by how much the process grew, for each job.
    """

    cpu_s: float
    lags_s: list[float]
    bytes_per_job: float

    def lag_ms(self, part: float) -> float:
        """Return the lag that this part of all moments does not exceed, in milliseconds."""
        return 1000 * self.lags_s[min(len(self.lags_s) - 1, int(part * len(self.lags_s)))]


Wait = Callable[[int], AsyncIterator[Any]]


def _magic_hour(ask: Round) -> Wait:
    from magic_hour_provider.polling import rate_limiter
    from magic_hour_provider.polling.schedule import Schedule
    from magic_hour_provider.triggers import job, waits

    if ask.interval_s:
        # As the peers: the same interval at any age, and no care for the account from the first poll on.
        fixed = Schedule(ask.interval_s, ask.interval_s, ask.interval_s)
        waits._schedule = lambda *_: fixed  # type: ignore[assignment]
        rate_limiter._START_RATE = 80_000.0
    # With a fixed interval: submitted long enough ago for a first poll at once, as the peers take it.
    then = time.time() - 60 if ask.interval_s else time.time()
    conn_id = f"magic_hour_{ask.scheme}" + ("" if ask.interval_s else "_polite")

    def wait(number: int) -> AsyncIterator[Any]:
        return job.MagicHourJobTrigger(
            kind="image",
            job_id=f"job{number}",
            tool="ai-image-generator",
            conn_id=conn_id,
            submitted_at=then,
            deferred_at=then,
            deadline=then + 86_400,
        ).run()

    return wait


def _databricks(ask: Round) -> Wait:
    from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger

    conn_id = f"databricks_{ask.scheme}"
    return lambda number: DatabricksExecutionTrigger(number, conn_id, polling_period_seconds=ask.interval_s).run()


def _dbt(ask: Round) -> Wait:
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    end = time.time() + 86_400
    return lambda number: DbtCloudRunJobTrigger("dbt_https", number, end, ask.interval_s, account_id=1).run()


def _raw(ask: Round) -> Wait:
    port = int(os.environ[f"LOOPBACK_{ask.scheme.upper()}"])
    context = ssl.create_default_context() if ask.scheme == "https" else None
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    in_flight = asyncio.Semaphore(_SOCKETS)

    async def poll(number: int) -> Any:
        async with in_flight:
            reader, writer = free.pop() if free else await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(
                f"GET /v1/image-projects/raw{number} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: */*\r\n"
                "authorization: Bearer mhk_live_benchmark\r\nuser-agent: benchmark\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            body = await reader.readexactly(length)
            free.append((reader, writer))
        return json.loads(body)

    async def wait(number: int) -> AsyncIterator[Any]:
        while True:
            job = await poll(number)
            if job["status"] == "complete":
                yield job
                return
            await asyncio.sleep(ask.interval_s)

    return wait


def _nothing(ask: Round) -> Wait:  # noqa: ARG001
    """Make triggers that only wait: what a waiting task of the loop weighs by itself."""

    async def wait(number: int) -> AsyncIterator[Any]:
        await asyncio.sleep(86_400)
        yield number

    return wait


SIDES = {"Magic Hour": _magic_hour, "Databricks": _databricks, "dbt Cloud": _dbt, "raw": _raw, "nothing": _nothing}


async def _consume(wait: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in wait]


async def _lags(lags: list[float]) -> None:
    """Write down, for every tick that was due, how late it was noticed: a block counts for as long as it lasted."""
    due, stolen = time.monotonic() + _TICK_S, _stolen_s()
    while True:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        now, before, stolen = time.monotonic(), stolen, _stolen_s()
        own = 1 - min(1.0, (stolen - before) / (now - due)) if now > due else 0.0
        while due <= now:
            lags.append(own * (now - due))
            due += _TICK_S


def _stolen_s() -> float:
    """Return for how long this thread has ever waited for a core that another one had, in seconds."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


async def _measure(ask: Round, make: Callable[[Round], Wait]) -> Measured:
    wait = make(ask)
    lags: list[float] = []
    process = psutil.Process()
    probe = asyncio.create_task(_lags(lags))
    await asyncio.sleep(0.05)
    resident, begin = process.memory_info().rss, time.process_time()
    tasks = []
    for number in range(ask.first_id, ask.first_id + ask.jobs):
        tasks.append(asyncio.create_task(_consume(wait(number))))
        await asyncio.sleep(0)
    grown = 0
    if ask.hold_s:
        await asyncio.sleep(ask.hold_s)
        grown = process.memory_info().rss - resident
        spent = time.process_time() - begin
        await _given_up(probe, *tasks)
    else:
        events = await asyncio.gather(*tasks)
        spent = time.process_time() - begin
        await _given_up(probe)
        if not all(len(of_job) == 1 for of_job in events):
            raise AssertionError("a job without one event")
        bad = [of_job for of_job in events if not any(word in str(of_job).lower() for word in ("complete", "success"))]
        if bad:
            raise AssertionError(f"{len(bad)} of {len(events)} jobs did not end well: {bad[0]}")
    return Measured(spent, sorted(lags), grown / ask.jobs)


async def _given_up(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _main(pipe: Connection, name: str) -> None:
    allow_many_files()
    while (ask := pipe.recv()) is not None:
        try:
            pipe.send(asyncio.run(_measure(ask, SIDES[name])))
        except Exception as error:
            pipe.send(error)
            raise


class Side:
    """One side's process; ends with the ``with`` block.

    :param name: a key of :data:`SIDES`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._pipe, theirs = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(target=_main, args=(theirs, name), daemon=True)

    def __enter__(self) -> Side:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()

    def run(self, ask: Round) -> Measured:
        """Run a round and return what it took."""
        self._pipe.send(ask)
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]
