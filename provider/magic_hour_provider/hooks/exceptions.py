"""Errors of the API as exceptions of Airflow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowTaskTimeout,
)

from magic_hour_provider.api.errors import Charge, ExecutionTimedOutError, MagicHourError

_P = ParamSpec("_P")
_R = TypeVar("_R")


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


_MISTAKES = (TypeError, AttributeError, NameError, LookupError, AssertionError, ArithmeticError)


def find_cause(error: MagicHourError) -> BaseException | None:
    """Return what says more than the error itself, for the log; None: nothing does.

    The message quotes what a storage or the network said. Where it was a mistake in code, the lines are of use too.
    """
    cause = error.__cause__
    if cause is None or isinstance(cause, MagicHourError | AirflowNotFoundException):
        return None
    return None if str(cause) in str(error) and not isinstance(cause, _MISTAKES) else cause


def one_clear_error(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Keep the lines of this package out of the traceback of a failure that it has put into words.

    Airflow prints the whole traceback in the task's log; what this package does not know keeps its own.
    """

    @functools.wraps(method)
    def call(*arguments: _P.args, **named: _P.kwargs) -> _R:
        try:
            return method(*arguments, **named)
        except (AirflowException, AirflowTaskTimeout) as error:
            if not _is_raised_here(error):
                raise
            raise error.with_traceback(None) from error.__cause__

    return call


def _is_raised_here(error: BaseException) -> bool:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    name = str(traceback.tb_frame.f_globals.get("__name__")) if traceback is not None else ""
    return name.split(".")[0] == __name__.split(".")[0]
