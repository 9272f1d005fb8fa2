"""Times in texts, and durations in words."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pendulum
import pytest

import magic_hour_provider
from magic_hour_provider.times import format_duration, format_time, parse_http_date, parse_time

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("2026-11-25T12:00:00Z", 0),
        ("2026-11-25T12:00:00.123Z", 0.123),
        ("2026-11-25T12:00:00.123456789Z", 0.123456789),
        ("2026-11-25T12:00:00,5Z", 0.5),
        ("2026-11-25T12:00Z", 0),
        ("2026-11-25t12:00:00z", 0),
        ("2026-11-25 12:00:00+00:00", 0),
        ("2026-11-25T17:30:00+05:30", 0),
        ("2026-11-25T17:30:00+0530", 0),
        ("2026-11-25T04:00:00-08", 0),
        ("2026-11-25T12:00:00", 0),
        ("20261125T120000Z", 0),
    ],
)
def test_a_full_date_and_time_in_any_zone(text, offset):
    """Every spelling of ISO 8601, to the nanosecond; without a zone it is UTC, whatever zone the machine is in."""
    assert parse_time(text) == pytest.approx(NOON + offset, abs=1e-6)


@pytest.mark.parametrize(
    "value",
    [
        *("P1D", "12:00", "2024", "2024-05", "2024-05-06", "T12:00", "now", "today", "soon", "", "null"),
        *("2026-11-25T12:00:00Z/P1D", "2026-11-25T12:00:00Z/2026-11-26T12:00:00Z", "2026-W48-3T12:00:00Z"),
        *("2026-13-25T12:00:00Z", "2026-11-25T25:00:00Z", "2026-11-25T12:00:00+99:00", "0000-11-25T12:00:00Z"),
        *(" 2026-11-25T12:00:00Z", "2026-11-25T12:00:00Z\n", "2026-11-25T12:00:00\0", "2026-11-25T12:00:\uff10\uff10Z"),
        *("2026-11-25T12:00:00.Z", "2026-11-25T12:00:00Z" + "0" * 1_000_000, "1764072000"),
        *(None, 1764072000, 1.5, True, b"2026-11-25T12:00:00Z", ["2026-11-25T12:00:00Z"], {}),
    ],
)
def test_anything_else_is_no_time(value):
    """A duration, a day or an hour alone would be read as some other moment."""
    assert parse_time(value) is None


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_the_ends_of_the_calendar(text):
    """Moments that UTC has no date for are numbers like any other."""
    assert isinstance(parse_time(text), float)


def test_what_is_written_is_read():
    """Times are written in UTC and whole seconds, as every version before wrote them."""
    assert format_time(NOON + 0.9) == "2026-11-25T12:00:00+00:00"
    assert parse_time(format_time(NOON)) == NOON


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Wed, 25 Nov 2026 12:00:00 GMT", NOON),
        ("Wed, 25 Nov 2026 12:00:00 -0000", NOON),
        ("Wed, 25 Nov 2026 13:00:00 +0100", NOON),
        ("2026-11-25T12:00:00Z", None),
        ("soon", None),
        ("", None),
        ("Wed, 25 Nov 99999999999 12:00:00 GMT", None),
        ("Wed, 25 Nov 2026 12:00:00 +99999999999999999999", None),
    ],
)
def test_dates_of_http_headers(text, seconds):
    """They have a form of their own."""
    assert parse_http_date(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 seconds"),
        (0, "0 seconds"),
        (0.6, "1 second"),
        (85, "1 minute 25 seconds"),
        (180, "3 minutes"),
        (185, "3 minutes"),
        (7260, "2 hours 1 minute"),
        (90_000, "1 day 1 hour"),
    ],
)
def test_durations_in_words(seconds, words):
    """Nobody needs the seconds of a wait of an hour."""
    assert format_duration(seconds) == words


def test_words_are_english_whatever_the_users_locale_is():
    """A DAG file may set pendulum's locale for its own texts: our messages stay whole."""
    before = pendulum.get_locale()
    pendulum.set_locale("de")
    try:
        assert pendulum.duration(minutes=3).in_words() == "3 Minuten"
        assert format_duration(180) == "3 minutes"
    finally:
        pendulum.set_locale(before)


def test_times_are_read_and_written_in_one_place():
    """Nothing else in the package parses or formats a time; the simulator is a service of its own."""
    package = Path(magic_hour_provider.__file__).parent
    pattern = re.compile(r"fromisoformat|isoformat|strptime|strftime|parsedate|pendulum")
    found = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if pattern.search(path.read_text())}
    assert {name for name in found if not name.startswith("simulator/")} == {"times.py"}
