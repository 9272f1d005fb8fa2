"""Rows of CSV, as people's programs write it: Excel's semicolons and tabs, byte order marks, any line ends.

Cells are text, and the tool's schema makes numbers, truth values and lists of them. An empty cell is not given.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import chain

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.rows.formats.columns import split_column
from magic_hour_provider.batch.rows.formats.row import Row
from magic_hour_provider.batch.rows.formats.text import MAX_ROW, Lines, is_broken
from magic_hour_provider.inputs.fields import shorten, strip_blanks

_DELIMITERS = ",;\t|"
_NO_UTF8 = "holds bytes that are not UTF-8; save the file as CSV UTF-8"


def read_csv_rows(text: io.TextIOWrapper) -> Iterator[Row]:
    """Yield the rows of a CSV file.

    :raises InvalidInputError: its header cannot be read, or names a column twice; or a row never ends.
    """
    if csv.field_size_limit() < MAX_ROW:
        # Of the whole process, and only ever raised: a prompt may be longer than Python's default.
        csv.field_size_limit(MAX_ROW)
    lines = Lines(text)
    first = next((line for line in lines if line.strip()), "")
    if named := re.fullmatch(r'"?sep=([,;|\t])"?\s*', first, re.I):  # Excel's own line
        first = next((line for line in lines if line.strip()), "")
    delimiter = named[1] if named else _find_delimiter(first)
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    header = _read_header(reader)
    while True:
        number = lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(number, {}, f"it cannot be read as CSV ({error})")
            continue
        if any(map(str.strip, cells)):
            yield _to_row(number, header, cells, is_ended=lines.is_ended)


def _find_delimiter(line: str) -> str:
    """Return the character that cuts a header into most columns."""
    outside = "".join(line.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def _read_header(reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [strip_blanks(name) for name in next(reader, [])]
    except csv.Error as error:
        raise InvalidInputError(f"its header is no CSV ({error})") from None
    if not any(header):
        raise InvalidInputError("it has no header, where the first line names the columns, such as style.prompt")
    seen: dict[object, str] = {}
    for name in filter(None, header):
        if is_broken(name):
            raise InvalidInputError(f"its header {_NO_UTF8}")
        try:
            path = split_column(name)
        except ValueError as error:
            raise InvalidInputError(f"in its header, {error}") from None
        if path in seen:
            raise InvalidInputError(f"its header names the column {shorten(name)} twice")
        seen[path] = name
    return header


def _to_row(number: int, header: Sequence[str], cells: Sequence[str], *, is_ended: bool) -> Row:
    if len(cells) < len(header) and not is_ended:
        # Excel leaves empty cells out at the end of a row, but never the line's end.
        problem = f"it has {len(cells)} cells of {len(header)} and no line end, as in a file that was cut"
        return Row(number, {}, problem)
    values = {}
    for index, cell in enumerate(cells):
        if not cell.strip():
            continue
        name = header[index] if index < len(header) else ""
        if not name:
            problem = f"cell {index + 1} has no column in the header; it is {shorten(cell, 60)}"
            return Row(
                number, {}, f"{problem} (text with a comma, a semicolon or a quote in it needs quotes around it)"
            )
        if is_broken(cell):
            return Row(number, {}, f"`{name}` {_NO_UTF8}")
        # Whatever saved the file last chose its line ends; in a cell too they are no other text to pay for.
        values[name] = cell.replace("\r\n", "\n")
    return Row(number, values)
