"""Light values of XComs: a few fields of each, cut in the database, instead of the whole of it.

Many people can write XComs, so a value may have any shape: what is not there, or of another type, is None or a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary, Text, cast, func
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

MAX_FIELD = 200
"""Characters of a field."""

MAX_VALUE = 256 * 1024
"""Characters of an XCom; a longer one is none of ours."""


def pick_fields(xcom: Any, names: Iterable[str]) -> list[Any]:
    """Return the columns of some fields of an XCom's JSON object, as texts.

    :param xcom: the table of XComs, or an alias of it.
    """
    return [func.substr(xcom.c.value[name].as_string(), 1, MAX_FIELD) for name in names]


def is_readable(session: Session, xcom: Any) -> list[Any]:
    """Return the condition that SQLite can parse an XCom: it would refuse the whole query where it cannot."""
    if session.get_bind().dialect.name != "sqlite":
        return []
    stored = cast(xcom.c.value, Text)
    return [func.length(stored) <= MAX_VALUE, func.json_valid(stored) == 1]


def load_light_rows(session: Session, select: Callable[[Callable[[Any], Any]], Any]) -> Sequence[Any]:
    """Return the rows of a query for light values.

    :param select: returns the query; it is given what each column of a light value has to be wrapped in.
    """
    try:
        return list(session.connection().execute(select(lambda column: column)).all())
    except OperationalError:  # SQLite, where a text holds half a surrogate pair
        rows = session.connection().execute(select(lambda column: cast(column, LargeBinary)))
        return [_decode(row) for row in rows]


def _decode(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value.decode(errors="replace") if isinstance(value, bytes) else value for value in row)
