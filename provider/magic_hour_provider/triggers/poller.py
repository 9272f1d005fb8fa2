"""One poller per event loop and connection: all jobs of a triggerer process look like one polite client.

A client of its own per trigger would cost 24 ms of blocked loop each (its SSL context); a sleeping task per job costs
memory. So there is one heap of due times, one timer, one client, few polls in flight and one rate for the account.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from functools import partial
from itertools import count
from weakref import WeakKeyDictionary

from magic_hour_provider.api import clock
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
from magic_hour_provider.polling.rate_limiter import RateLimiter
from magic_hour_provider.polling.schedule import TIMEOUT, Outcome, is_refusal
from magic_hour_provider.triggers.client_provider import READ_AGAIN_S, ClientLease, ClientProvider
from magic_hour_provider.triggers.poll_metrics import POLL_FAILURES, POLLS, RATE_LIMITED, PollMetrics
from magic_hour_provider.triggers.polled_job import PolledJob

MAX_IN_FLIGHT = 32

# A service in trouble is not asked faster for it.
_IN_TROUBLE = (ConnectionFailedError, ResponseLostError, ServerError, InvalidInputError)
# How far beyond its deadline a job may be that could not be polled, as everything stalls.
_OVERDUE_S = 10.0

_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, JobPoller]] = WeakKeyDictionary()
_paused: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, RateLimiter]] = WeakKeyDictionary()
"""Rates of closed pollers that the service has told to wait: the next poller waits too."""


class JobPoller:
    """Polls the jobs of one connection. Never logs: its work belongs to no single task.

    Get one with :func:`get_poller`.

    :param conn_id: the connection.
    """

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        self.rate = RateLimiter()
        self.jobs: set[PolledJob] = set()
        # An empty context: a task started while a trigger calls would inherit that trigger's log.
        self._context = contextvars.Context()
        self._lines = ClientProvider(conn_id, self._context, MAX_IN_FLIGHT, self._opened)
        self._meter = PollMetrics(conn_id)
        self._due: list[tuple[float, int, PolledJob]] = []
        self._order = count()
        self._polls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Handle | None = None
        self._timer_at = float("inf")
        self._checked_at = clock.current().steady()
        self._closing: asyncio.Task[None] | None = None

    def add(self, job: PolledJob, due: float) -> None:
        """Poll a job from a time on."""
        self.jobs.add(job)
        self._push(job, due)

    async def leave(self, job: PolledJob) -> None:
        """Forget a job; the last one to leave closes everything and waits for that."""
        job.left = True
        self.jobs.discard(job)
        if len(self._due) > 64 and len(self._due) > 2 * len(self.jobs):
            self._due = [entry for entry in self._due if not entry[2].left]
            heapq.heapify(self._due)
        if self.jobs or self._closing is not None:
            return
        # Out of the table first: a job that comes while this one closes gets a new poller.
        loop = asyncio.get_running_loop()
        _pollers[loop].pop(self.conn_id)
        if self.rate.next_at > clock.current().steady() + 1:
            _paused.setdefault(loop, {})[self.conn_id] = self.rate
        self._closing = loop.create_task(self._close(), context=self._context)
        await asyncio.shield(self._closing)

    def _opened(self, settings: Settings) -> None:
        self.rate.set_max_rate(settings.max_polls_per_second)

    # -- when

    def _push(self, job: PolledJob, due: float) -> None:
        heapq.heappush(self._due, (due, next(self._order), job))
        self._set_timer(due)

    def _set_timer(self, at: float) -> None:
        if at >= self._timer_at or self._closing is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = clock.current().call_later(max(0.0, at - clock.current().steady()), self._tick, self._context)

    def _tick(self) -> None:
        """Start the polls that are due; the only place that does."""
        self._timer, self._timer_at = None, float("inf")
        try:
            now = clock.current().steady()
            self._check(now)
            while self._due and self._due[0][0] <= now:
                if len(self._polls) >= MAX_IN_FLIGHT:
                    return  # the next one that ends calls again
                if self.rate.next_at > now:
                    self.rate.on_wait(now)
                    break
                job = heapq.heappop(self._due)[2]
                if not job.left and job.outcome is None:
                    self._start_poll(job, now)
            if self._due:
                self._set_timer(max(self._due[0][0], min(self.rate.next_at, now + _OVERDUE_S)))
        except BaseException as failure:
            # Without this nobody would ever poll again, and every trigger would wait for ever.
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
                if job.outcome is None and not job.polling and job.wait.deadline < now - _OVERDUE_S:
                    job.end(Outcome(TIMEOUT), "not polled in time, as the service keeps us waiting", now)

    # -- what

    def _start_poll(self, job: PolledJob, now: float) -> None:
        self.rate.on_send(now)
        job.polling = True
        task = asyncio.get_running_loop().create_task(self._poll(job, now), context=self._context)
        self._polls.add(task)
        task.add_done_callback(partial(self._on_poll_done, job), context=self._context)

    async def _poll(self, job: PolledJob, sent_at: float) -> None:
        line, reading = None, 0
        observation: Job | MagicHourError
        try:
            line = await self._lines.current()
            reading = line.reading
            with self._lines.used(line) as client:
                observation = await client.get_job(job.kind, job.job_id)
            self._lines.worked(line)
        except MagicHourError as error:
            observation = error
        now = clock.current().steady()
        self._note(observation, sent_at, now)
        if job.left:
            return
        decided: float | Outcome | None = None
        if isinstance(observation, Job):
            job.refusals = 0
        elif job.refusals == 0:
            decided = self._second_chance(observation, line, reading, now)
            job.refusals = int(decided is not None)
        if decided is None:
            decided = job.wait.next_action(observation, now)
        if isinstance(decided, Outcome) and decided.status == COMPLETE and job.active_at is not None:
            # Somewhere between the poll before and this one: the middle is the best guess.
            self._meter.delay(max(now, job.not_before) - (job.active_at + now) / 2)
        job.record_poll(observation, decided, now)
        if not isinstance(decided, Outcome):
            self._push(job, decided)

    def _second_chance(
        self, observation: MagicHourError, line: ClientLease | None, reading: int, now: float
    ) -> float | None:
        """Return when to poll again at a job whose poll was refused, or None if that is the end."""
        if line is None:
            return now + READ_AGAIN_S if isinstance(observation, InvalidInputError) else None
        return now if is_refusal(observation) and self._lines.refused(line, reading) else None

    def _note(self, observation: Job | MagicHourError, sent_at: float, now: float) -> None:
        self._meter.count(POLLS)
        if isinstance(observation, MagicHourError):
            self._meter.count(POLL_FAILURES)
        if isinstance(observation, RateLimitedError):
            self._meter.count(RATE_LIMITED)
            self.rate.on_throttled(sent_at, now, observation.retry_after)
        elif not isinstance(observation, _IN_TROUBLE):
            self.rate.on_success(sent_at)

    def _on_poll_done(self, job: PolledJob, task: asyncio.Task[None]) -> None:
        self._polls.discard(task)
        job.polling = False
        if not task.cancelled() and (failure := task.exception()) is not None:
            job.fail(failure)
        if self._due:
            self._set_timer(max(self._due[0][0], clock.current().steady()))

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for poll in self._polls:
            poll.cancel()
        if self._polls:
            await asyncio.wait(self._polls)
        self._due.clear()
        await self._lines.aclose()
        await self._meter.send(0, clock.current().steady())


def get_poller(conn_id: str) -> JobPoller:
    """Return this event loop's poller of a connection; it closes when its last job leaves."""
    loop = asyncio.get_running_loop()
    of_loop = _pollers.setdefault(loop, {})
    poller = of_loop.get(conn_id)
    if poller is None:
        poller = of_loop[conn_id] = JobPoller(conn_id)
        poller.rate = _paused.get(loop, {}).pop(conn_id, poller.rate)
    return poller
