"""Sessions and row locks on Airflow's metadata database, for the API server alone."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import exc, update
from sqlalchemy.orm import Session

T = TypeVar("T")

DATABASE_AWAY = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)
"""What is raised when the database is away or too busy: the same work may succeed later."""


def locked(session: Session, model: type[T], key: Any) -> T | None:
    """Return a row as it is now, which nobody else can change until the session's transaction ends.

    :param key: the row's primary key, in a column named ``id``; there is one named ``updated_at`` too.
    """
    if session.get_bind().dialect.name == "sqlite":
        # It has no row locks; a write that changes nothing takes its one lock of writers, as Airflow's own asset
        # manager does.
        row: Any = model
        session.execute(update(model).where(row.id == key).values(id=row.id, updated_at=row.updated_at))
    # "of": other tables are joined to it, and PostgreSQL locks no row that an outer join may leave empty.
    return session.get(model, key, with_for_update={"of": model}, populate_existing=True)
