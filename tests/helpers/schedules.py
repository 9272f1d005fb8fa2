"""How many polls a schedule takes, and how late it sees the ends of jobs, without any clock."""

from __future__ import annotations

import math
from bisect import bisect_left
from statistics import fmean

from magic_hour_provider.api.models import Job
from magic_hour_provider.polling.schedule import PollState, Schedule

ACTIVE = Job("a", "video", "rendering")


def poll_ages(schedule: Schedule, longest: float) -> list[float]:
    """Return the ages at which an active job is polled, until one is not below ``longest``."""
    state = PollState(schedule, submitted_at=0.0, deadline=10.0**9)
    ages = [state.first_poll_at(0.0)]
    while ages[-1] < longest:
        decision = state.next_action(ACTIVE, ages[-1])
        assert decision.outcome is None
        ages.append(decision.next_poll_at)
    return ages


def polls_and_delay(schedule: Schedule, durations: list[float]) -> tuple[float, float]:
    """Return polls per job, and seconds from the end of a job to the poll that sees it."""
    ages = poll_ages(schedule, durations[-1])
    last = [bisect_left(ages, duration) for duration in durations]
    return fmean(last) + 1, fmean(ages[n] - duration for n, duration in zip(last, durations, strict=True))


def fixed_polls(durations: list[float], delay: float) -> float:
    """Return polls per job at the fixed interval that sees ends as late on average."""
    low, high = delay / 10, 10 * delay
    for _ in range(30):
        interval = math.sqrt(low * high)
        late = fmean(math.ceil(one / interval) * interval - one for one in durations)
        low, high = (interval, high) if late < delay else (low, interval)
    return fmean(math.ceil(one / low) for one in durations)
