"""Databases of the tests' own, with Airflow's tables, in place of the one in Airflow's home."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.postgres import copy_database, postgresql

DIALECTS = ("sqlite", "postgresql")
_SETTING = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


@contextmanager
def airflow_on(dialect: str, folder: Path) -> Iterator[str]:
    """Turn this process's Airflow to an empty database, and back.

    Of a longer scope than one module it would be there for tests of others too, in whatever order they run.

    :param dialect: one of :data:`DIALECTS`.
    :param folder: where a database that is a file is made.
    """
    with database_of(dialect, folder) as url, airflow_at(url):
        yield dialect


@contextmanager
def database_of(dialect: str, folder: Path) -> Iterator[str]:
    """Make a database with Airflow's tables, and give its URL; this process's Airflow stays where it is."""
    if _tables is not None:
        yield _tables.copy(dialect, folder)
        return
    with Tables() as tables:
        yield tables.copy(dialect, folder)


class Tables:
    """Airflow's tables, made once for each dialect while this is open: its databases are copies, as that is quick."""

    def __init__(self) -> None:
        self._stack, self._made, self._names = contextlib.ExitStack(), {}, itertools.count()

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def copy(self, dialect: str, folder: Path) -> str:
        """Return the URL of a new database.

        :param folder: where one that is a file is made; the first one's stays as it is.
        """
        if dialect not in self._made:
            first = (
                f"sqlite:///{folder / 'tables.db'}" if dialect == "sqlite" else self._stack.enter_context(postgresql())
            )
            with airflow_at(first):
                _make_tables()
            self._made[dialect] = first
        first = self._made[dialect]
        if dialect != "sqlite":
            return copy_database(first, f"airflow_{next(self._names)}")
        shutil.copy(first.removeprefix("sqlite:///"), file := folder / f"airflow-{next(self._names)}.db")
        return f"sqlite:///{file}"


_tables: Tables | None = None


@contextmanager
def keeping_tables() -> Iterator[None]:
    """Make the tables of all databases once, for the length of a ``with`` block."""
    global _tables
    with Tables() as _tables:
        yield
    _tables = None


@functools.cache
def fill_home() -> None:
    """Make the tables of the database in Airflow's home, once."""
    _make_tables()


@contextmanager
def airflow_at(url: str) -> Iterator[None]:
    """Turn this process's Airflow to a database, and back."""
    before = os.environ.get(_SETTING)
    os.environ[_SETTING] = url
    try:
        _configure()
        yield
    finally:
        if before is None:
            del os.environ[_SETTING]
        else:
            os.environ[_SETTING] = before
        _configure()


def _make_tables() -> None:
    from airflow.utils.db import initdb

    initdb()


def _configure() -> None:
    from airflow import settings

    if (asynchronous := getattr(settings, "async_engine", None)) is not None:
        asynchronous.sync_engine.dispose()  # which Airflow 3.1 leaves open
    settings.dispose_orm()
    settings.configure_vars()
    url = settings.SQL_ALCHEMY_CONN
    if url in _engines:
        vars(settings).update(_engines[url])
        return
    settings.configure_orm()
    _engines[url] = {name: getattr(settings, name) for name in _OF_AN_ENGINE if hasattr(settings, name)}


_OF_AN_ENGINE = ("engine", "Session", "NonScopedSession", "async_engine", "AsyncSession")
# An engine whose connections are closed can be used again. A new one would compile each of Airflow's queries anew.
_engines: dict[str, dict[str, Any]] = {}
