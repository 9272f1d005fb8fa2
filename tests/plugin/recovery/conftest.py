"""A task instance in Airflow's database whose attempts are real, with either place for its record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from helpers.attempts import Connected, TaskInstance
from helpers.recovery import Recovered, ledger_folder
from magic_hour_provider.plugin.recovery import records


@pytest.fixture
def task(
    request: pytest.FixtureRequest,
    database: str,
    airflow: Connected,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Recovered]:
    """The task, with its record in Airflow's own store or, as before Airflow 3.3, in files."""
    place = getattr(request, "param", "store" if AIRFLOW_V_3_3_PLUS else "files")
    if place == "store" and not AIRFLOW_V_3_3_PLUS:
        pytest.skip("Airflow before 3.3 has no task state store")
    if place == "files":
        airflow.setting("ledger_path", ledger_folder(tmp_path))
        monkeypatch.setattr(TaskInstance, "ledger_path", ledger_folder(tmp_path))
        monkeypatch.setattr(records, "get_state_store_model", lambda: None)
    yield Recovered(airflow, place)
