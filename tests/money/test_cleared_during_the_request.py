"""A clear or a heartbeat timeout during the paid request: Airflow takes no record of the old process any more."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from helpers.attempts import TaskInstance
from helpers.stores import Store
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.ledger.file_store import open_file_store
from magic_hour_provider.ledger.record import KEY


class Accessor(Store):
    """The task state store as one attempt sees it: dead, once Airflow has given the task instance another id.

    :param rows: of the task instance, over all its attempts.
    """

    def __init__(self, rows: dict[str, str]) -> None:
        super().__init__()
        self.rows, self.is_dead = rows, False

    def get(self, key, default=None):
        """Return the value; a dead id has none (HTTP 404, "Task instance not found")."""
        return default if self.is_dead else super().get(key, default)

    def set(self, key, value, *, retention=None):
        """Write a value, or fail."""
        self._check()
        super().set(key, value, retention=retention)

    def delete(self, key):
        """Remove a key, or fail."""
        self._check()
        super().delete(key)

    def _check(self) -> None:
        if self.is_dead:
            raise RuntimeError("API_SERVER_ERROR: Task instance not found")


def cleared_during_the_request(airflow, monkeypatch, ti: TaskInstance) -> str:
    """Run an attempt whose id dies after Magic Hour has accepted; return the job that only this process knows."""
    create = MagicHourClient.create

    def create_and_clear(*arguments):
        submission = create(*arguments)
        ti.store.is_dead = True
        return submission

    rows: dict[str, str] = {}
    ti.store = Accessor(rows)
    with monkeypatch.context() as patch:
        patch.setattr(MagicHourClient, "create", create_and_clear)
        try:
            airflow.attempt(airflow.operator(), ti)
        except AirflowException as error:
            assert airflow.sim.jobs()[0]["id"] in str(error)
    ti.store = Accessor(rows)
    assert ti.store.get(KEY)["state"] == "intent"
    ti.clear_number += 1  # the task was running: its max_tries stay as they are
    return str(airflow.sim.jobs()[0]["id"])


def test_the_file_record_is_read_by_the_next_attempt(airflow, monkeypatch, tmp_path):
    """Where `ledger_path` is set the old process writes the id there; nothing is paid again, and both places agree."""
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    ti = TaskInstance()
    job_id = cleared_during_the_request(airflow, monkeypatch, ti)
    ti.xcoms = {}
    assert open_file_store(ti, "", None).get(KEY)["job_id"] == job_id
    assert airflow.attempt(airflow.operator(), ti)["id"] == job_id
    assert ti.record == open_file_store(ti, "", None).get(KEY)
    assert airflow.attempt(airflow.operator(), ti)["id"] == job_id
    assert airflow.creates() == 1


def test_the_xcom_key_is_read_by_the_next_attempt(airflow, monkeypatch):
    """Without a file the old process still pushes the job's key, which Airflow names to the next attempt."""
    ti = TaskInstance()
    job_id = cleared_during_the_request(airflow, monkeypatch, ti)
    assert airflow.attempt(airflow.operator(), ti)["id"] == job_id
    assert ti.record["job_id"] == job_id
    assert airflow.attempt(airflow.operator(), ti)["id"] == job_id
    assert airflow.creates() == 1


def test_an_xcom_that_comes_after_the_next_attempt_began(airflow, monkeypatch):
    """That attempt fails and pays nothing; the one after it finds the key."""
    ti = TaskInstance()
    job_id = cleared_during_the_request(airflow, monkeypatch, ti)
    late, ti.xcoms = ti.xcoms, {}
    with pytest.raises(AirflowFailException, match="It is unknown whether"):
        airflow.attempt(airflow.operator(), ti)
    ti.xcom_push(f"magic_hour.job.{job_id}", late[f"magic_hour.job.{job_id}"])
    ti.clear()
    assert airflow.attempt(airflow.operator(), ti)["id"] == job_id
    assert airflow.creates() == 1


def test_an_xcom_of_another_request_completes_nothing(airflow, monkeypatch):
    """Only keys that were pushed beside the intent's own name its job."""
    ti = TaskInstance()
    job_id = cleared_during_the_request(airflow, monkeypatch, ti)
    ti.xcoms = {f"magic_hour.job.{job_id}": {}, "magic_hour.intent.ABCDEFGH": {}}
    with pytest.raises(AirflowFailException, match="It is unknown whether"):
        airflow.attempt(airflow.operator(), ti)
    assert airflow.creates() == 1


def test_where_nothing_can_be_written_the_message_names_the_log(airflow, monkeypatch, caplog):
    """The id is in the old process's log, and the next attempt says to read it there; nothing is paid again."""

    def away(*_, **__):
        raise ConnectionError("the API server is away")

    ti = TaskInstance()
    with monkeypatch.context() as patch:
        patch.setattr(TaskInstance, "xcom_push", away)
        job_id = cleared_during_the_request(airflow, monkeypatch, ti)
    assert f"Magic Hour job {job_id} (ai-image-generator) was created and charged" in caplog.text
    with pytest.raises(AirflowFailException, match="that attempt's log names the job"):
        airflow.attempt(airflow.operator(), ti)
    assert airflow.creates() == 1
