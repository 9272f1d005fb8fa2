"""Why something that a person asked for is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from magic_hour_provider.airflow_internals import MissingInternalError


class RecoveryError(Exception):
    """What a person asked for is refused, and nothing has changed: the text says why, and what to do.

    :param status: the HTTP status: 400 it cannot work, 404 no such task, 409 something has changed meanwhile, 502 or
        503 it cannot be checked now.
    """

    def __init__(self, message: str, status: int = 409) -> None:
        super().__init__(message)
        self.status = status


class NeedsConfirmationError(RecoveryError):
    """The job's name carries the tag of something else: a person has to confirm that it is the right one.

    :param tag: that tag.
    """

    def __init__(self, message: str, tag: str) -> None:
        super().__init__(message)
        self.tag = tag


class NoJobsError(RecoveryError):
    """The task submits no jobs at all."""


class BatchTaskError(RecoveryError):
    """The task is a batch, of which only single items are recovered."""


@contextmanager
def translating_database_errors() -> Iterator[None]:
    """Say in a sentence that Airflow's database does not answer now, or that this Airflow lacks what is needed."""
    from sqlalchemy import exc

    try:
        yield
    except MissingInternalError as error:
        raise RecoveryError(f"{error} Nothing has changed.", 501) from error
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        raise RecoveryError(
            "Airflow's database does not answer, or another transaction holds this task. Nothing has changed. Try it "
            "again in a moment.",
            503,
        ) from error
