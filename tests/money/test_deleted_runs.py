"""Files outlive their DAG run: one of the same id finds the record, and pays nothing before a person has said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, TaskDeferred

from helpers.attempts import TaskInstance
from helpers.stores import LEDGERS
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.execution.attempt import JobAttempt
from magic_hour_provider.ledger.record import KEY
from magic_hour_provider.times import parse_time

VIDEO = {"style": {"prompt": "waves"}, "end_seconds": 3}
files_only = pytest.mark.parametrize("either_ledger", LEDGERS[1:], indirect=True)


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


def deleted_and_made_again(ti: TaskInstance) -> TaskInstance:
    """Return the task instance of the same run id, as Airflow makes it after the run was deleted."""
    again = TaskInstance(ti.task_id, ti.map_index)
    if ti.ledger_path is None:
        assert again.store is not ti.store
    return again


def refused(airflow, ti, job_id: str) -> str:
    """Run an attempt that finds another run's record: it pays nothing, for good, and names job, date and both ways."""
    creates = airflow.creates()
    with pytest.raises(AirflowFailException, match=rf"not its own.*job {job_id} of 20\d\d-.*Nothing was sent") as e:
        airflow.attempt(airflow.operator(), ti)
    assert "magic_hour.adopt" in str(e.value)
    assert "magic_hour.regenerate" in str(e.value)
    assert airflow.creates() == creates
    return str(e.value)


@files_only
def test_a_run_that_was_deleted_and_made_again_pays_nothing(airflow, either_ledger):
    """Neither at its first attempt nor at a retry or a clear without a word; the record of before stays."""
    ti = TaskInstance()
    job_id = airflow.attempt(airflow.operator(), ti)["id"]
    before, again = ti.record, deleted_and_made_again(ti)
    refused(airflow, again, job_id)
    refused(airflow, again, job_id)
    again.clear()
    refused(airflow, again, job_id)
    assert again.record == before
    assert airflow.creates() == 1


@files_only
@pytest.mark.parametrize("key", ["magic_hour.adopt", "magic_hour.regenerate"])
def test_a_person_says_what_becomes_of_the_old_job(airflow, either_ledger, key):
    """Adopted, nothing is paid; regenerated, one new job is. After that the run's retries are as any other's."""
    ti = TaskInstance()
    job_id = airflow.attempt(airflow.operator(), ti)["id"]
    again = deleted_and_made_again(ti)
    refused(airflow, again, job_id)
    again.store.set(key, True if key.endswith("regenerate") else job_id)
    again.clear()
    made = airflow.attempt(airflow.operator(), again)["id"]
    assert (made == job_id) is key.endswith("adopt")
    assert airflow.attempt(airflow.operator(), again)["id"] == made
    again.clear()
    assert airflow.attempt(airflow.operator(), again)["id"] == made
    assert airflow.creates() == (1 if made == job_id else 2)


@files_only
def test_a_lost_response_of_the_deleted_run(airflow, either_ledger):
    """Its request is named by its tag, and nothing is sent; `resubmit` does not count for another run's request."""
    airflow.sim.inject_fault("close-after-accept")
    ti = TaskInstance()
    with pytest.raises(AirflowFailException):
        airflow.attempt(airflow.operator(), ti)
    operator = airflow.operator(on_unknown_submission="resubmit")
    with pytest.raises(AirflowFailException, match=f"the paid request #{ti.record['key']} of 20.*Nothing was sent"):
        airflow.attempt(operator, deleted_and_made_again(ti))
    assert airflow.creates() == 1


@files_only
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_first_attempt_that_resumes_its_own_job(airflow, either_ledger, deferrable):
    """A deferred task finds the record at try 1: that is no other run's."""
    ti = TaskInstance()
    ti.next_attempt()
    operator = airflow.operator("text-to-video", VIDEO, deferrable=deferrable)
    outcome = airflow.start(operator, ti)
    assert isinstance(outcome, TaskDeferred) is deferrable
    assert airflow.resume(operator, ti, outcome)["status"] == "complete"
    assert ti.try_number == 1
    assert airflow.creates() == 1


@files_only
@pytest.mark.parametrize("death", ["before the request", "while waiting"])
def test_the_same_try_begun_twice(airflow, either_ledger, monkeypatch, death):
    """A worker is lost and Airflow begins the same try again: it has the same id, so the record is its own."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.next_attempt()
    with monkeypatch.context() as patch:

        def die(*_, **__):
            raise Killed

        patch.setattr(*((MagicHourClient, "create") if death == "before the request" else (JobAttempt, "wait")), die)
        with pytest.raises(Killed):
            airflow.start(operator, ti)
    if death == "before the request":
        with pytest.raises(AirflowFailException, match="It is unknown whether"):
            airflow.start(operator, ti)
        assert airflow.creates() == 0
        return
    assert airflow.resume(operator, ti, airflow.start(operator, ti))["status"] == "complete"
    assert airflow.creates() == 1


@files_only
@pytest.mark.parametrize("how", ["a retry", "a clear", "a restored index"])
def test_what_has_a_higher_try_number_is_no_other_run(airflow, either_ledger, how):
    """Airflow counts on over retries, clears, and indexes that a mapped task lost and got back."""
    ti = TaskInstance(map_index=3)
    ti.next_attempt()
    operator = airflow.operator("text-to-video", VIDEO)
    airflow.start(operator, ti)
    if how != "a retry":
        ti.clear()
    if how == "a restored index":
        ti.clear_number += 1  # its upstream was cleared, with another length, and once more
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 1


@files_only
@pytest.mark.parametrize(("seconds", "is_known"), [(120, True), (-120, False)])
def test_the_first_attempt_of_the_new_run_died_before_it_could_ask(airflow, either_ledger, seconds, is_known):
    """Its retry knows by the time of the record, which is older than the run; one of the run itself is resumed."""
    ti = TaskInstance()
    job_id = airflow.attempt(airflow.operator(), ti)["id"]
    again = deleted_and_made_again(ti)
    airflow.sim.advance(300)
    again.run_start = datetime.fromtimestamp(parse_time(ti.record["written_at"]) + seconds, UTC)
    again.next_attempt()
    if not is_known:
        assert airflow.attempt(airflow.operator(), again)["id"] == job_id
        return
    refused(airflow, again, job_id)
    refused(airflow, again, job_id)
    again.store.set("magic_hour.adopt", job_id)
    for _ in range(2):
        assert airflow.attempt(airflow.operator(), again)["id"] == job_id
    assert airflow.creates() == 1


@files_only
def test_a_clear_resets_the_start_of_the_run(airflow, either_ledger):
    """A record older than that is the run's own."""
    ti = TaskInstance()
    job_id = airflow.attempt(airflow.operator(), ti)["id"]
    ti.clear()
    ti.run_start = datetime.fromtimestamp(parse_time(ti.record["written_at"]) + 3600, UTC)
    assert airflow.attempt(airflow.operator(), ti)["id"] == job_id
    assert airflow.creates() == 1


def test_airflows_own_store_ends_with_its_run(airflow):
    """A run made again finds nothing there, and pays for its own job."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(), ti)["id"]
    assert airflow.attempt(airflow.operator(), deleted_and_made_again(ti))["id"] != made
    assert airflow.creates() == 2


def test_with_a_file_beside_it_the_deleted_run_is_known(airflow, tmp_path):
    """On Airflow 3.3 with `ledger_path` the file tells of the old job: nothing is paid."""
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    ti = TaskInstance()
    job_id = airflow.attempt(airflow.operator(), ti)["id"]
    again = deleted_and_made_again(ti)
    refused(airflow, again, job_id)
    refused(airflow, again, job_id)
    again.store.set("magic_hour.adopt", job_id)
    again.clear()
    assert airflow.attempt(airflow.operator(), again)["id"] == job_id
    assert again.store.get(KEY)["job_id"] == job_id
    assert airflow.attempt(airflow.operator(), again)["id"] == job_id
    assert airflow.creates() == 1


@files_only
def test_a_failed_job_of_the_deleted_run(airflow, either_ledger):
    """It was refunded, and still nothing is paid before a person has said."""
    airflow.sim.inject_fault("job-outcome", status="error", code="unknown_error")
    ti = TaskInstance()
    with pytest.raises(AirflowException):
        airflow.attempt(airflow.operator(), ti)
    refused(airflow, deleted_and_made_again(ti), ti.record["job_id"])
    assert airflow.creates() == 1
