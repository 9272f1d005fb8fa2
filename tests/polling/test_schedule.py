"""When to poll and when to stop, without any clock but the numbers given."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from helpers.schedules import fixed_polls, polls_and_delay
from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import POLLING_CLASSES, TOOLS
from magic_hour_provider.api.models import Download, Job
from magic_hour_provider.polling.schedule import Outcome, PollDecision, PollState, Schedule

ACTIVE = Job("a", "video", "rendering")


def make(slug: str = "lip-sync", deadline: float = 10_000.0) -> PollState:
    """Return the wait of a job submitted at 0."""
    tool = TOOLS[slug]
    return PollState(Schedule.of(tool.polling_class(), tool), submitted_at=0.0, deadline=deadline)


def test_intervals_stay_inside_the_bounds():
    """It is long while hardly a job ends, short when most do, then longer, and always in the bounds of its class."""
    medians = [age / 100 for age in range(1, 1000)]
    for tool in TOOLS.values():
        low, high = tool.polling_class().poll_interval_s
        schedule = Schedule.of(tool.polling_class(), tool)
        intervals = [(age, schedule.interval_s(age * schedule.median_s)) for age in medians]
        assert all(low <= interval <= high for _, interval in intervals), tool.slug
        assert {interval for age, interval in intervals if age < 0.35} == {high}, tool.slug
        early = [interval for age, interval in intervals if age < 0.8]
        assert early == sorted(early, reverse=True), tool.slug
        assert {interval for age, interval in intervals if 0.8 <= age <= 1.5} == {low}, tool.slug
        late = [interval for age, interval in intervals if age >= 1.5]
        assert late == sorted(late), tool.slug
        assert late[-1] == high, tool.slug
        assert low <= schedule.first_poll_s() <= max(low, schedule.median_s), tool.slug


@pytest.mark.parametrize(("sigma", "wrong", "most"), [(0.5, 1, 0.86), (0.9, 1, 1.1), (0.5, 2, 1.1), (0.5, 0.5, 1.1)])
def test_polls_are_fewer_than_at_a_fixed_interval(sigma, wrong, most):
    """With the same delay it polls less where the median is right, and hardly more where it is not."""
    quantiles = [NormalDist().inv_cdf((n + 0.5) / 200) for n in range(200)]
    for polling_class in POLLING_CLASSES.values():
        if polling_class.name == "long_video":
            continue
        schedule = Schedule.of(polling_class)
        durations = [schedule.median_s * wrong * math.exp(sigma * z) for z in quantiles]
        polls, delay = polls_and_delay(schedule, durations)
        assert polls / fixed_polls(durations, delay) <= most, polling_class.name


def test_the_first_poll_is_early():
    """A lip sync of 229 s is polled after 32 s, one that is resumed late at once, none before it is of use."""
    state = make()
    assert state.first_poll_at(0.0) == pytest.approx(0.95 * math.sqrt(5 * 229))
    assert state.first_poll_at(500.0) == 500.0
    assert state.first_poll_at(0.0, not_before=60.0) == 60.0


def test_a_deadline_before_the_first_poll_is_obeyed():
    """With a timeout shorter than the first poll there is one poll, at the deadline."""
    assert make(deadline=10).first_poll_at(0.0) == 10


@pytest.mark.parametrize("status", ["complete", "error", "canceled", "gone"])
def test_a_final_status_ends_the_wait(status):
    """Every final status ends the wait with itself and its code."""
    job = Job("a", "video", status, error_code="c", downloads=(Download("x"),))
    assert make().next_action(job, 100.0) == PollDecision(outcome=Outcome(status, "c"))


@pytest.mark.parametrize("status", ["draft", "queued", "rendering", "something-new", "unknown"])
def test_an_unknown_status_is_still_active(status):
    """A status nobody knows is waited through."""
    assert make().next_action(Job("a", "video", status), 200.0) == PollDecision(205.0)


def test_failed_polls_are_tolerated_with_backoff():
    """Network and server faults only lengthen the interval; a good poll resets it."""
    state, now, intervals = make(), 100.0, []
    for _ in range(6):
        due = state.next_action(errors.ServerError("x"), now).next_poll_at
        intervals.append(due - now)
        now = due
    assert intervals == [10, 20, 40, 60, 60, 60]
    state.next_action(ACTIVE, now)
    assert state.failed_polls == 0


@pytest.mark.parametrize("fault", [errors.RateLimitedError, errors.ServerError])
def test_retry_after_is_obeyed(fault):
    """A 429 or 503 with Retry-After is not polled sooner, and not beyond the deadline."""
    assert make().next_action(fault("x", retry_after=90), 100.0) == PollDecision(190.0)
    assert make(deadline=150).next_action(fault("x", retry_after=90), 100.0) == PollDecision(150.0)


def test_a_404_is_forgiven_for_a_minute():
    """A job may be too new for its route; later a 404 means that it is gone."""
    state = make()
    assert state.next_action(errors.NotFoundError("x"), 59.0).outcome is None
    assert state.next_action(errors.NotFoundError("x"), 60.0) == PollDecision(outcome=Outcome("gone"))


def test_a_refused_poll_ends_the_wait():
    """A bad key does not get better by polling."""
    assert make().next_action(errors.AuthenticationError("x"), 100.0) == PollDecision(outcome=Outcome("refused"))
    assert make().next_action(errors.InsufficientCreditsError("x"), 100.0) == PollDecision(outcome=Outcome("refused"))


@pytest.mark.parametrize("error", [errors.InvalidResponseError, errors.RequestRejectedError])
def test_a_response_that_stays_invalid_ends_the_wait(error):
    """A gateway's page for some minutes is waited through; after about ten minutes of it the host is wrong."""
    state, now = make(), 100.0
    while (decision := state.next_action(error("x"), now)).outcome is None:
        now = decision.next_poll_at
    assert decision.outcome == Outcome("refused")
    assert 300 < now - 100 < 900


def test_only_invalid_responses_in_a_row_count():
    """A valid one, or another fault, resets the count."""
    state = make()
    for _ in range(30):
        for observation in (
            errors.InvalidResponseError("x"),
            errors.RequestRejectedError("x"),
            errors.ConnectionFailedError("x"),
        ):
            assert state.next_action(observation, 100.0).outcome is None
        for observation in (errors.InvalidResponseError("x"), ACTIVE):
            assert state.next_action(observation, 100.0).outcome is None


def test_a_wait_that_tolerates_no_invalid_response():
    """A worker whose trigger reported invalid responses ends at one more, and continues after a good one."""
    tool = TOOLS["lip-sync"]
    state = PollState(Schedule.of(tool.polling_class(), tool), submitted_at=0.0, deadline=1e4, tolerate_invalid=False)
    assert state.next_action(errors.InvalidResponseError("x"), 100.0) == PollDecision(outcome=Outcome("refused"))
    again = PollState(Schedule.of(tool.polling_class(), tool), submitted_at=0.0, deadline=1e4, tolerate_invalid=False)
    assert again.next_action(ACTIVE, 100.0).outcome is None
    assert again.next_action(errors.InvalidResponseError("x"), 110.0).outcome is None


def test_the_last_poll_falls_on_the_deadline():
    """The wait ends at the deadline, after one poll on it, for active and for silent jobs."""
    state = make(deadline=103.0)
    assert state.next_action(ACTIVE, 100.0) == PollDecision(103.0)
    assert state.next_action(ACTIVE, 103.0) == PollDecision(outcome=Outcome("timeout"))
    assert state.next_action(errors.ConnectionFailedError("x"), 104.0) == PollDecision(outcome=Outcome("timeout"))
    assert state.next_action(Job("a", "video", "complete", downloads=(Download("x"),)), 104.0) == PollDecision(
        outcome=Outcome("complete")
    )


@pytest.mark.parametrize("links", [(), (None,), (Download("x"), None)])
def test_missing_links_are_waited_for_until_the_deadline(links):
    """A complete job without links to all of its files is polled again; at the deadline it is complete."""
    state, job = make(deadline=200), Job("a", "image", "complete", downloads=links)
    assert 100 < state.next_action(job, 100.0).next_poll_at <= 200
    assert state.next_action(job, 200.0) == PollDecision(outcome=Outcome("complete"))
    unwanted = PollState(state.schedule, submitted_at=0, deadline=200, needs_files=False)
    assert unwanted.next_action(job, 100.0) == PollDecision(outcome=Outcome("complete"))
