"""What a check finds, and how long it may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from magic_hour_provider.api.errors import MagicHourError, describe_error
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.plugin.recovery.time_limit import TimeLimit

_T = TypeVar("_T")

STORAGE_CHECKS = TimeLimit("magic-hour-doctor", threads=32, seconds=10.0)
"""For one check: a storage that stalls must not hold the command."""


@dataclass(frozen=True)
class Finding:
    """One line of ``doctor``.

    :param check: the subject.
    :param message: what was found; of a problem also what to do.
    """

    status: Literal["ok", "warning", "problem"]
    check: str
    message: str


def explain(error: BaseException) -> str:
    """Return an error as the end of a sentence and what to do about it; a check pays nothing, so without the charge."""
    if isinstance(error, MagicHourError):
        return " ".join(filter(None, (error.message, error.next_step)))
    return f"{redact(describe_error(error)).rstrip('.')}."


def call_in_time(function: Callable[[], _T]) -> _T:
    """Call a function that may never return.

    :raises TimeoutError: it has not returned in time; its thread is left alone, and ends with the process.
    """
    try:
        return STORAGE_CHECKS.call(function)
    except TimeoutError:
        raise TimeoutError(f"no response within {STORAGE_CHECKS.seconds:g} s") from None
