"""A throw-away PostgreSQL, from Debian's package, for what Airflow keeps in its metadata database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

from servers import MissingServerError, PostgresServer


def is_installed() -> bool:
    """Say whether there is a server, and what Airflow talks to it with."""
    try:
        PostgresServer()
    except MissingServerError:
        return False
    return bool(find_spec("psycopg2") and find_spec("asyncpg"))


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a server for the length of a ``with`` block, and give the URL of an empty database."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    try:
        server = PostgresServer()
    except MissingServerError as missing:
        pytest.skip(str(missing))
    with server:
        yield server.url


def copy_database(url: str, name: str) -> str:
    """Copy a database under another name, and return its URL; who is still connected to the first one is cut off."""
    import psycopg2

    server, _, template = url.replace("+psycopg2", "").rpartition("/")
    connection = psycopg2.connect(f"{server}/postgres")
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        # What has made the tables may have left a connection for the garbage collector, on Airflow 3.1.
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [template])
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    finally:
        connection.close()
    return f"{url.rpartition('/')[0]}/{name}"
