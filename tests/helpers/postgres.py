"""A throw-away PostgreSQL, from Debian's package, for what Airflow keeps in its metadata database."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from process_tree import free_ports

_UP_S = 30.0
_DATABASE = "airflow"


def _programs() -> Path:
    """Return the folder of the newest server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1].parent


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a server for the length of a ``with`` block, and give the URL of an empty database."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    programs = _programs()
    # It refuses to run as root; its folder must belong to whoever it runs as.
    as_whom = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    home = Path(tempfile.mkdtemp(prefix="magic-hour-postgresql-"))
    password, [port] = secrets.token_hex(16), free_ports(1)
    try:
        (home / "password").write_text(password)
        if as_whom:
            shutil.chown(home, "postgres", "postgres")
            shutil.chown(home / "password", "postgres", "postgres")
        data = home / "data"
        make = [programs / "initdb", "-D", data, "-U", _DATABASE, "--auth=scram-sha-256", "--no-sync"]
        made = subprocess.run(
            [*make, f"--pwfile={home / 'password'}"], cwd=home, capture_output=True, text=True, **as_whom
        )
        assert made.returncode == 0, made.stderr
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": home,
            "fsync": "off",
            "max_connections": 200,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *options], cwd=home, stdout=log, stderr=log, **as_whom
            )
        try:
            _make_database(server, port, password, home / "log")
            yield f"postgresql+psycopg2://{_DATABASE}:{password}@127.0.0.1:{port}/{_DATABASE}"
        finally:
            server.send_signal(signal.SIGINT)  # ends its sessions, and then itself
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _make_database(server: subprocess.Popen[bytes], port: int, password: str, log: Path) -> None:
    import psycopg2

    end = time.monotonic() + _UP_S
    while True:
        try:
            connection = psycopg2.connect(
                host="127.0.0.1", port=port, user=_DATABASE, password=password, dbname="postgres"
            )
            break
        except psycopg2.OperationalError:
            assert server.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
    try:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {_DATABASE}")
    finally:
        connection.close()
