"""Rows of JSON: one object per line, or one list of objects, which is read element by element."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.rows.formats.row import Row
from magic_hour_provider.batch.rows.formats.text import MAX_ROW, Lines, is_broken

_NO_UTF8 = "it holds bytes that are not UTF-8"
_TOO_DEEP = "it is nested too deeply"
_OF_NUMBERS = "+-.eE0123456789"
_CHUNK = 64 * 1024  # characters


class _Decoder:
    """A JSON decoder that notices names that stand twice in one object: only one of them would be sent."""

    def __init__(self) -> None:
        self._twice: list[str] = []
        self._decoder = json.JSONDecoder(object_pairs_hook=self._to_dict)

    def decode(self, text: str, at: int = 0) -> tuple[Any, int]:
        """Return the value at a place of a text, and where it ends.

        :raises ValueError: there is no JSON, or not all of it.
        """
        self._twice.clear()
        return self._decoder.raw_decode(text, at)

    @property
    def problem(self) -> str | None:
        """What is wrong with the value decoded last."""
        return f"`{self._twice[0][:100]}` stands in it twice" if self._twice else None

    def _to_dict(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            self._twice += [name for name in found if names.count(name) > 1]
        return found


def read_jsonl_rows(text: io.TextIOWrapper) -> Iterator[Row]:
    """Yield the rows of a file with one JSON object per line; empty lines are none.

    :raises InvalidInputError: a line never ends, or the file is one JSON list.
    """
    decoder, lines = _Decoder(), Lines(text)
    while True:
        number = lines.begin_row()
        line = next(lines, None)
        if line is None:
            return
        if not (content := line.strip()):
            continue
        if number == 1 and content.startswith("["):
            raise InvalidInputError(
                "it begins with a list, where each line of a .jsonl file is one object",
                next_step="If the whole file is one JSON list, name it .json.",
            )
        yield _read_line(decoder, number, content)


def _read_line(decoder: _Decoder, number: int, content: str) -> Row:
    if is_broken(content):
        return Row(number, {}, _NO_UTF8)
    try:
        value, end = decoder.decode(content)
    except json.JSONDecodeError as error:
        return Row(number, {}, f"it is no JSON ({error.msg}, at character {error.pos + 1})")
    except RecursionError:
        return Row(number, {}, _TOO_DEEP)
    except ValueError as error:  # a number of thousands of digits
        return Row(number, {}, f"it cannot be read ({error})")
    if end < len(content):
        return Row(number, {}, f"something follows its object, at character {end + 1}")
    return Row(number, value, decoder.problem)


def read_json_rows(text: io.TextIOWrapper) -> Iterator[Row]:
    """Yield the rows of a file that is one JSON list of objects. Their numbers are their places in it.

    :raises InvalidInputError: it is something else, or cut; the message names the row and the line.
    """
    decoder, buffer = _Decoder(), _Buffer(text)
    if buffer.peek() != "[":
        what = "is no JSON list" if buffer.peek() else "is empty"
        raise InvalidInputError(f"it {what}", next_step="For one object per line, name the file .jsonl.")
    buffer.skip()
    number = 0
    while True:
        sign = buffer.peek()
        if sign == "]" and number == 0:
            break
        number += 1
        value = buffer.decode(decoder, number)
        yield Row(number, value, decoder.problem or (_NO_UTF8 if _holds_broken(value) else None))
        sign = buffer.peek()
        if sign not in ("]", ","):
            raise _no_json(number, buffer.line, "a comma or the list's end is missing after it")
        if sign == "]":
            break
        buffer.skip()
    buffer.skip()
    if buffer.peek():
        raise InvalidInputError(f"something follows its list, on line {buffer.line}")


def _holds_broken(value: Any) -> bool:
    if isinstance(value, str):
        return is_broken(value)
    if isinstance(value, dict):
        return any(_holds_broken(name) or _holds_broken(inner) for name, inner in value.items())
    return isinstance(value, list) and any(map(_holds_broken, value))


def _no_json(number: int, line: int, why: str) -> InvalidInputError:
    return InvalidInputError(f"its row {number} is no JSON ({why}, on line {line})")


class _Buffer:
    """A text of which only the part that is being decoded is in memory."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._held, self._at, self._is_ended = "", 0, False
        self._lines = 1  # of the first character held

    @property
    def line(self) -> int:
        """The line that is reached, from 1."""
        return self._lines + self._held.count("\n", 0, self._at)

    def peek(self) -> str:
        """Return the next character that is no blank, without passing it; none at the end."""
        while True:
            while self._at < len(self._held):
                if self._held[self._at] not in " \t\r\n":
                    return self._held[self._at]
                self._at += 1
            if not self._fill():
                return ""

    def skip(self) -> None:
        """Pass one character."""
        self._at += 1

    def decode(self, decoder: _Decoder, number: int) -> Any:
        """Return the value that is next, and pass it."""
        while True:
            try:
                value, end = decoder.decode(self._held, self._at)
            except RecursionError:
                raise InvalidInputError(f"its row {number} is nested too deeply") from None
            except json.JSONDecodeError as error:
                if self._fill():
                    continue
                line = self._lines + self._held.count("\n", 0, error.pos)
                raise _no_json(number, line, error.msg) from None
            except ValueError as error:
                raise _no_json(number, self.line, str(error)) from None
            # Of a number more may come, and what follows may be its point.
            is_whole = end < len(self._held) and self._held[end] not in _OF_NUMBERS
            if is_whole or not self._fill():
                self._at = end
                return value

    def _fill(self) -> bool:
        """Read on, twice as far each time, so that a long value is not decoded again for each piece of it."""
        left = len(self._held) - self._at
        if self._is_ended or left > MAX_ROW:
            return False
        chunk = self._text.read(max(_CHUNK, left))
        self._lines += self._held.count("\n", 0, self._at)
        self._held, self._at = self._held[self._at :] + chunk, 0
        self._is_ended = not chunk
        return bool(chunk)
