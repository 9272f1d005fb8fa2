"""Errors: their three parts, and what redaction leaves of them."""

import copy
import pickle

import pytest

from magic_hour_provider.api import errors
from magic_hour_provider.api.errors import Charge


@pytest.mark.parametrize("charge", Charge)
def test_the_parts_of_a_message(charge):
    """What happened, the charge, what to do next: in that order, each once."""
    error = errors.TransferError("It broke.", charge=charge, next_step="Try again.")
    assert str(error) == f"It broke. {charge.sentence} Try again."
    assert (error.message, error.charge, error.next_step) == ("It broke.", charge, "Try again.")


def test_parts_that_are_missing_leave_no_gap():
    """An error that knows neither the charge nor a next step is its message."""
    assert str(errors.TransferError("It broke.")) == "It broke."
    assert str(errors.InvalidInputError("x is wrong.")) == f"x is wrong. {Charge.NONE.sentence}"


def test_a_message_can_be_stored():
    """A file's name may hold half a character or NUL, which no database takes: they are replaced."""
    error = errors.TransferError("No file \udcff.", next_step="See \0.")
    assert str(error) == "No file \ufffd. See \ufffd."


def test_what_is_learned_later_is_appended():
    """The message and the next step grow; the charge is that of all of it, once."""
    error = errors.InvalidInputError("x is wrong.", next_step="Correct x.")
    error.append("Job 7 is of an earlier attempt.", charge=Charge.KEPT, next_step="A retry resumes it.")
    assert str(error) == (
        f"x is wrong. Job 7 is of an earlier attempt. {Charge.KEPT.sentence} Correct x. A retry resumes it."
    )


def test_an_error_inside_another_ones_message_brings_no_second_charge():
    """Only the message of our own errors is repeated, and the whole text of any other."""
    assert errors.describe_error(errors.InvalidInputError("no such folder")) == "InvalidInputError: no such folder"
    assert errors.describe_error(OSError("disk full")) == "OSError: disk full"
    assert errors.describe_error(TimeoutError()) == "TimeoutError"


def test_a_task_that_only_a_person_can_bring_further_says_it_in_one_message():
    """The charge of it is for the report: the message has it already, or speaks of another attempt's job."""
    error = errors.NotRetryableError("Job 7 failed. Magic Hour refunds the job.", charge=Charge.NONE)
    assert str(error) == "Job 7 failed. Magic Hour refunds the job."
    assert not error.retryable


def test_a_job_that_was_created_without_a_record_stays_charged():
    """Its id is known, so the charge is: only the record is unknown to the next attempt."""
    assert errors.SubmissionUnknownError("lost", created=True, job_id="7").charge is Charge.KEPT
    assert errors.SubmissionUnknownError("lost").charge is Charge.UNKNOWN


@pytest.mark.parametrize("way", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_travel_between_processes(way):
    """A copy has all parts: worker pools and Airflow's own logging pass exceptions on."""
    error = errors.RateLimitedError("slow", retry_after=3.0, charge=Charge.NONE, next_step="Wait.")
    again = way(error)
    assert (str(again), again.retry_after, again.status_code) == (str(error), 3.0, 429)


def test_no_part_carries_a_secret():
    """Messages and next steps are redacted, also those that are appended."""
    secret = "https://s3.example/f.png?X-Amz-Signature=abc mhk_live_1"
    error = errors.TransferError(f"{secret}.", next_step=secret)
    error.append(secret, charge=Charge.NONE, next_step=secret)
    assert "abc" not in str(error)
    assert "mhk_live" not in str(error)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("It failed", "It failed. No job was created"),
        ("It failed.", "It failed. No job was created"),
        ("It failed: no face..", "It failed: no face. No job was created"),
        ("Did you mean `x`?.", "Did you mean `x`? No job was created"),
        ('It said "no."', 'It said "no." No job was created'),
        ("It failed (no face)", "It failed (no face). No job was created"),
        ("It said 'no'", "It said 'no'. No job was created"),
        ("Wait...", "Wait... No job was created"),
        ("See https://magichour.ai/my-library?videoId=a", "See https://magichour.ai/my-library?videoId=a No job was"),
    ],
)
def test_each_sentence_ends_once(message, text):
    """Whatever ends a message, which may be quoted, and whatever comes after it."""
    assert str(errors.InvalidInputError(message)).startswith(text)
    error = errors.MagicHourError(message)
    error.append("More.", charge=Charge.NONE, next_step=None)
    assert str(error).startswith(text.partition(" No job")[0] + " More. No job was created")
