"""Writes that outlive the process, not the machine: no test switches the power off."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

import sqlalchemy as sa


def keep_in_memory() -> None:
    """Let this process's writes end once the system has them: waiting for the disk takes most of the time of some."""
    os.fsync = os.fdatasync = os.fstat  # which takes a handle as well, and refuses what is none
    sa.event.listen(sa.Engine, "connect", _do_not_wait)


def _do_not_wait(connection: Any, _: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")
