"""When to look and when to stop, without any clock but the numbers given."""

from __future__ import annotations

import pytest

from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.jobs import Job
from magic_hour_provider.api.waiting import Outcome, Schedule, Wait

ACTIVE = Job("a", "video", "rendering")


def make(slug: str = "lip-sync", deadline: float = 10_000.0) -> Wait:
    """Return the wait of a job submitted at 0."""
    tool = TOOLS[slug]
    return Wait(Schedule.of(tool.polling_class(), tool), submitted_at=0.0, deadline=deadline)


@pytest.mark.parametrize("slug", TOOLS)
def test_gaps_from_the_usual_duration_on_stay_inside_the_bounds_and_grow(slug):
    """Once a job may well be over the gap grows with its age and never leaves the bounds of its class."""
    tool = TOOLS[slug]
    low, high = tool.polling_class().interval_s
    schedule = Schedule.of(tool.polling_class(), tool)
    gaps = [schedule.gap_s(0.8 * schedule.median_s + age) for age in range(0, 20_000, 50)]
    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == (low, high)


@pytest.mark.parametrize("slug", TOOLS)
def test_gaps_of_a_young_job_are_longer(slug):
    """Before the usual duration the gap shrinks from less than twice the shortest."""
    tool = TOOLS[slug]
    low = tool.polling_class().interval_s[0]
    schedule = Schedule.of(tool.polling_class(), tool)
    gaps = [schedule.gap_s(part / 100 * schedule.median_s) for part in range(81)]
    assert gaps == sorted(gaps, reverse=True)
    assert (gaps[0], gaps[-1]) == (1.75 * low, low)


def test_the_first_look_is_early():
    """A lip sync of 229 s is looked at after 10 s, a resumed one at once."""
    wait = make()
    assert wait.first_look(0.0) == 10
    assert wait.first_look(500.0) == 500.0


def test_a_deadline_before_the_first_look_is_obeyed():
    """With a timeout shorter than the first look there is one look, at the deadline."""
    assert make(deadline=7).first_look(0.0) == 7


@pytest.mark.parametrize("status", ["complete", "error", "canceled", "gone"])
def test_a_final_status_ends_the_wait(status):
    """Every final status ends the wait with itself and its code."""
    assert make().decide(Job("a", "video", status, error_code="c"), 100.0) == Outcome(status, "c")


@pytest.mark.parametrize("status", ["draft", "queued", "rendering", "something-new", "unknown"])
def test_an_unknown_status_is_still_active(status):
    """A status nobody knows is waited through."""
    assert make().decide(Job("a", "video", status), 200.0) == 205.0


def test_failing_looks_are_tolerated_further_and_further_apart():
    """Network and server faults only stretch the gap; a good look resets it."""
    wait, now, gaps = make(), 100.0, []
    for _ in range(6):
        due = wait.decide(errors.ServerFaultError("x"), now)
        gaps.append(due - now)
        now = due
    assert gaps == [10, 20, 40, 60, 60, 60]
    wait.decide(ACTIVE, now)
    assert wait.failing_looks == 0


def test_retry_after_is_obeyed():
    """A 429 with Retry-After is not looked at sooner."""
    assert make().decide(errors.RateLimitedError("x", retry_after=90), 100.0) == 190.0


def test_a_404_is_forgiven_for_a_minute():
    """A job may be too new for its route; later a 404 means that it is gone."""
    wait = make()
    assert isinstance(wait.decide(errors.NotFoundError("x"), 59.0), float)
    assert wait.decide(errors.NotFoundError("x"), 60.0) == Outcome("gone")


def test_a_refused_look_ends_the_wait():
    """A bad key does not get better by looking."""
    assert make().decide(errors.BadKeyError("x"), 100.0) == Outcome("refused")
    assert make().decide(errors.NoCreditsError("x"), 100.0) == Outcome("refused")


def test_the_last_look_falls_on_the_deadline():
    """The wait ends at the deadline, after one look on it, for active and for silent jobs."""
    wait = make(deadline=103.0)
    assert wait.decide(ACTIVE, 100.0) == 103.0
    assert wait.decide(ACTIVE, 103.0) == Outcome("timeout")
    assert wait.decide(errors.UnreachableError("x"), 104.0) == Outcome("timeout")
    assert wait.decide(Job("a", "video", "complete"), 104.0) == Outcome("complete")
