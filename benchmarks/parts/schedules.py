"""How many polls a schedule costs, beside polls at a fixed interval that see the end as late on average.

No time passes: durations are lognormal around a median, at a thousand evenly spread quantiles, so a run repeats to the
digit. The peer polls first one interval after the submission, which is kind to it: the real ones poll at once, too.
"""

from __future__ import annotations

import json
import math
import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from magic_hour_provider.api.catalog import POLLING_CLASSES, TOOLS
from magic_hour_provider.api.models import Job
from magic_hour_provider.polling.durations import Durations
from magic_hour_provider.polling.schedule import PollState, Schedule

_SAMPLES = 1000


def _evenly(samples: int) -> list[float]:
    """Return quantiles of the normal distribution, evenly spread."""
    return [NormalDist().inv_cdf((n + 0.5) / samples) for n in range(samples)]


_QUANTILES = _evenly(_SAMPLES)
_FOR_EVER = 10.0**9
_ACTIVE = Job(id="job", kind="image", status="rendering")
SIGMAS = (0.5, 0.9)
AFTER_RESTART = 20
"""Jobs that a triggerer polls after a restart, all under way at once."""
LEARNED_FROM = 150
"""Jobs of random durations, from a fixed seed, that a schedule has learned from."""
WRONG = (1.0, 0.5, 2.0)
"""The true median as a multiple of the one that the schedule believes in."""


@dataclass(frozen=True)
class Cell:
    """One schedule meeting one spread of durations.

    :param who: a tool, or a polling class where a tool of no published median takes its middle.
    :param wrong: the true median as a multiple of the one believed in.
    :param polls: polls per job.
    :param delay_s: seconds from the end of a job to the poll that sees it, on average.
    :param ratio: polls beside those at a fixed interval with the same delay.
    """

    who: str
    sigma: float
    wrong: float
    polls: float
    delay_s: float
    ratio: float


def cells(*, learned: bool = False) -> Iterator[Cell]:
    """Measure every polling class and every tool, with every spread and every mistake.

    :param learned: with the schedule that the first jobs have taught, rather than the published one.
    """
    for who, published in _schedules():
        for sigma in SIGMAS:
            for wrong in WRONG:
                median = published.median_s * wrong
                durations = [median * math.exp(sigma * z) for z in _QUANTILES]
                schedule = _learn(published, median, sigma) if learned else published
                poll_times = list(_poll_times(schedule, durations[-1]))
                seen_by = [bisect_left(poll_times, duration) for duration in durations]
                polls = fmean(seen_by) + 1
                delay = fmean(poll_times[last] - end for last, end in zip(seen_by, durations, strict=True))
                yield Cell(who, sigma, wrong, polls, delay, polls / _fixed_polls(durations, delay))


def _learn(published: Schedule, median: float, sigma: float) -> Schedule:
    return _learned(published, median, sigma).schedule


def _learned(published: Schedule, median: float, sigma: float) -> Durations:
    known, chance = Durations(published), random.Random(1)
    for _ in range(LEARNED_FROM):
        schedule, takes = known.schedule, median * math.exp(sigma * chance.gauss(0, 1))
        *active, complete = _poll_times(schedule, takes)
        known.record(schedule, active_age_s=active[-1] if active else None, complete_age_s=complete)
    return known


@dataclass(frozen=True)
class Restart:
    """The first jobs of a triggerer that has restarted.

    :param sigma: spread of their durations.
    :param polls: polls per job where what it had learned was kept, and where it was not.
    :param delays_s: seconds from a job's end to the poll that sees it, likewise.
    """

    sigma: float
    polls: tuple[float, float]
    delays_s: tuple[float, float]


def restarts() -> Iterator[Restart]:
    """Measure the first jobs after a restart, for every class, tool, spread and mistake."""
    for _, published in _schedules():
        for sigma in SIGMAS:
            for wrong in WRONG:
                median = published.median_s * wrong
                takes = [median * math.exp(sigma * z) for z in _evenly(AFTER_RESTART)]
                kept = Durations(published)
                kept.restore(json.loads(json.dumps(_learned(published, median, sigma).to_json())))
                found = [_poll(schedule, takes) for schedule in (kept.schedule, published)]
                yield Restart(sigma, (found[0][0], found[1][0]), (found[0][1], found[1][1]))


def _poll(schedule: Schedule, durations: Sequence[float]) -> tuple[float, float]:
    """Return polls per job, and seconds from a job's end to the poll that sees it."""
    times = [list(_poll_times(schedule, duration)) for duration in durations]
    return fmean(map(len, times)), fmean(one[-1] - end for one, end in zip(times, durations, strict=True))


def _schedules() -> Iterator[tuple[str, Schedule]]:
    for name, polling_class in POLLING_CLASSES.items():
        yield name, Schedule.of(polling_class)
    for slug, tool in TOOLS.items():
        classes = sorted(set(tool.polling_by[1].values())) if tool.polling_by else [tool.polling]
        for name in classes:
            yield f"{slug} ({name})", Schedule.of(POLLING_CLASSES[name], tool)


def _poll_times(schedule: Schedule, longest: float) -> Iterator[float]:
    """Give the ages at which an active job is polled, until one is past the longest duration."""
    state = PollState(schedule, submitted_at=0.0, deadline=_FOR_EVER)
    age = state.first_poll_at(0.0)
    while True:
        yield age
        if age >= longest:
            return
        decision = state.next_action(_ACTIVE, age)
        assert decision.outcome is None, decision
        age = decision.next_poll_at


def _fixed_polls(durations: Sequence[float], delay: float) -> float:
    """Return the polls per job at the fixed interval that has this delay on average."""
    low, high = delay / 10, 10 * delay
    for _ in range(30):
        interval = math.sqrt(low * high)
        late = fmean(math.ceil(duration / interval) * interval - duration for duration in durations)
        low, high = (interval, high) if late < delay else (low, interval)
    return fmean(math.ceil(duration / low) for duration in durations)
