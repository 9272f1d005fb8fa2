"""The jobs under way as the worker polls them: when each is due, at the rate that the account takes."""

from __future__ import annotations

import heapq
import math
import statistics
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import count

from magic_hour_provider import clock
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidResponseError, MagicHourError, RateLimitedError, describe_error
from magic_hour_provider.api.models import Job
from magic_hour_provider.batch.jobs.collector import JobOfItem
from magic_hour_provider.batch.spec import BatchSpec
from magic_hour_provider.polling.rate_limiter import RateLimiter
from magic_hour_provider.polling.schedule import Outcome, PollState

AT_ONCE = 4
"""Polls in flight."""
_DURATIONS = 50  # of the last jobs, from which the next end is expected


@dataclass
class ActiveJob:
    """A job under way.

    :param polls: the state of its wait.
    :param submitted_at: in seconds since 1970.
    :param is_overdue: whether it has taken longer than a job is waited for. It still runs at Magic Hour: it keeps its
        place in the window and is polled as long as the attempt waits for something else.
    """

    job: JobOfItem
    polls: PollState
    submitted_at: float
    is_polled: bool = False
    is_overdue: bool = False


class JobPolls:
    """The jobs under way. For one thread, but for the polls themselves.

    :param started_at: when the attempt began, in seconds since 1970.
    :param max_per_second: polls at the most.
    :param deadline: when Airflow's ``execution_timeout`` ends the attempt, in seconds since 1970; None: it does not.
    """

    def __init__(
        self,
        spec: BatchSpec,
        client: MagicHourClient,
        started_at: float,
        max_per_second: float,
        deadline: float | None = None,
    ) -> None:
        self._spec, self._client, self._started_at = spec, client, started_at
        self._deadline = math.inf if deadline is None else deadline
        self.active: dict[str, ActiveJob] = {}
        """By the key of their item."""
        # The machine's clock may jump: time is counted from here by one that nobody sets.
        self._offset = clock.current().now() - clock.current().monotonic()
        self.changed_at = self.now()
        """When a job was added or has ended, last."""
        self._due: list[tuple[float, int, str]] = []
        self._order = count()
        self._in_flight = 0
        self._rate = RateLimiter(max_per_second)
        self._durations: deque[float] = deque(maxlen=_DURATIONS)

    def now(self) -> float:
        """Return the time, in seconds since 1970."""
        return clock.current().monotonic() + self._offset

    def follow(self, job: JobOfItem) -> None:
        """Poll a job from now on."""
        now = self.now()
        submitted_at = job.record.submitted_at if job.record.submitted_at is not None else now
        deadline = min(max(submitted_at, self._started_at) + self._spec.timeout_s, self._deadline)
        # As the jobs of this batch take, once some have ended: a median of all that use the tool says less.
        schedule = replace(self._spec.schedule, median_s=max(1.0, self.usual_s))
        polls = PollState(schedule, submitted_at=submitted_at, deadline=deadline)
        self.active[job.key] = ActiveJob(job, polls, submitted_at)
        self.changed_at = now
        heapq.heappush(self._due, (polls.first_poll_at(now), next(self._order), job.key))

    def mark_overdue(self, key: str) -> None:
        """Wait no longer for a job that was polled as often as it should be; it is polled on, without a deadline."""
        now, active = self.now(), self.active[key]
        active.is_overdue = True
        active.polls = PollState(active.polls.schedule, submitted_at=active.submitted_at, deadline=math.inf)
        heapq.heappush(self._due, (now + active.polls.schedule.max_interval_s, next(self._order), key))
        self.changed_at = now

    @property
    def awaited(self) -> list[ActiveJob]:
        """The jobs that are waited for: those under way that are not overdue."""
        return [active for active in self.active.values() if not active.is_overdue]

    def end(self, key: str) -> ActiveJob:
        """Stop polling a job, and return it."""
        self.changed_at = self.now()
        return self.active.pop(key)

    @property
    def next_at(self) -> float | None:
        """When the next poll may be sent, in seconds since 1970; None: none is due at any time."""
        return max(self._due[0][0], self._rate.next_at + self._offset) if self._due else None

    def start_due(
        self, submit: Callable[[Callable[[], Job | MagicHourError]], Future[Job | MagicHourError]]
    ) -> list[tuple[Future[Job | MagicHourError], str, float]]:
        """Start the polls that are due, and return for each its future, the item's key and when it was sent.

        :param submit: runs a function in a thread.
        """
        now, started = self.now(), []
        while self._due and self._due[0][0] <= now and self._in_flight < AT_ONCE:
            if self._rate.next_at + self._offset > now:
                self._rate.on_wait(now - self._offset)
                break
            _, _, key = heapq.heappop(self._due)
            active = self.active.get(key)
            if active is None or active.is_polled:
                continue
            self._rate.on_send(now - self._offset)
            active.is_polled = True
            self._in_flight += 1
            started.append((submit(self._poll_of(active.job)), key, now))
        return started

    def _poll_of(self, job: JobOfItem) -> Callable[[], Job | MagicHourError]:
        def poll() -> Job | MagicHourError:
            try:
                return self._client.get_job(job.record.kind, job.record.job_id or "")
            except MagicHourError as error:
                return error
            except Exception as error:  # noqa: BLE001 (of the program: one job's must not end the wait for the others)
                return InvalidResponseError(f"Job {job.record.job_id} could not be polled ({describe_error(error)}).")

        return poll

    def record(self, key: str, sent_at: float, seen: Job | MagicHourError) -> Outcome | None:
        """Record what a poll saw; return how the wait for its job ends, or None."""
        now = self.now()
        self._in_flight -= 1
        if isinstance(seen, RateLimitedError):
            self._rate.on_throttled(sent_at - self._offset, now - self._offset, seen.retry_after)
        else:
            self._rate.on_success(sent_at - self._offset)
        active = self.active[key]
        active.is_polled = False
        decision = active.polls.next_action(seen, now)
        if decision.outcome is None:
            heapq.heappush(self._due, (decision.next_poll_at, next(self._order), key))
        elif isinstance(seen, Job) and seen.ended:
            self._durations.append(max(0.0, now - active.submitted_at))
        return decision.outcome

    @property
    def usual_s(self) -> float:
        """How long a job takes, in seconds, as the last ones did, or else as such jobs do."""
        return statistics.median(self._durations) if self._durations else self._spec.schedule.median_s

    @property
    def next_end(self) -> float:
        """When the next job is expected to end, in seconds since 1970."""
        return min((active.submitted_at for active in self.awaited), default=self.now()) + self.usual_s
