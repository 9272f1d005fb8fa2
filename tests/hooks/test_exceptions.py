"""Errors of the API as exceptions of Airflow."""

from __future__ import annotations

import traceback

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from helpers.attempts import TaskInstance
from magic_hour_provider.api import errors
from magic_hour_provider.hooks.exceptions import find_cause, one_clear_error, to_airflow_error


@pytest.mark.parametrize(
    ("error", "fails_for_good"),
    [
        (errors.ServerError("It is down."), False),
        (errors.RateLimitedError("Slower."), False),
        (errors.ConnectionFailedError("Nobody there."), False),
        (errors.AuthenticationError("No such key."), True),
        (errors.InvalidInputError("Not like this."), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_retry_can_help_is_retried(error, fails_for_good):
    """Airflow retries what may pass, and fails the task for good where only a person can help."""
    raised = to_airflow_error(error)
    assert isinstance(raised, AirflowException)
    assert isinstance(raised, AirflowFailException) == fails_for_good


def test_the_charge_is_said():
    """A free request's error says that nothing was charged; what is known of a charge is kept."""
    assert str(to_airflow_error(errors.ServerError("It is down."))).endswith(errors.Charge.NONE.sentence)
    kept = errors.ServerError("It is down.", charge=errors.Charge.KEPT)
    assert errors.Charge.KEPT.sentence in str(to_airflow_error(kept))
    assert errors.Charge.NONE.sentence not in str(to_airflow_error(kept))


def called(error: BaseException | None = None, cause: BaseException | None = None) -> None:
    """Fail as an operator does: some calls deep, in words."""

    def inner() -> None:
        if error is not None:
            raise error
        try:
            raise cause or errors.ServerError("It is down.")
        except Exception as reason:
            failure = errors.TransferError(f"It failed ({errors.describe_error(reason)}).")
            failure.__cause__ = reason
            raise to_airflow_error(failure) from find_cause(failure)

    inner()


@pytest.mark.parametrize("cause", [None, PermissionError(13, "Permission denied", "/out"), RuntimeError("no token")])
def test_a_known_failure_is_one_error_without_our_lines(monkeypatch, cause):
    """The log has the sentence once, and of this package's lines only where Airflow enters it."""
    monkeypatch.setitem(globals(), "__name__", "magic_hour_provider.execution.attempt")
    with pytest.raises(AirflowException) as caught:
        one_clear_error(called)(cause=cause)
    printed = "".join(traceback.format_exception(caught.value))
    assert printed.count("It failed") == 1
    assert "direct cause" not in printed
    assert "During handling" not in printed
    assert "inner()" not in printed


def test_a_mistake_in_code_keeps_its_lines(monkeypatch):
    """Where it was no failure of a service or a storage, the lines are what helps."""
    monkeypatch.setitem(globals(), "__name__", "magic_hour_provider.execution.attempt")
    with pytest.raises(AirflowException) as caught:
        one_clear_error(called)(cause=AttributeError("'NoneType' object has no attribute 'read'"))
    assert "direct cause" in "".join(traceback.format_exception(caught.value))
    monkeypatch.setitem(globals(), "__name__", "users.own.module")
    with pytest.raises(AirflowException) as caught:
        one_clear_error(called)(AirflowException("the user's own"))
    assert "inner()" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_log_of_a_failed_job_says_it_once(airflow, capsys, caplog, deferrable):
    """What Airflow prints of a failed task is its error: no line of the log says the same before."""
    airflow.sim.inject_fault("job-outcome", status="error", code="no_source_face")
    operator = airflow.operator("text-to-video", {"end_seconds": 3, "style": {"prompt": "x"}}, deferrable=deferrable)
    with pytest.raises(AirflowFailException, match="failed with no_source_face") as caught:
        airflow.attempt(operator, TaskInstance())
    assert "failed with no_source_face" not in capsys.readouterr().out + caplog.text
    printed = "".join(traceback.format_exception(caught.value))
    assert printed.count("failed with no_source_face") == 1
    assert printed.count("/magic_hour_provider/") <= 1
    assert airflow.creates() == 1


def test_the_log_of_a_lost_response_says_it_once(airflow, capsys, caplog):
    """The error has it all; only an alarm that takes its place, or an id, is logged besides."""
    airflow.sim.inject_fault("close-after-accept")
    with pytest.raises(AirflowFailException, match="It is unknown whether") as caught:
        airflow.attempt(airflow.operator(), TaskInstance())
    assert "It is unknown whether" not in capsys.readouterr().out + caplog.text
    assert "".join(traceback.format_exception(caught.value)).count("It is unknown whether") == 1
    assert airflow.creates() == 1
