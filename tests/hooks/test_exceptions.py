"""Errors of the API as exceptions of Airflow."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from magic_hour_provider.api import errors
from magic_hour_provider.hooks.exceptions import to_airflow_error


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
