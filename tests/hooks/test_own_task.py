"""An attempt of a test command is told from one of a worker."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time import task_runner

from helpers.attempts import TaskInstance
from helpers.batches import Batches, rows
from magic_hour_provider.hooks.own_task import is_test_run


def test_a_worker_is_no_test(airflow, capsys):
    """It says nothing of test commands."""
    airflow.attempt(airflow.operator(), TaskInstance())
    assert "test command" not in capsys.readouterr().out
    assert airflow.creates() == 1


def test_a_test_command_is_warned_first(airflow, monkeypatch, capsys):
    """Its attempt says before all else that it pays each time."""

    class InProcessSupervisorComms:
        """Stands for Airflow's own, of which only the name is known."""

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", InProcessSupervisorComms(), raising=False)
    airflow.attempt(airflow.operator(), TaskInstance())
    said = [line for line in capsys.readouterr().out.splitlines() if "cannot be called outside" not in line]
    assert "This attempt is run by a test command of Airflow" in said[0]
    assert airflow.creates() == 1


def test_a_test_of_a_batch_pays_once(airflow, monkeypatch, capsys):
    """Its records outlive the test, so that the second one pays nothing, and the warning says neither less nor more."""

    class InProcessSupervisorComms:
        """Stands for Airflow's own, of which only the name is known."""

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", InProcessSupervisorComms(), raising=False)
    batches = Batches(airflow)
    for _ in range(2):
        batches.attempt(batches.operator(rows(2), item_id="sku"), TaskInstance("campaign"))
        said = capsys.readouterr().out
        assert "pays for the items that are missing under output_path" in said
        assert "each such test pays for a new job" not in said
        assert batches.creates() == 2


@pytest.mark.parametrize(("user", "is_test"), [("dag_test", True), ("someone", False), (None, False)])
def test_a_test_through_an_executor_names_itself(user, is_test):
    """Its attempts run in a worker's process."""
    assert is_test_run({"dag_run": SimpleNamespace(triggering_user_name=user)}) is is_test


def test_airflows_own_name_is_still_that():
    """Airflow renames no class unseen."""
    from airflow.sdk.execution_time import supervisor

    assert supervisor.InProcessSupervisorComms.__name__ == "InProcessSupervisorComms"
