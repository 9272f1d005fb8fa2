"""Learned durations: what counts, what follows from it, and what it saves, with seeded jobs and no clock."""

from __future__ import annotations

import json
import math
import random
from statistics import NormalDist, fmean

import pytest

from helpers.schedules import fixed_polls, poll_ages, polls_and_delay
from magic_hour_provider.api.catalog import POLLING_CLASSES, TOOLS
from magic_hour_provider.polling.durations import Durations, LearnedSchedule
from magic_hour_provider.polling.schedule import Schedule

QUANTILES = [NormalDist().inv_cdf((n + 0.5) / 200) for n in range(200)]
LIP_SYNC = Schedule.of(TOOLS["lip-sync"].polling_class(), TOOLS["lip-sync"])


def poll(durations: Durations, takes_s: float) -> None:
    """Poll one job by what is known until now."""
    schedule, active = durations.schedule, None
    for age in poll_ages(schedule, takes_s):
        if age >= takes_s:
            durations.record(schedule, active_age_s=active, complete_age_s=age)
        active = age


def poll_many(durations: Durations, median_s: float, spread: float, jobs: int = 150, seed: int = 1) -> None:
    """Poll jobs one after another."""
    chance = random.Random(seed)
    for _ in range(jobs):
        poll(durations, median_s * math.exp(spread * chance.gauss(0, 1)))


# With the distribution known exactly, no schedule whatever needs less than 0.70 at a spread of 0.5, or 0.90 at 0.9:
# the more durations spread, the less can be known of an end.
@pytest.mark.parametrize(("spread", "mean"), [(0.5, 0.75), (0.9, 0.97)])
def test_what_is_learned_saves_polls(spread, mean):
    """With the published median right, or wrong by 2 x, it polls less than a fixed interval that is as late."""
    found = {}
    for polling_class in POLLING_CLASSES.values():
        published = Schedule.of(polling_class)
        for wrong in (0.5, 1.0, 2.0):
            durations = Durations(published)
            poll_many(durations, published.median_s * wrong, spread)
            sample = [published.median_s * wrong * math.exp(spread * z) for z in QUANTILES]
            polls, delay = polls_and_delay(durations.schedule, sample)
            found[polling_class.name, wrong] = polls / fixed_polls(sample, delay)
            assert delay <= 1.25 * polls_and_delay(published, sample)[1], (polling_class.name, wrong)
    assert fmean(found.values()) <= mean, found
    assert max(found.values()) <= 1.10, found


def test_few_jobs_change_nothing():
    """The published median counts until twenty jobs have ended; from then on it is replaced by theirs."""
    durations = Durations(LIP_SYNC)
    poll_many(durations, 100.0, 0.5, jobs=19)
    assert durations.schedule is LIP_SYNC
    poll(durations, 100.0)
    assert isinstance(durations.schedule, LearnedSchedule)
    assert durations.schedule.median_s == pytest.approx(100, rel=0.3)


@pytest.mark.parametrize("becomes", [0.25, 4.0])
def test_an_account_that_changes_is_noticed(becomes):
    """Where jobs take a quarter or four times as long from now on, 200 of them are enough to know it."""
    durations = Durations(LIP_SYNC)
    poll_many(durations, 200.0, 0.4, jobs=300)
    poll_many(durations, 200.0 * becomes, 0.4, jobs=200, seed=2)
    assert durations.schedule.median_s == pytest.approx(200 * becomes, rel=0.3)


def test_an_end_that_polls_do_not_date_does_not_count():
    """A job that was taken over long after its first poll was due, or was not polled for long, says nothing."""
    durations = Durations(LIP_SYNC)
    durations.record(LIP_SYNC, active_age_s=None, complete_age_s=900.0)
    durations.record(LIP_SYNC, active_age_s=100.0, complete_age_s=130.0)
    assert durations.jobs == 0
    durations.record(LIP_SYNC, active_age_s=None, complete_age_s=LIP_SYNC.first_poll_s())
    durations.record(LIP_SYNC, active_age_s=100.0, complete_age_s=110.0)
    assert durations.jobs == 2


def test_intervals_stay_inside_the_bounds_of_the_class():
    """For any durations, at any age, and the first poll comes no later than the median."""
    for polling_class in POLLING_CLASSES.values():
        low, high = polling_class.poll_interval_s
        for median in (1.2, 8.0, 300.0, 30_000.0):
            for spread in (0.3, 0.7, 1.2):
                schedule = LearnedSchedule(low, high, median, spread)
                assert low <= schedule.first_poll_s() <= max(low, median)
                ages = [0.0, *(median * 1.3**n for n in range(-20, 40))]
                assert all(low <= schedule.interval_s(age) <= high for age in ages), schedule


@pytest.mark.parametrize("takes", [0.0, 1e-9, 1e12])
def test_durations_without_bounds_are_counted(takes):
    """A clock that was set, or a job of years, breaks nothing, and the histogram never grows."""
    durations = Durations(LIP_SYNC)
    for _ in range(1000):
        durations.record(LIP_SYNC, active_age_s=takes, complete_age_s=takes)
    assert durations.jobs <= 120
    assert len(durations._counts) == 70
    assert math.isfinite(durations.schedule.first_poll_s())
    assert 5 <= durations.schedule.interval_s(takes) <= 10


def test_a_kept_histogram_is_polled_by_at_once():
    """It adds to what has been learned meanwhile, never beyond the bound, and is the schedule of jobs under way."""
    taught = Durations(LIP_SYNC)
    poll_many(taught, 100.0, 0.4)
    kept = json.loads(json.dumps(taught.to_json()))
    assert len(json.dumps(kept)) < 400
    durations = Durations(LIP_SYNC)
    poll_many(durations, 100.0, 0.4, jobs=5)
    durations.restore(kept)
    assert durations.schedule is durations.restored
    assert durations.schedule.median_s == pytest.approx(100, rel=0.2)
    durations.restore(kept)
    assert 60 <= durations.jobs <= 120
    few = Durations(LIP_SYNC)
    few.restore({"version": 1, "counts": [19] + [0] * 69})
    assert few.restored is None
    assert few.schedule is LIP_SYNC
    poll(few, 1.0)
    assert isinstance(few.schedule, LearnedSchedule)
