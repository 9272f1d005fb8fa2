"""One watcher per event loop and connection: all jobs of a triggerer process look like one polite client.

A client of its own per trigger would cost 24 ms of blocked loop each (its SSL context); a sleeping task per job costs
memory. So there is one heap of due times, one timer, one client, few looks in flight and one rate for the account.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from functools import partial
from itertools import count
from weakref import WeakKeyDictionary

from magic_hour_provider.api.clock import Clock
from magic_hour_provider.api.errors import (
    ConnectionFailedError,
    InvalidInputError,
    MagicHourError,
    RateLimitedError,
    ResponseLostError,
    ServerError,
)
from magic_hour_provider.api.models import COMPLETE, Job
from magic_hour_provider.hooks.magic_hour import Settings
from magic_hour_provider.polling.rate_limiter import Rate
from magic_hour_provider.polling.schedule import TIMEOUT, Outcome, is_refusal
from magic_hour_provider.triggers.client_provider import READ_AGAIN_S, Line, Lines
from magic_hour_provider.triggers.poll_metrics import FAILING_LOOKS, LOOKS, RATE_LIMITED, Meter
from magic_hour_provider.triggers.polled_job import Watched

MAX_IN_FLIGHT = 32

# A service in trouble is not asked faster for it.
_IN_TROUBLE = (ConnectionFailedError, ResponseLostError, ServerError, InvalidInputError)
# How far beyond its deadline a job may be that could not be looked at, as everything stalls.
_OVERDUE_S = 10.0

_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Watcher]] = WeakKeyDictionary()
_paused: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Rate]] = WeakKeyDictionary()
"""Rates of closed watchers that the service has told to wait: the next watcher waits too."""


class Watcher:
    """Looks at the jobs of one connection. Never logs: its work belongs to no single task.

    Get one with :func:`watcher_of`.

    :param conn_id: the connection.
    :param clock: the time.
    """

    def __init__(self, conn_id: str, clock: Clock) -> None:
        self.conn_id = conn_id
        self.rate = Rate()
        self.jobs: set[Watched] = set()
        self._clock = clock
        # An empty context: a task started while a trigger calls would inherit that trigger's log.
        self._context = contextvars.Context()
        self._lines = Lines(conn_id, self._context, MAX_IN_FLIGHT, self._opened, clock)
        self._meter = Meter(conn_id)
        self._due: list[tuple[float, int, Watched]] = []
        self._order = count()
        self._looks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Handle | None = None
        self._timer_at = float("inf")
        self._checked_at = clock.steady()
        self._closing: asyncio.Task[None] | None = None

    def add(self, job: Watched, due: float) -> None:
        """Look at a job from a time on."""
        self.jobs.add(job)
        self._push(job, due)

    async def leave(self, job: Watched) -> None:
        """Forget a job; the last one to leave closes everything and waits for that."""
        job.left = True
        self.jobs.discard(job)
        if len(self._due) > 64 and len(self._due) > 2 * len(self.jobs):
            self._due = [entry for entry in self._due if not entry[2].left]
            heapq.heapify(self._due)
        if self.jobs or self._closing is not None:
            return
        # Out of the table first: a job that comes while this one closes gets a new watcher.
        loop = asyncio.get_running_loop()
        _watchers[loop].pop(self.conn_id)
        if self.rate.next_at > self._clock.steady() + 1:
            _paused.setdefault(loop, {})[self.conn_id] = self.rate
        self._closing = loop.create_task(self._close(), context=self._context)
        await asyncio.shield(self._closing)

    def _opened(self, settings: Settings) -> None:
        self.rate.limit(settings.max_looks_per_second)

    # -- when

    def _push(self, job: Watched, due: float) -> None:
        heapq.heappush(self._due, (due, next(self._order), job))
        self._set_timer(due)

    def _set_timer(self, at: float) -> None:
        if at >= self._timer_at or self._closing is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._clock.call_later(max(0.0, at - self._clock.steady()), self._tick, self._context)

    def _tick(self) -> None:
        """Start the looks that are due; the only place that does."""
        self._timer, self._timer_at = None, float("inf")
        try:
            now = self._clock.steady()
            self._check(now)
            while self._due and self._due[0][0] <= now:
                if len(self._looks) >= MAX_IN_FLIGHT:
                    return  # the next one that ends calls again
                if self.rate.next_at > now:
                    self.rate.waited(now)
                    break
                job = heapq.heappop(self._due)[2]
                if not job.left and job.outcome is None:
                    self._start_look(job, now)
            if self._due:
                self._set_timer(max(self._due[0][0], min(self.rate.next_at, now + _OVERDUE_S)))
        except BaseException as failure:
            # Without this nobody would ever look again, and every trigger would wait for ever.
            for job in self.jobs:
                job.fail(failure)
            raise

    def _check(self, now: float) -> None:
        """Every now and then: send figures, and end the waits that a stalling service has kept beyond their time."""
        if self._meter.is_due(now):
            self._meter.send(len(self.jobs), now)
        if now - self._checked_at >= _OVERDUE_S:
            self._checked_at = now
            for job in self.jobs:
                if job.outcome is None and not job.looking and job.wait.deadline < now - _OVERDUE_S:
                    job.end(Outcome(TIMEOUT), "not looked at in time, as the service keeps us waiting", now)

    # -- what

    def _start_look(self, job: Watched, now: float) -> None:
        self.rate.sent(now)
        job.looking = True
        task = asyncio.get_running_loop().create_task(self._look(job, now), context=self._context)
        self._looks.add(task)
        task.add_done_callback(partial(self._looked, job), context=self._context)

    async def _look(self, job: Watched, sent_at: float) -> None:
        line, reading = None, 0
        seen: Job | MagicHourError
        try:
            line = await self._lines.current()
            reading = line.reading
            with self._lines.used(line) as client:
                seen = await client.get_job(job.kind, job.job_id)
            self._lines.worked(line)
        except MagicHourError as error:
            seen = error
        now = self._clock.steady()
        self._note(seen, sent_at, now)
        if job.left:
            return
        decided: float | Outcome | None = None
        if isinstance(seen, Job):
            job.refusals = 0
        elif job.refusals == 0:
            decided = self._second_chance(seen, line, reading, now)
            job.refusals = int(decided is not None)
        if decided is None:
            decided = job.wait.decide(seen, now)
        if isinstance(decided, Outcome) and decided.status == COMPLETE and job.active_at is not None:
            # Somewhere between the look before and this one: the middle is the best guess.
            self._meter.delay(max(now, job.not_before) - (job.active_at + now) / 2)
        job.looked(seen, decided, now)
        if not isinstance(decided, Outcome):
            self._push(job, decided)

    def _second_chance(self, seen: MagicHourError, line: Line | None, reading: int, now: float) -> float | None:
        """Return when to look again at a job whose look was refused, or None if that is the end."""
        if line is None:
            return now + READ_AGAIN_S if isinstance(seen, InvalidInputError) else None
        return now if is_refusal(seen) and self._lines.refused(line, reading) else None

    def _note(self, seen: Job | MagicHourError, sent_at: float, now: float) -> None:
        self._meter.count(LOOKS)
        if isinstance(seen, MagicHourError):
            self._meter.count(FAILING_LOOKS)
        if isinstance(seen, RateLimitedError):
            self._meter.count(RATE_LIMITED)
            self.rate.refused(sent_at, now, seen.retry_after)
        elif not isinstance(seen, _IN_TROUBLE):
            self.rate.answered(sent_at)

    def _looked(self, job: Watched, task: asyncio.Task[None]) -> None:
        self._looks.discard(task)
        job.looking = False
        if not task.cancelled() and (failure := task.exception()) is not None:
            job.fail(failure)
        if self._due:
            self._set_timer(max(self._due[0][0], self._clock.steady()))

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for look in self._looks:
            look.cancel()
        if self._looks:
            await asyncio.wait(self._looks)
        self._due.clear()
        await self._lines.aclose()
        await self._meter.send(0, self._clock.steady())


def watcher_of(conn_id: str, clock: Clock) -> Watcher:
    """Return this event loop's watcher of a connection; it closes when its last job leaves.

    :param clock: the time; of a watcher that is there already it stays what it is.
    """
    loop = asyncio.get_running_loop()
    of_loop = _watchers.setdefault(loop, {})
    watcher = of_loop.get(conn_id)
    if watcher is None:
        watcher = of_loop[conn_id] = Watcher(conn_id, clock)
        watcher.rate = _paused.get(loop, {}).pop(conn_id, watcher.rate)
    return watcher
