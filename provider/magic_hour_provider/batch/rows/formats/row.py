"""One row as it was read, before anything is known of its tool."""

from __future__ import annotations

from typing import Any, NamedTuple


class Row(NamedTuple):
    """One row of the input.

    :param number: the line of the file on which it begins, or its place in the list, from 1.
    :param values: its columns by name, which should be a mapping.
    :param problem: why it could not be read; then its values mean nothing.
    """

    number: int
    values: Any
    problem: str | None = None
