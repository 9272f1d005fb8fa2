"""The commands as a person runs them: in this process, with the simulator behind the connection."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from helpers.samples import KEY
from magic_hour_provider.__main__ import run_command
from magic_hour_provider.simulator import Simulator

SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cw=="


@dataclass(frozen=True)
class Done:
    """A command that has ended.

    :param code: its exit code.
    """

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What it printed for programs."""
        rows: list[dict[str, Any]] = json.loads(self.out)
        return rows

    @property
    def text(self) -> str:
        """All that it printed, in one line."""
        return " ".join(f"{self.out} {self.err}".split())


@pytest.fixture
def connected(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """The simulator, behind the default connection."""
    connection = {"conn_type": "magic_hour", "host": sim.url, "password": KEY, "extra": {"webhook_secret": SECRET}}
    monkeypatch.setenv("AIRFLOW_CONN_MAGIC_HOUR_DEFAULT", json.dumps(connection))
    return sim


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a command as ``python -m magic_hour_provider`` does."""

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        try:
            run_command(list(arguments))
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        done = Done(code, *capsys.readouterr())
        # Whatever a command does, it shows no secret and no traceback.
        assert KEY not in done.text
        assert SECRET not in done.text
        assert "Traceback" not in done.text
        return done

    return run
