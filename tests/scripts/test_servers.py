"""The servers that tests and the soak start: they keep what they had when stopped, and leave nothing behind."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import psycopg2
import pytest

from servers import MissingServerError, PostgresServer, RedisServer


def test_a_database_that_was_away_has_what_it_had() -> None:
    """Also where it was stopped as by a crash; meanwhile nobody reaches it."""
    try:
        server = PostgresServer()
    except MissingServerError as missing:
        pytest.skip(str(missing))
    with server:
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE kept AS SELECT 7 AS number")
        connection.close()
        assert len(server.processes()) > 1
        server.stop(signal.SIGQUIT)
        assert server.processes() == []
        with pytest.raises(psycopg2.OperationalError):
            server.connect()
        server.start()
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT number FROM kept")
            assert cursor.fetchone() == (7,)
        connection.close()
        processes = server.processes()
    assert not [process for process in processes if process.is_running()]


def test_a_broker(tmp_path: Path) -> None:
    """It runs while the block does, and its address has a password."""
    try:
        server = RedisServer(tmp_path / "redis.log")
    except MissingServerError as missing:
        pytest.skip(str(missing))
    with server:
        [process] = server.processes()
        assert server.url.startswith("redis://:")
    assert not process.is_running()


def test_servers_that_are_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence says which package has it."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(MissingServerError, match="apt-get install redis-server"):
        RedisServer(tmp_path / "redis.log")
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    with pytest.raises(MissingServerError, match="apt-get install postgresql"):
        PostgresServer()
