"""One poller per event loop and connection: all jobs of a triggerer process appear as one polite client.

A client of its own per trigger would cost 24 ms of blocked loop each (its SSL context); a sleeping task per job costs
memory. So there is one heap of due times, one timer, one client, few polls in flight and one rate for the account.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from itertools import count
from weakref import WeakKeyDictionary

from magic_hour_provider import clock
from magic_hour_provider.api.errors import (
    ConnectionFailedError,
    InvalidInputError,
    MagicHourError,
    RateLimitedError,
    ResponseLostError,
    ServerError,
)
from magic_hour_provider.api.models import COMPLETE, Job
from magic_hour_provider.api.transport.http import MAX_CONNECTIONS
from magic_hour_provider.hooks.settings import ConnectionSettings
from magic_hour_provider.metrics import POLL_FAILURES, POLLS, RATE_LIMITED
from magic_hour_provider.polling.rate_limiter import RateLimiter
from magic_hour_provider.polling.schedule import TIMEOUT, Outcome, PollDecision, is_refusal
from magic_hour_provider.triggers.client_provider import READ_AGAIN_S, ClientProvider
from magic_hour_provider.triggers.poll_metrics import PollMetrics
from magic_hour_provider.triggers.polled_job import PolledJob

# A service in trouble is not polled faster for it.
_IN_TROUBLE = (ConnectionFailedError, ResponseLostError, ServerError, InvalidInputError)
# Jobs that are dealt with in one turn of the event loop.
_AT_ONCE = 100
# Seconds beyond its deadline that a job may be which could not be polled, as everything stalls.
_OVERDUE_S = 10.0

_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, JobPoller]] = WeakKeyDictionary()
_paused: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, RateLimiter]] = WeakKeyDictionary()
"""Rates of closed pollers that a 429 holds back: the next poller waits too."""


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
        self._clients = ClientProvider(conn_id, self._context, self._on_settings)
        self._metrics = PollMetrics(conn_id)
        self._due: list[tuple[float, int, PolledJob]] = []
        self._order = count()
        self._polls: dict[PolledJob, asyncio.Task[None]] = {}
        self._timer: asyncio.Handle | None = None
        self._timer_at = float("inf")
        self._full = False
        self._checked_at = clock.current().monotonic()
        self._closing: asyncio.Task[None] | None = None

    def add(self, job: PolledJob, due: float) -> None:
        """Poll a job, first at ``due``."""
        self.jobs.add(job)
        self._push(job, due)

    async def leave(self, job: PolledJob) -> None:
        """Stop polling a job; the last one to leave closes everything and waits for that."""
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
        if self.rate.next_at > clock.current().monotonic() + 1:
            _paused.setdefault(loop, {})[self.conn_id] = self.rate
        self._closing = loop.create_task(self._close(), context=self._context)
        await asyncio.shield(self._closing)

    def _on_settings(self, settings: ConnectionSettings) -> None:
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
        self._timer = clock.current().call_later(max(0.0, at - clock.current().monotonic()), self._tick, self._context)

    def _tick(self) -> None:
        """Start the polls that are due: the only place that starts them."""
        self._timer, self._timer_at = None, float("inf")
        try:
            now = clock.current().monotonic()
            self._check(now)
            for _ in range(_AT_ONCE):
                if not self._due or self._due[0][0] > now:
                    break
                if len(self._polls) >= MAX_CONNECTIONS:
                    self._full = True  # the next poll that ends sets the timer
                    return
                if self.rate.next_at > now:
                    self.rate.on_wait(now)
                    break
                job = heapq.heappop(self._due)[2]
                if job.left or job.outcome is not None:
                    continue
                if (due := job.next_due(now)) > now:
                    self._push(job, due)
                else:
                    self._start_poll(job, now)
            if self._due:
                self._set_timer(max(self._due[0][0], min(self.rate.next_at, now + _OVERDUE_S)))
        except BaseException as failure:
            # Without this no poll would ever start again, and every trigger would wait for ever.
            for job in self.jobs:
                job.fail(failure)
            raise

    def _check(self, now: float) -> None:
        """Every now and then: send metrics, and end the waits that a stalling service keeps beyond their deadline."""
        if self._metrics.is_due(now):
            self._metrics.send(len(self.jobs), now)
        if now - self._checked_at >= _OVERDUE_S:
            self._checked_at = now
            for job in self.jobs:
                if job.outcome is None and job not in self._polls and job.state.deadline < now - _OVERDUE_S:
                    job.end(Outcome(TIMEOUT), "not polled in time, as the service keeps us waiting", now)

    # -- what

    def _start_poll(self, job: PolledJob, now: float) -> None:
        self.rate.on_send(now)
        self._polls[job] = asyncio.get_running_loop().create_task(self._run_poll(job, now), context=self._context)

    async def _run_poll(self, job: PolledJob, sent_at: float) -> None:
        try:
            await self._poll(job, sent_at)
        except Exception as failure:  # noqa: BLE001 (the trigger raises it)
            job.fail(failure)
        finally:
            del self._polls[job]
            if self._full:
                self._full = False
                self._set_timer(clock.current().monotonic())

    async def _poll(self, job: PolledJob, sent_at: float) -> None:
        generation: int | None = None
        observation: Job | MagicHourError
        try:
            lease = await self._clients.acquire()
            generation = self._clients.generation
            try:
                observation = await lease.client.get_job(job.kind, job.job_id)
            finally:
                self._clients.release(lease)
            self._clients.on_accepted(lease)
        except MagicHourError as error:
            observation = error
        now = clock.current().monotonic()
        self._record_response(observation, sent_at, now)
        if not job.left:
            self._follow_up(job, observation, generation, now)

    def _record_response(self, observation: Job | MagicHourError, sent_at: float, now: float) -> None:
        self._metrics.count(POLLS)
        if isinstance(observation, MagicHourError):
            self._metrics.count(POLL_FAILURES)
        if isinstance(observation, RateLimitedError):
            self._metrics.count(RATE_LIMITED)
            self.rate.on_throttled(sent_at, now, observation.retry_after)
        elif not isinstance(observation, _IN_TROUBLE):
            self.rate.on_success(sent_at)

    def _follow_up(self, job: PolledJob, observation: Job | MagicHourError, generation: int | None, now: float) -> None:
        """Decide and record what follows a poll.

        :param generation: the connection's, with which was polled; None: it could not be read.
        """
        decision: PollDecision | None = None
        if isinstance(observation, Job):
            job.rejections = 0
        elif job.rejections == 0:
            decision = self._second_chance(observation, generation, now)
            job.rejections = int(decision is not None)
        if decision is None:
            decision = job.state.next_action(observation, now)
        outcome = decision.outcome
        if outcome is not None and outcome.status == COMPLETE:
            job.record_duration(now)
            if job.active_at is not None:
                # Somewhere between the poll before and this one: the middle is the best guess.
                self._metrics.record_latency(max(now, job.not_before) - (job.active_at + now) / 2)
        job.record_poll(observation, decision, now)
        if outcome is None:
            self._push(job, decision.next_poll_at)

    def _second_chance(self, error: MagicHourError, generation: int | None, now: float) -> PollDecision | None:
        """Return when to poll again after a rejected key or an unusable connection; None if that is the end."""
        if generation is None:
            return PollDecision(now + READ_AGAIN_S) if isinstance(error, InvalidInputError) else None
        return PollDecision(now) if is_refusal(error) and self._clients.on_rejected(generation) else None

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in self._polls.values():
            task.cancel()
        if self._polls:
            await asyncio.wait(self._polls.values())
        self._due.clear()
        await self._clients.aclose()
        await self._metrics.send(0, clock.current().monotonic())


def get_poller(conn_id: str) -> JobPoller:
    """Return this event loop's poller of a connection; it closes when its last job leaves."""
    loop = asyncio.get_running_loop()
    of_loop = _pollers.setdefault(loop, {})
    poller = of_loop.get(conn_id)
    if poller is None:
        poller = of_loop[conn_id] = JobPoller(conn_id)
        poller.rate = _paused.get(loop, {}).pop(conn_id, poller.rate)
    return poller
