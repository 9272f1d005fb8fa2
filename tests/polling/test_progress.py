"""Messages for a task's log while its job is polled."""

from __future__ import annotations

from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.errors import AuthenticationError, RateLimitedError, ServerError
from magic_hour_provider.api.models import Download, Job
from magic_hour_provider.polling.progress import Progress
from magic_hour_provider.polling.schedule import PollDecision, PollState, Schedule


def messages_of(observe, deadline: float = 7200.0) -> list[str]:
    """Return the messages of a wait; ``observe`` gives what a poll at an age sees."""
    tool = TOOLS["lip-sync"]
    state = PollState(Schedule.of(tool.polling_class(), tool), submitted_at=0.0, deadline=deadline)
    progress, messages = Progress("abc", state, 0.0), []
    decision = PollDecision(state.first_poll_at(0.0))
    while decision.outcome is None:
        now = decision.next_poll_at
        observation = observe(now)
        decision = state.next_action(observation, now)
        messages += [message] if (message := progress.on_poll(observation, decision, now)) else []
    return messages


def test_changes_age_and_next_poll():
    """Each new status is one line with the job's age, the next poll and what is left; the end counts the polls."""
    words = ("queued", "rendering", "complete")
    lines = messages_of(
        lambda age: Job("abc", "video", words[int(age > 60) + int(age > 100)], downloads=(Download("x"),))
    )
    assert lines == [
        "Magic Hour job abc after 32 seconds: queued; next poll in 10 seconds, giving up in 1 hour 59 minutes.",
        "Magic Hour job abc after 1 minute 2 seconds: rendering; next poll in 10 seconds, giving up in 1 hour "
        "59 minutes.",
        "Magic Hour job abc after 1 minute 41 seconds: complete; 8 polls.",
    ]


def test_a_long_wait_is_no_line_per_poll():
    """Two hours and hundreds of polls are a dozen lines: the status, and every ten minutes that the job still runs."""
    lines = messages_of(lambda _: Job("abc", "video", "rendering"))
    assert 11 <= len(lines) <= 14
    assert lines[3] == (
        "Magic Hour job abc after 31 minutes: still rendering; next poll in 10 seconds, giving up in 1 hour 29 minutes."
    )
    assert lines[-1].startswith("Magic Hour job abc after 2 hours: no longer waited for (timeout); ")


def test_failed_polls_are_reported_once():
    """The first failed poll gives its reason; hundreds more add only what the message of every ten minutes says."""
    faults = (ServerError("Magic Hour has a fault."), RateLimitedError("Slower, please."))
    lines = messages_of(lambda age: faults[int(age > 70)] if age > 60 else Job("abc", "video", "queued"))
    assert "poll failed: Magic Hour has a fault; next poll in 10 seconds" in lines[1]
    assert len(lines) <= 14
    still = messages_of(lambda age: faults[0] if int(age / 300) % 2 else Job("abc", "video", "queued"), deadline=900)
    assert len(still) <= 5


def test_links_that_are_missing():
    """A complete job without links says so once, and is complete when they are there."""
    lines = messages_of(lambda age: Job("abc", "video", "complete", downloads=(Download("x"),) if age > 100 else ()))
    assert len(lines) == 2
    assert "complete, but without links to all of its files; next poll in" in lines[0]
    assert lines[1].endswith(": complete; 8 polls.")


def test_a_failed_poll_names_the_job_once():
    """The line begins with the job; what the error says of the charge and of next steps is not of the poll."""
    error = ServerError("Magic Hour has a fault when polling video job abc (HTTP 503): busy.", next_step="Try again.")
    (line, *_) = messages_of(lambda age: error if age < 60 else Job("abc", "video", "canceled"))
    assert line.startswith(
        "Magic Hour job abc after 32 seconds: poll failed: Magic Hour has a fault (HTTP 503): busy; "
    )
    assert "Try again" not in line


def test_the_end_of_polling_is_left_to_the_error():
    """A refusal is the task's error, which says it in full."""
    (line,) = messages_of(lambda _: AuthenticationError("No such key."))
    assert line == "Magic Hour job abc after 32 seconds: no longer waited for (refused); 1 poll."
