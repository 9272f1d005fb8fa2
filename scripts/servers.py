"""PostgreSQL and Redis from Debian's packages: throw-away servers on this machine, as Airflow's database and broker."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from process_tree import Program, free_ports, stop_all

_UP_S = 120.0
_DOWN_S = 20.0
_DATABASE = "airflow"


class MissingServerError(Exception):
    """A server is not installed; the text says which package has it."""


class PostgresServer:
    """A PostgreSQL with an empty database, up for the length of a ``with`` block; its folder is gone at the end.

    :raises MissingServerError: it is not installed.
    """

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
        if not found:
            raise MissingServerError("PostgreSQL is not installed: apt-get install postgresql")
        self._programs = found[-1].parent
        # It refuses to run as root; its folder must belong to whoever it runs as.
        self._as_whom: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._as_whom = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self._password, [self._port] = secrets.token_hex(16), free_ports(1)
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The database's address, as SQLAlchemy takes it."""
        return f"postgresql+psycopg2://{_DATABASE}:{self._password}@127.0.0.1:{self._port}/{_DATABASE}"

    def connect(self, database: str = _DATABASE) -> Any:
        """Return a connection of psycopg2's."""
        import psycopg2

        return psycopg2.connect(
            host="127.0.0.1",
            port=self._port,
            user=_DATABASE,
            password=self._password,
            dbname=database,
            connect_timeout=5,
        )

    def __enter__(self) -> Self:
        self._home = Path(tempfile.mkdtemp(prefix="magic-hour-postgresql-"))
        try:
            (self._home / "password").write_text(self._password)
            if self._as_whom:
                shutil.chown(self._home, "postgres", "postgres")
                shutil.chown(self._home / "password", "postgres", "postgres")
            make = [self._programs / "initdb", "-D", self._home / "data", "-U", _DATABASE, "--auth=scram-sha-256"]
            made = subprocess.run(
                [*make, "--no-sync", f"--pwfile={self._home / 'password'}"],
                cwd=self._home,
                capture_output=True,
                text=True,
                **self._as_whom,
            )
            if made.returncode:
                raise RuntimeError(f"initdb failed. It wrote:\n{made.stderr}")
            self.start()
            connection = self.connect("postgres")
            try:
                connection.autocommit = True
                connection.cursor().execute(f"CREATE DATABASE {_DATABASE}")
            finally:
                connection.close()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def start(self) -> None:
        """Start the server, and wait until it answers.

        :raises RuntimeError: it does not.
        """
        import psycopg2

        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": self._home,
            "fsync": "off",
            "max_connections": 200,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._home / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self._home / "data", *options],
                cwd=self._home,
                stdout=log,
                stderr=log,
                **self._as_whom,
            )
        end = time.monotonic() + _UP_S
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg2.OperationalError:
                if self._server.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"PostgreSQL did not start:\n{(self._home / 'log').read_text()}") from None
                time.sleep(0.1)

    def stop(self, sig: int = signal.SIGINT) -> None:
        """Stop the server, if it runs.

        :param sig: SIGINT ends its sessions first; with SIGQUIT all is over at once, as in a crash.
        """
        if self._server is None:
            return
        self._server.send_signal(sig)
        try:
            self._server.wait(_DOWN_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None

    def processes(self) -> list[psutil.Process]:
        """The living processes of the server; each of its sessions is one."""
        try:
            leader = psutil.Process(self._server.pid) if self._server is not None else None
            return [leader, *leader.children()] if leader is not None else []
        except psutil.NoSuchProcess:
            return []

    def _close(self) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self._home, ignore_errors=True)


class RedisServer:
    """A Redis without files, up for the length of a ``with`` block.

    :param log: receives what it writes.
    :raises MissingServerError: it is not installed.
    """

    def __init__(self, log: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise MissingServerError("Redis is not installed: apt-get install redis-server")
        self._program, self._log = program, log
        self._password, [self._port] = secrets.token_hex(16), free_ports(1)

    @property
    def url(self) -> str:
        """The first database's address."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def __enter__(self) -> Self:
        settings = {"bind": "127.0.0.1", "port": self._port, "requirepass": self._password, "save": "", "dir": "."}
        options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        self._server = Program("redis-server", [self._program, *options], log=self._log, cwd=self._log.parent)
        end = time.monotonic() + _UP_S
        while "Ready to accept connections" not in self._server.tail():
            if self._server.exit_code is not None or time.monotonic() > end:
                text = self._server.tail()
                stop_all([self._server])
                raise RuntimeError(f"Redis did not start:\n{text}")
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stop_all([self._server])

    def processes(self) -> list[psutil.Process]:
        """Its process."""
        return self._server.processes()
