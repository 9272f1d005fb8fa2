"""When to look at a job again, and when to stop. Pure policy: the clock is an argument.

The sync loop, the sensor and the triggerer only carry out what is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

from magic_hour_provider.api.catalog import PollingClass, Tool
from magic_hour_provider.api.errors import (
    BadKeyError,
    MagicHourError,
    NoCreditsError,
    NotFoundError,
    RefusedError,
    UnreadableAnswerError,
)
from magic_hour_provider.api.jobs import GONE, Job

# By age in medians, the gap as a multiple of the class's shortest. Durations spread like a lognormal: few jobs end in
# the first third of the median, most around it. Looks there, and few before, cost 0.83 of those at a fixed interval
# that sees the end as late; whatever the tool, and should the median be wrong by 2, never more than 1.10
# (benchmarks/waiting.py).
_EARLY = (0.35, 1.75)
_LIKELY = 0.8
_FIRST_LOOK = 2.0
# From here on a job may take any time: the gap grows, and is the class's longest at the second.
_LATE = (3.0, 10.0)
# A job that its kind's route does not know yet may only be new: seconds for which a 404 counts as a failing look.
_YOUNG_S = 60.0
# Answers in a row that are none, after which more looks are in vain: with their backoff, about ten minutes of them.
_UNREADABLE_LOOKS = 12
_LONGEST_BACKOFF_S = 60.0
TIMEOUT = "timeout"
REFUSED = "refused"


@dataclass(frozen=True)
class Outcome:
    """The end of a wait.

    :param status: ``complete``, ``error``, ``canceled``, ``gone``, ``timeout``, or ``refused`` when looking itself is
        refused (a bad key), or its answers stay unreadable (a wrong host).
    :param error_code: the service's code of a failed job, if it gave one.
    """

    status: str
    error_code: str | None = None


@dataclass(frozen=True)
class Schedule:
    """The looks of one job: few while it is young, most around its usual duration, fewer again when it is old.

    The gaps are inside the class's bounds, but for the young job's: nearly twice the shortest, as it hardly ends then.

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
        return _FIRST_LOOK * self.shortest_s

    def gap_s(self, age_s: float) -> float:
        """Return the gap in seconds after a look at this age."""
        age = age_s / self.median_s
        young, early = _EARLY
        if age < _LIKELY:
            part = max(0.0, (age - young) / (_LIKELY - young))
            return self.shortest_s * (early + (1 - early) * part)
        begin, end = _LATE
        part = (age - begin) / (end - begin)
        return self.shortest_s + (self.longest_s - self.shortest_s) * min(1.0, max(0.0, part))


def is_refusal(error: MagicHourError) -> bool:
    """Whether the service refuses to be looked at with this key: 401, 402 or 403."""
    return isinstance(error, BadKeyError | NoCreditsError)


class Wait:
    """The wait for one job.

    :param schedule: when to look.
    :param submitted_at: time of the submission, in seconds of the same clock as every ``now``.
    :param deadline: when to give up, in seconds of that clock.
    :param patient: False: an answer that cannot be read ends the wait at once, as it has stayed so for long before.
    """

    __slots__ = ("_unreadable", "deadline", "failing_looks", "schedule", "submitted_at")

    def __init__(self, schedule: Schedule, *, submitted_at: float, deadline: float, patient: bool = True) -> None:
        self.schedule = schedule
        self.submitted_at = submitted_at
        self.deadline = deadline
        self.failing_looks = 0
        """Looks in a row that failed."""
        self._unreadable = 0 if patient else _UNREADABLE_LOOKS

    def first_look(self, now: float, *, not_before: float = 0.0) -> float:
        """Return when to look first: early in the job's life, at once where that time has passed.

        :param not_before: an earlier look would be of no use.
        """
        due = max(now, self.submitted_at + self.schedule.first_look_s(), not_before)
        return min(due, max(now, self.deadline))

    def decide(self, seen: Job | MagicHourError, now: float) -> float | Outcome:
        """Take what a look saw; return when to look again, or how the wait ended.

        Failing looks (network, 429, 5xx) are tolerated until the deadline, further and further apart, and answers
        that cannot be read for about ten minutes. A last look falls on the deadline itself.
        """
        age = max(0.0, now - self.submitted_at)
        if isinstance(seen, Job):
            if seen.ended:
                return Outcome(seen.status, seen.error_code)
            self.failing_looks = self._unreadable = 0
            gap = self.schedule.gap_s(age)
        else:
            if isinstance(seen, NotFoundError) and age >= _YOUNG_S:
                return Outcome(GONE)
            if self._is_hopeless(seen):
                return Outcome(REFUSED)
            self.failing_looks += 1
            gap = min(_LONGEST_BACKOFF_S, self.schedule.shortest_s * 2.0 ** min(self.failing_looks, 6))
            gap = max(gap, seen.retry_after or 0.0)
        if now >= self.deadline:
            return Outcome(TIMEOUT)
        return min(now + gap, self.deadline)

    def _is_hopeless(self, seen: MagicHourError) -> bool:
        if isinstance(seen, UnreadableAnswerError | RefusedError):
            # One may be a gateway's moment; a wrong host stays wrong.
            self._unreadable += 1
            return self._unreadable >= _UNREADABLE_LOOKS
        self._unreadable = 0
        return not (seen.can_retry or isinstance(seen, NotFoundError))
