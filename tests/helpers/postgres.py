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
