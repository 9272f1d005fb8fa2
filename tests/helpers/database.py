"""Databases of the tests' own, with Airflow's tables, in place of the one in Airflow's home."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.postgres import postgresql

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
    from airflow.utils.db import initdb

    with contextlib.ExitStack() as stack:
        url = f"sqlite:///{folder / 'airflow.db'}" if dialect == "sqlite" else stack.enter_context(postgresql())
        with airflow_at(url):
            initdb()
        yield url


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


def _configure() -> None:
    from airflow import settings

    settings.dispose_orm()
    settings.configure_vars()
    settings.configure_orm()
