"""Learned durations: how long the jobs of one account really take, and the polling intervals that follow from that."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from magic_hour_provider.polling.schedule import Schedule

# Of what is kept of a histogram. Who changes the buckets' number or width changes it too.
_VERSION = 1
# Four buckets double the duration; the last one begins after 36 hours.
_PER_DOUBLING = 4
_BUCKETS = 70
# With fewer jobs the published median is the better guess.
_MIN_JOBS = 20
# So many more, before the schedule follows them: jobs that begin meanwhile share one.
_REFIT = 10
# Then all counts are halved, so that an account that has become faster or slower is noticed.
_MAX_JOBS = 120
# A job that has ended by its first poll: a guess between the submission and that poll. It lies below the poll, so that
# many such jobs make the next first poll earlier.
_BEFORE_FIRST_POLL = 0.7
# A gap between two polls that is longer than so many of the longest intervals dates no end.
_MAX_GAP = 2.0
# Narrower spreads are not believed, wider ones change nothing more.
_MIN_SPREAD, _MAX_SPREAD = 0.3, 1.2
# The lognormal distribution as a table: standard deviations around the median.
_STEPS = [step / 8 for step in range(-32, 33)]
# The shortest interval is for the densest time among all but the last 2% of the jobs.
_DENSEST_UNTIL = 2.05


@dataclass(frozen=True)
class LearnedSchedule(Schedule):
    """Polling intervals for a learned distribution of durations.

    The fewest polls for the same mean delay are those at a rate in proportion to the square root of the hazard, which
    is the chance that a job that is still active ends now. So each poll is one equal step of that root's integral after
    the one before, and the step gives the shortest interval of the polling class where most jobs end.

    :param spread: standard deviation of the durations' logarithms.
    """

    spread: float

    def first_poll_s(self) -> float:
        """Return the age in seconds of the first poll: before the median, and hardly a job ends earlier."""
        return max(self.min_interval_s, min(self.median_s, self._age_at(1.0)))

    def interval_s(self, age_s: float) -> float:
        """Return the interval in seconds after a poll at this age, inside the bounds of the polling class."""
        ages, steps = self._table
        at = min(max(1, bisect_right(ages, age_s)), len(ages) - 1)
        part = (age_s - ages[at - 1]) / (ages[at] - ages[at - 1])
        step = max(0.0, steps[at - 1] + part * (steps[at] - steps[at - 1]))
        return min(self.max_interval_s, max(self.min_interval_s, self._age_at(step + 1.0) - age_s))

    def _age_at(self, step: float) -> float:
        ages, steps = self._table
        at = bisect_left(steps, step)
        if at == 0 or at == len(steps):
            return ages[0] if at == 0 else math.inf
        return ages[at - 1] + (step - steps[at - 1]) / (steps[at] - steps[at - 1]) * (ages[at] - ages[at - 1])

    @cached_property
    def _table(self) -> tuple[list[float], list[float]]:
        """Ages, and the steps until each: made once for all jobs of a schedule."""
        ages = [self.median_s * math.exp(self.spread * z) for z in _STEPS]
        roots = []
        for age, z in zip(ages, _STEPS, strict=True):
            density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / (self.spread * age)
            roots.append(math.sqrt(density / (0.5 * math.erfc(z / math.sqrt(2)))))
        densest = max(root for root, z in zip(roots, _STEPS, strict=True) if z <= _DENSEST_UNTIL)
        rates = [min(1.0, root / densest) / self.min_interval_s for root in roots]
        steps = [0.0]
        for (age, next_age), (rate, next_rate) in zip(pairwise(ages), pairwise(rates), strict=True):
            steps.append(steps[-1] + (next_age - age) * (rate + next_rate) / 2)
        return ages, steps


class NewerVersionError(ValueError):
    """A histogram was kept by a later version of this package."""


class Durations:
    """Histogram of how long jobs of one kind of request took, in some hundred bytes.

    :param published: the schedule as long as few jobs have been seen.
    """

    def __init__(self, published: Schedule) -> None:
        self.published = published
        self.schedule = published
        """The polling intervals of jobs that begin now."""
        self.restored: Schedule | None = None
        """What :meth:`restore` has brought for jobs that began before it, by the published schedule."""
        self._counts = [0] * _BUCKETS
        self._since_fit = 0

    @property
    def jobs(self) -> int:
        """How many jobs count."""
        return sum(self._counts)

    def record(self, schedule: Schedule, *, active_age_s: float | None, complete_age_s: float) -> bool:
        """Record a job that polls saw complete. Where they do not say when it ended, it does not count.

        :param schedule: the schedule that it was polled by.
        :param active_age_s: its age in seconds when a poll last saw it active; None: the first poll saw it complete.
        :param complete_age_s: its age in seconds when a poll saw it complete.
        :returns: whether it counts.
        """
        if active_age_s is not None:
            if complete_age_s - active_age_s > _MAX_GAP * schedule.max_interval_s:
                return False  # polls failed meanwhile, or its links were late
            duration = (active_age_s + complete_age_s) / 2
        else:
            if complete_age_s > schedule.first_poll_s() + schedule.max_interval_s:
                return False  # nobody polled it for long: a triggerer or a batch's worker has just taken it over
            duration = _BEFORE_FIRST_POLL * complete_age_s
        bucket = int(_PER_DOUBLING * math.log2(max(1.0, duration)))
        self._counts[min(_BUCKETS - 1, bucket)] += 1
        self._bound()
        self._since_fit += 1
        if self.jobs >= _MIN_JOBS and self._since_fit >= _REFIT:
            self.schedule, self._since_fit = self._fit(), 0
        return True

    def _bound(self) -> None:
        while self.jobs > _MAX_JOBS:
            self._counts = [count // 2 for count in self._counts]

    def to_json(self) -> dict[str, Any]:
        """Return what is worth keeping: numbers alone."""
        return {"version": _VERSION, "counts": list(self._counts)}

    @staticmethod
    def check(kept: Any) -> list[int]:
        """Return the counts of a histogram that was kept.

        :param kept: what :meth:`to_json` returned, as JSON from anywhere.
        :raises NewerVersionError: a later version has written it.
        :raises ValueError: it is something else.
        """
        version = kept.get("version") if isinstance(kept, dict) else None
        if type(version) is int and version > _VERSION:
            raise NewerVersionError("a newer version of this package has written them")
        counts = kept.get("counts") if version == _VERSION else None
        if not isinstance(counts, list) or len(counts) != _BUCKETS:
            raise ValueError("it is no histogram")
        if not all(type(count) is int and 0 <= count <= _MAX_JOBS for count in counts):
            raise ValueError("its counts are none")
        return counts

    def restore(self, kept: Any) -> None:
        """Add the jobs of a histogram that was kept. Its schedule is also one for jobs that have begun before.

        :param kept: as for :meth:`check`, with the same errors.
        """
        self._counts = [ours + theirs for ours, theirs in zip(self._counts, self.check(kept), strict=True)]
        self._bound()
        if self.jobs >= _MIN_JOBS:
            self.schedule = self.restored = self._fit()
            self._since_fit = 0
        else:
            self._since_fit = _REFIT  # with enough of them the next one counts at once

    def _fit(self) -> Schedule:
        """Return the schedule for the lognormal distribution that has the histogram's mean and spread."""
        middles = [(bucket + 0.5) / _PER_DOUBLING * math.log(2) for bucket in range(_BUCKETS)]
        mean = sum(count * middle for middle, count in zip(middles, self._counts, strict=True)) / self.jobs
        variance = sum(count * (middle - mean) ** 2 for middle, count in zip(middles, self._counts, strict=True))
        return LearnedSchedule(
            self.published.min_interval_s,
            self.published.max_interval_s,
            math.exp(mean),
            min(_MAX_SPREAD, max(_MIN_SPREAD, math.sqrt(variance / self.jobs))),
        )
