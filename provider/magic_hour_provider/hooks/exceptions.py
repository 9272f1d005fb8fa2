"""Errors of the API as exceptions of Airflow."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowTaskTimeout,
)

from magic_hour_provider.api.errors import Charge, ExecutionTimedOutError, MagicHourError


def to_airflow_error(error: MagicHourError) -> AirflowException | AirflowTaskTimeout:
    """Return the exception that lets Airflow retry the task, or fail it for good where a retry cannot help.

    The end of ``execution_timeout`` is what Airflow itself raises then, unless a retry would pay again.

    Where nothing has been paid for, the requests that failed were free ones: an error that does not say what it means
    for the charge means that there is none.
    """
    error.charge = error.charge or Charge.NONE
    if not error.retryable:
        return AirflowFailException(str(error))
    return AirflowTaskTimeout(str(error)) if isinstance(error, ExecutionTimedOutError) else AirflowException(str(error))


def find_cause(error: MagicHourError) -> BaseException | None:
    """Return what says more than the error itself, for the log: a storage's exception, say; None: nothing does."""
    cause = error.__cause__
    return None if isinstance(cause, MagicHourError | AirflowNotFoundException) else cause
