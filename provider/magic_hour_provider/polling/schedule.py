"""Polling policy: when to poll a job, at which interval, and when to stop. The clock is an argument.

The worker's loop and the triggerer only carry out what is decided here; a sensor's pace is its ``poke_interval``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from magic_hour_provider.api.catalog import PollingClass, Tool
from magic_hour_provider.api.errors import (
    AuthenticationError,
    InsufficientCreditsError,
    InvalidResponseError,
    MagicHourError,
    NotFoundError,
    RequestRejectedError,
)
from magic_hour_provider.api.models import GONE, Job

# The schedule's shape, chosen by counting polls against a fixed interval with the same delay (benchmarks/waiting.py),
# so that it saves polls where the median is right and never costs more where it is wrong or durations spread widely.
_FIRST_POLL = 2.2  # shortest intervals, at the least
_BETWEEN = 0.95
_LONG_UNTIL, _SHORT_FROM, _SHORT_UNTIL, _LONG_FROM = 0.35, 0.8, 1.5, 4.0  # ages, in medians
# A job that its kind's route does not know yet may only be new: seconds for which a 404 counts as a failed poll.
_YOUNG_S = 60.0
# Invalid responses in a row, after which more polls are in vain: with their backoff, about ten minutes of them.
_MAX_INVALID = 12
_MAX_BACKOFF_S = 60.0
TIMEOUT = "timeout"
REFUSED = "refused"


@dataclass(frozen=True)
class Outcome:
    """The end of a wait.

    :param status: ``complete``, ``error``, ``canceled``, ``gone``, ``timeout``, or ``refused`` when polling itself is
        refused (a bad key), or its responses stay invalid (a wrong host).
    :param error_code: the service's code of a failed job, if it gave one.
    """

    status: str
    error_code: str | None = None


class PollDecision(NamedTuple):
    """What follows a poll: another one, or the end of the wait.

    :param next_poll_at: time of the next poll, in seconds; infinite after the end.
    :param outcome: how the wait ended, or None.
    """

    next_poll_at: float = math.inf
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Schedule:
    """Polling intervals of one job: an early first poll, then intervals inside the bounds of the polling class.

    Few jobs end in the first third of the usual duration: there the intervals are long. Around it they are short, and
    then they grow with the job's age.

    :param min_interval_s: shortest interval in seconds.
    :param max_interval_s: longest interval in seconds.
    :param median_s: usual duration of such a job in seconds.
    """

    min_interval_s: float
    max_interval_s: float
    median_s: float

    @classmethod
    def of(cls, polling_class: PollingClass, tool: Tool | None = None) -> Schedule:
        """Return the schedule of a polling class; a tool without a published median takes the class's middle."""
        median = tool.median_s if tool is not None and tool.median_s is not None else polling_class.median_s
        return cls(*polling_class.poll_interval_s, median)

    def first_poll_s(self) -> float:
        """Return the age in seconds of the first poll: between the shortest interval and the median."""
        between = _BETWEEN * math.sqrt(self.min_interval_s * self.median_s)
        return max(self.min_interval_s, min(self.median_s, max(between, _FIRST_POLL * self.min_interval_s)))

    def interval_s(self, age_s: float) -> float:
        """Return the interval in seconds after a poll at this age."""
        age = age_s / self.median_s
        if age < _SHORT_FROM:
            part = (_SHORT_FROM - age) / (_SHORT_FROM - _LONG_UNTIL)
        else:
            part = (age - _SHORT_UNTIL) / (_LONG_FROM - _SHORT_UNTIL)
        return self.min_interval_s + (self.max_interval_s - self.min_interval_s) * min(1.0, max(0.0, part))


def is_refusal(error: MagicHourError) -> bool:
    """Whether the service rejects polls with this key: 401, 402 or 403."""
    return isinstance(error, AuthenticationError | InsufficientCreditsError)


class PollState:
    """State of the wait for one job; decides what follows each poll.

    :param schedule: its intervals.
    :param submitted_at: time of the submission, in seconds of the same clock as every ``now``.
    :param deadline: when to give up, in seconds of that clock.
    :param tolerate_invalid: False: a response that cannot be read ends the wait at once, as earlier ones could not
        be read for long.
    :param needs_files: False: nobody wants the job's files, so that one without links to all of them has ended too.
    """

    __slots__ = ("_invalid", "_needs_files", "deadline", "failed_polls", "schedule", "submitted_at")

    def __init__(
        self,
        schedule: Schedule,
        *,
        submitted_at: float,
        deadline: float,
        tolerate_invalid: bool = True,
        needs_files: bool = True,
    ) -> None:
        self.schedule = schedule
        self.submitted_at = submitted_at
        self.deadline = deadline
        self.failed_polls = 0
        """Failed polls in a row."""
        self._invalid = 0 if tolerate_invalid else _MAX_INVALID
        self._needs_files = needs_files

    def first_poll_at(self, now: float, *, not_before: float = 0.0) -> float:
        """Return the time of the first poll: early in the job's life, at once where that time has passed.

        :param not_before: an earlier poll would be of no use.
        """
        due = max(now, self.submitted_at + self.schedule.first_poll_s(), not_before)
        return min(due, max(now, self.deadline))

    def next_action(self, observation: Job | MagicHourError, now: float) -> PollDecision:
        """Decide what follows a poll.

        Failed polls (network, 429, 5xx) are tolerated until the deadline, with exponential backoff, and invalid
        responses for about ten minutes. A last poll falls on the deadline itself. A complete job without links to all
        of its files is polled again until then.

        :param observation: what the poll saw.
        :param now: the time.
        """
        age = max(0.0, now - self.submitted_at)
        if isinstance(observation, Job):
            if observation.ended and not (self._needs_files and observation.missing_files and now < self.deadline):
                return PollDecision(outcome=Outcome(observation.status, observation.error_code))
            self.failed_polls = self._invalid = 0
            interval = self.schedule.interval_s(age)
        else:
            if isinstance(observation, NotFoundError) and age >= _YOUNG_S:
                return PollDecision(outcome=Outcome(GONE))
            if self._is_final(observation):
                return PollDecision(outcome=Outcome(REFUSED))
            self.failed_polls += 1
            interval = min(_MAX_BACKOFF_S, self.schedule.min_interval_s * 2.0 ** min(self.failed_polls, 6))
            interval = max(interval, observation.retry_after or 0.0)
        if now >= self.deadline:
            return PollDecision(outcome=Outcome(TIMEOUT))
        return PollDecision(min(now + interval, self.deadline))

    def _is_final(self, error: MagicHourError) -> bool:
        if isinstance(error, InvalidResponseError | RequestRejectedError):
            # One may be a gateway's moment; a wrong host stays wrong.
            self._invalid += 1
            return self._invalid >= _MAX_INVALID
        self._invalid = 0
        return not (error.retryable or isinstance(error, NotFoundError))
