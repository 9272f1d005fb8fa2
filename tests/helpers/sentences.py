"""Slips in the messages of every error that a test meets: articles, and sentences that end twice."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from magic_hour_provider.api.errors import MagicHourError

_SLIPS = (
    re.compile(r"(?<!\.)\.\.(?=\s|\Z)"),
    re.compile(r"[!?…][`'\"]?\.(?=\s|\Z)"),
    re.compile(r"\.[`'\"]\.(?=\s|\Z)"),
    re.compile(r"[,:;?] ?[.;,](?=\s|\Z)"),
    re.compile(r"\b[Aa] (?!one\b|us|uni|uri|url|eu)[aeiou]\w*", re.ASCII),
    re.compile(r"\b[Aa]n (?!hour|honest|http|html|mp[34]|s3|xml|xcom)[b-df-hj-np-tv-z]\w*", re.ASCII),
    re.compile(r"\bNone credits|(?<![\w.,])1 (?:credits|files|jobs|polls|bytes|seconds|minutes|hours|days)\b"),
)


def find_slips(text: str) -> list[str]:
    """Return what is wrong in the sentences of a text, each with what is around it."""
    return [text[max(0, found.start() - 20) : found.end() + 20] for slip in _SLIPS for found in slip.finditer(text)]


class _Watching(logging.Handler):
    """Looks at every line that the package logs.

    :param slips: gets what is wrong in them.
    """

    def __init__(self, slips: list[str]) -> None:
        super().__init__()
        self._slips = slips

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one line."""
        self._slips.extend(find_slips(record.getMessage()))


@contextmanager
def watching_logs(slips: list[str]) -> Iterator[None]:
    """Add the slips of every line that the package logs meanwhile."""
    logger, handler = logging.getLogger("magic_hour_provider"), _Watching(slips)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def watch_errors(monkeypatch: pytest.MonkeyPatch, slips: list[str]) -> None:
    """Add the slips of every error that is made or added to from now on."""
    made, appended = MagicHourError.__init__, MagicHourError.append

    def make(self: MagicHourError, *arguments: object, **more: object) -> None:
        made(self, *arguments, **more)  # type: ignore[arg-type]
        slips.extend(find_slips(f"{self.message}\n{self.next_step or ''}"))

    def append(self: MagicHourError, *arguments: object, **more: object) -> None:
        appended(self, *arguments, **more)  # type: ignore[arg-type]
        slips.extend(find_slips(f"{self.message}\n{self.next_step or ''}"))

    monkeypatch.setattr(MagicHourError, "__init__", make)
    monkeypatch.setattr(MagicHourError, "append", append)
