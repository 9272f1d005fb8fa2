"""The commands as a person runs them: in this process, with the simulator behind the connection."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from helpers.attempts import Connected, TaskInstance
from helpers.database import airflow_at, database_of
from helpers.recovery import Recovered, ledger_folder
from helpers.samples import KEY
from magic_hour_provider.__main__ import run_command
from magic_hour_provider.plugin.recovery import records
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
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run a command as ``python -m magic_hour_provider`` does; ``answers`` is what a person types."""

    def run(*arguments: str, answers: str = "") -> Done:
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.StringIO(answers))
        monkeypatch.setattr("sys.argv", ["magic_hour_provider", *arguments])
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


@pytest.fixture(scope="session")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database with Airflow's own tables."""
    with database_of("sqlite", tmp_path_factory.mktemp("metadata")) as url:
        yield url


@pytest.fixture
def task(
    request: pytest.FixtureRequest,
    metadata: str,
    airflow: Connected,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Recovered]:
    """A task whose attempts are real, with its record in Airflow's database or, as before Airflow 3.3, in files."""
    place = getattr(request, "param", "store" if AIRFLOW_V_3_3_PLUS else "files")
    if place == "store" and not AIRFLOW_V_3_3_PLUS:
        pytest.skip("Airflow before 3.3 has no task state store")
    if place == "files":
        airflow.setting("ledger_path", ledger_folder(tmp_path))
        monkeypatch.setattr(TaskInstance, "ledger_path", ledger_folder(tmp_path))
        monkeypatch.setattr(records, "get_state_store_model", lambda: None)
    with airflow_at(metadata):
        yield Recovered(airflow, place)
