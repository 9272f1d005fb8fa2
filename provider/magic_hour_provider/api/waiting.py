"""When to look at a job again, and when to stop. Pure policy: the clock is an argument.

The sync loop, the sensor and the triggerer only carry out what is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

from magic_hour_provider.api.catalog import PollingClass, Tool
from magic_hour_provider.api.errors import BadKeyError, MagicHourError, NotFoundError, RateLimitedError
from magic_hour_provider.api.jobs import GONE, Job

# A first look at this part of the usual duration sees quick jobs early and costs slow ones one look.
_FIRST_LOOK = 0.35
# A job that its kind's route does not know yet may only be new: seconds for which a 404 counts as a failing look.
_YOUNG_S = 60.0
TIMEOUT = "timeout"


@dataclass(frozen=True)
class Outcome:
    """The end of a wait.

    :param status: ``complete``, ``error``, ``canceled``, ``gone``, ``timeout``, or ``refused`` when looking itself is
        refused (a bad key).
    :param error_code: the service's code of a failed job, if it gave one.
    """

    status: str
    error_code: str | None = None


@dataclass(frozen=True)
class Schedule:
    """The looks of one job: an early first one, then gaps that grow with its age inside the class's bounds.

    :param shortest_s: shortest gap in seconds.
    :param longest_s: longest gap in seconds.
    :param median_s: usual duration of such a job in seconds.
    """

    shortest_s: float
    longest_s: float
    median_s: float

    @classmethod
    def of(cls, pace: PollingClass, tool: Tool | None = None) -> Schedule:
        """Make the schedule of a polling class; a tool without a published median takes the class's middle."""
        median = tool.median_s if tool is not None and tool.median_s is not None else pace.median_s
        return cls(*pace.interval_s, median)

    def first_look_s(self) -> float:
        """Return the age in seconds at which to look first."""
        return max(self.shortest_s, _FIRST_LOOK * self.median_s)

    def gap_s(self, age_s: float) -> float:
        """Return the gap in seconds after a look at this age: shortest up to the median, longest from 3 times it."""
        part = (age_s - self.median_s) / (2 * self.median_s)
        return self.shortest_s + (self.longest_s - self.shortest_s) * min(1.0, max(0.0, part))


class Wait:
    """The wait for one job.

    :param schedule: when to look.
    :param submitted_at: time of the submission, in seconds of the same clock as every ``now``.
    :param deadline: when to give up, in seconds of that clock.
    """

    def __init__(self, schedule: Schedule, *, submitted_at: float, deadline: float) -> None:
        self.schedule = schedule
        self.submitted_at = submitted_at
        self.deadline = deadline
        self.failing_looks = 0
        """Looks in a row that failed."""

    def first_look(self, now: float) -> float:
        """Return when to look first: early in the job's life, at once where that time has passed."""
        return min(max(now, self.submitted_at + self.schedule.first_look_s()), max(now, self.deadline))

    def decide(self, seen: Job | MagicHourError, now: float) -> float | Outcome:
        """Take what a look saw; return when to look again, or how the wait ended.

        Failing looks (network, 429, 5xx, unreadable answers) are tolerated until the deadline, further and further
        apart. A last look falls on the deadline itself.
        """
        age = max(0.0, now - self.submitted_at)
        if isinstance(seen, Job):
            self.failing_looks = 0
            if seen.ended:
                return Outcome(seen.status, seen.error_code)
            gap = self.schedule.gap_s(age)
        else:
            if isinstance(seen, NotFoundError) and age >= _YOUNG_S:
                return Outcome(GONE)
            if isinstance(seen, BadKeyError) or not (seen.can_retry or isinstance(seen, NotFoundError)):
                return Outcome("refused")
            self.failing_looks += 1
            gap = min(60.0, self.schedule.shortest_s * 2.0 ** min(self.failing_looks, 6))
            if isinstance(seen, RateLimitedError) and seen.retry_after is not None:
                gap = max(gap, seen.retry_after)
        if now >= self.deadline:
            return Outcome(TIMEOUT)
        return min(now + gap, self.deadline)
