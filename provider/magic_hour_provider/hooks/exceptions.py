"""Errors of the API as exceptions of Airflow."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from magic_hour_provider.api.errors import Charge, MagicHourError


def to_airflow_error(error: MagicHourError) -> AirflowException:
    """Return the exception that lets Airflow retry the task, or fail it for good where a retry cannot help.

    Where nothing has been paid for, the requests that failed were free ones: an error that does not say what it means
    for the charge means that there is none.
    """
    error.charge = error.charge or Charge.NONE
    return AirflowException(str(error)) if error.retryable else AirflowFailException(str(error))
