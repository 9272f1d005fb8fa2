"""Times in texts, and durations in words: the one place that reads and writes them.

Inside the package a time is a number of seconds since 1970. Texts have it as ISO 8601, as the service and our records
write it; pendulum reads and writes those. It is imported late: most uses of this package meet no time at all.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

# Only a full date with a time is a time. pendulum alone would also take "12:00", "2024", "P1D" and "now".
_DATE_AND_TIME = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?|[0-9]{8}T[0-9]{4}(?:[0-9]{2})?)"
    r"(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_LONGEST = 40  # characters


def parse_time(value: object) -> float | None:
    """Return a date and time, as ISO 8601 or as an object, as seconds since 1970; None for anything else.

    :param value: in any time zone, up to nanoseconds; without a zone it is UTC, as Magic Hour's times are.
    """
    value = value.isoformat() if isinstance(value, datetime) else value
    return _parse(value) if isinstance(value, str) and len(value) <= _LONGEST else None


@lru_cache(maxsize=4096)  # pages that refresh themselves show the same times again and again
def _parse(text: str) -> float | None:
    text = text.upper()
    if _DATE_AND_TIME.fullmatch(text) is None:
        return None
    import pendulum

    try:
        moment = pendulum.parse(text, exact=True)
    except (ValueError, OverflowError):
        return None
    return moment.timestamp() if isinstance(moment, pendulum.DateTime) else None


def format_time(seconds: float) -> str:
    """Return a time as ISO 8601, in UTC and whole seconds, such as ``2026-01-31T09:30:00+00:00``.

    :param seconds: since 1970.
    """
    import pendulum

    return pendulum.from_timestamp(seconds).isoformat(timespec="seconds")


def parse_http_date(text: str) -> float | None:
    """Return the date of an HTTP header as seconds since 1970; None for anything else.

    It has a form of its own (https://www.rfc-editor.org/rfc/rfc9110#name-date-time-formats), which pendulum does not
    read.
    """
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def format_duration(seconds: float) -> str:
    """Return a duration in words, such as ``3 minutes``: to the second up to two minutes, then to the minute."""
    whole = round(max(0.0, seconds))
    return _in_words(whole if whole < 120 else round(whole / 60) * 60)


@lru_cache(maxsize=4096)  # thousands of jobs share a few durations
def _in_words(seconds: int) -> str:
    import pendulum

    return pendulum.duration(seconds=seconds).in_words(locale="en") if seconds else "0 seconds"
