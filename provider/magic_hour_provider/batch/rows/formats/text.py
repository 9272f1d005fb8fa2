"""Text files as a stream of bounded memory: their encoding, their lines, and bytes that are no text."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from typing import Any

from magic_hour_provider.api.errors import InvalidInputError

MAX_ROW = 8 * 1024 * 1024
"""Characters of one row: what is longer is a file of another kind, or a quote that is never closed."""

_BUFFER = 256 * 1024  # bytes
_BROKEN = re.compile("[\udc80-\udcff]")  # what a byte that is no UTF-8 becomes


class _Raw(io.RawIOBase):
    """What ``io`` needs of an open file that can only be read forwards.

    :param file: has ``read(size)``.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def open_text(file: Any) -> io.TextIOWrapper:
    """Return an open file as text: UTF-8, or UTF-16 where its first bytes say so, as Excel writes it.

    A byte that is no UTF-8 becomes half a character: :func:`is_broken` finds it in the row where it stands.

    :param file: open for reading bytes, at its start.
    """
    buffered = io.BufferedReader(_Raw(file), _BUFFER)
    is_utf16 = buffered.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    # With its line ends as they are: inside a quoted cell they are part of it.
    return io.TextIOWrapper(
        buffered, "utf-16" if is_utf16 else "utf-8-sig", "strict" if is_utf16 else "surrogateescape", newline=""
    )


def is_broken(text: str) -> bool:
    """Whether a text was made of bytes that are no UTF-8."""
    return not text.isascii() and _BROKEN.search(text) is not None


class Lines:
    """The lines of a text file, counted as an editor counts them.

    :param text: of :func:`open_text`.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self.number = 0
        """Of the line that was read last, from 1."""
        self.is_ended = True
        """Whether that one has a line end; the last one of a file that was cut has none."""
        self._text = text
        self._begin, self._length = 1, 0

    def begin_row(self) -> int:
        """Say that the next line begins a row, and return its number."""
        self._begin, self._length = self.number + 1, 0
        return self._begin

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_ROW + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self._length += len(line)
        if self._length > MAX_ROW:
            raise InvalidInputError(
                f"the row that begins on line {self._begin} has more than {MAX_ROW:,} characters (a quote that "
                "is never closed, or no text file)"
            )
        self.is_ended = line[-1] in "\r\n"
        return line
