"""Row locks and transient errors of Airflow's metadata database, for the API server alone."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import exc, update
from sqlalchemy.orm import Session

_T = TypeVar("_T")

DATABASE_UNAVAILABLE = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)
"""Raised when the database is down or too busy: the same work may succeed later."""


def lock_row(session: Session, model: type[_T], key: Any) -> _T | None:
    """Return a row as it is now, locked until the session's transaction ends.

    :param key: the row's primary key, in a column named ``id``; the model also has a column ``updated_at``.
    """
    if session.get_bind().dialect.name == "sqlite":
        # SQLite has no row locks; a write that changes nothing takes its only write lock, as Airflow's own asset
        # manager does.
        row: Any = model
        session.execute(update(model).where(row.id == key).values(id=row.id, updated_at=row.updated_at))
    # "of": other tables are joined to it, and PostgreSQL locks no row that an outer join may leave empty.
    return session.get(model, key, with_for_update={"of": model}, populate_existing=True)
