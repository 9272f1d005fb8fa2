"""Databases of the tests' own, with Airflow's tables, in place of the one in Airflow's home."""

from __future__ import annotations

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

    :param dialect: one of :data:`DIALECTS`.
    :param folder: where a database that is a file is made.
    """
    if dialect == "sqlite":
        with _airflow_at(f"sqlite:///{folder / 'airflow.db'}"):
            yield dialect
        return
    with postgresql() as url, _airflow_at(url):
        yield dialect


@contextmanager
def _airflow_at(url: str) -> Iterator[None]:
    from airflow.utils.db import initdb

    before = os.environ.get(_SETTING)
    os.environ[_SETTING] = url
    try:
        _configure()
        initdb()
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
