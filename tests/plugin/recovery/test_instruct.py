"""An instruction and the clear that it needs: both or neither, once, and never another job than was asked for."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import replace

import pytest
import sqlalchemy as sa
from airflow.models import taskinstance
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance as Row
from airflow.utils.session import create_session

from helpers.recovery import RUN_ID, both_places
from helpers.waiting import at_once
from magic_hour_provider.ledger.file_store import FileStore
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.ledger.record import ADOPT, REGENERATE
from magic_hour_provider.plugin.recovery import clear, instruct, records
from magic_hour_provider.plugin.recovery.errors import RecoveryError
from magic_hour_provider.plugin.recovery.instruct import give_instruction
from magic_hour_provider.plugin.recovery.job_check import check_job
from magic_hour_provider.plugin.recovery.situation import load_situation


class Killed(BaseException):
    """Stands for a process that ends at once."""


def adopt(task, job_id):
    """Do what the tab does when a person has pasted an id."""
    situation = load_situation(task.key)
    job = check_job(situation, job_id)
    give_instruction(situation, Instruction("adopt", job=job.id, replaces=situation.replaces))


def regenerate(task):
    """Do what the tab does when a person wants a new job."""
    situation = load_situation(task.key)
    give_instruction(situation, Instruction("regenerate", replaces=situation.replaces))


@both_places
def test_a_lost_job_is_adopted(task):
    """One create; the tasks after it that did not run are cleared too, and the run goes with them."""
    job_id = task.lose()
    adopt(task, job_id)
    assert task.is_cleared
    assert list(task.instructions()) == [ADOPT]
    assert task.attempt()["id"] == job_id
    assert task.instructions() == {}
    assert task.creates() == 1


@both_places
def test_a_lost_job_that_is_not_there_is_made_again(task):
    """The person says that there is none: one more create, and only one."""
    task.lose()
    regenerate(task)
    assert task.is_cleared
    made = task.attempt()
    task.put(None)
    assert task.attempt()["id"] == made["id"]
    assert task.creates() == 2


@both_places
def test_a_new_job_beside_one_that_is_there(task):
    """A task that has succeeded makes one more, once."""
    first = task.attempt()
    regenerate(task)
    second = task.attempt()
    assert first["id"] != second["id"]
    assert task.attempt()["id"] == second["id"]
    assert task.creates() == 2


@both_places
def test_the_later_instruction_counts(task):
    """Who changes their mind before the task runs finds one instruction; what was there of the other kind is gone."""
    job_id = task.lose()
    task.ti.store.set(REGENERATE, True)
    adopt(task, job_id)
    assert list(task.instructions()) == [ADOPT]
    assert task.attempt()["id"] == job_id
    assert task.creates() == 1


def test_both_places_have_no_older_instruction(task, airflow, tmp_path):
    """Beside Airflow's own store the files may have one: two different ones would be an error."""
    if task.place == "files":
        pytest.skip("there is one place")
    airflow.setting("ledger_path", str(tmp_path / "second"))
    files = records.open_file_store(task.key, "", None)
    job_id = task.lose()
    files.set(REGENERATE, True)
    files.set(ADOPT, "another")
    adopt(task, job_id)
    assert list(task.instructions()) == [ADOPT]
    assert (files.get(ADOPT), files.get(REGENERATE)) == (None, None)


@both_places
@pytest.mark.parametrize(
    "state", ["running", "queued", "scheduled", None, "deferred", "restarting", "skipped", "upstream_failed"]
)
def test_a_task_that_is_not_over_is_refused(task, state):
    """One sentence, nothing written, nothing cleared; also if it began after it was seen."""
    job_id = task.lose()
    seen = load_situation(task.key)
    task.put(state)
    situation = load_situation(task.key)
    assert situation.refusal
    for one in (situation, seen, task.key):
        with pytest.raises(RecoveryError) as caught:
            give_instruction(one, Instruction("adopt", job=job_id, replaces=situation.replaces))
        assert caught.value.status == 409
    assert task.instructions() == {}
    assert task.row().state == state
    assert task.creates() == 1


@both_places
def test_a_task_that_waits_for_its_retry_is_cleared(task):
    """No process of it is running; the retry that follows does what was asked."""
    job_id = task.lose()
    task.put("up_for_retry")
    adopt(task, job_id)
    assert task.row().state is None
    assert task.attempt()["id"] == job_id
    assert task.creates() == 1


@both_places
def test_two_people_at_once(task):
    """One succeeds, the other one gets a sentence: one instruction, one clear, one new job."""
    task.lose()
    seen = load_situation(task.key)
    clears = task.run().clear_number
    instruction = Instruction("regenerate", replaces=seen.replaces)
    errors = at_once(2, lambda: give_instruction(seen, instruction))
    assert [type(error) for error in errors] == [RecoveryError], errors
    assert errors[0].status in (409, 503)  # 503: SQLite's only write lock was not free in time
    assert task.run().clear_number == clears + 1
    assert list(task.instructions()) == [REGENERATE]
    task.attempt()
    task.put(None)
    task.attempt()
    assert task.creates() == 2


@both_places
def test_a_second_press_after_the_first(task):
    """The task that was seen is not the one that is there: a sentence."""
    task.lose()
    seen = load_situation(task.key)
    regenerate(task)
    task.attempt()
    with pytest.raises(RecoveryError, match="cleared or retried meanwhile"):
        give_instruction(seen, Instruction("regenerate", replaces=seen.replaces))
    assert task.creates() == 2


@both_places
def test_a_run_that_was_deleted_meanwhile(task):
    """404, and nothing is written."""
    task.lose()
    seen = load_situation(task.key)
    task.delete_run()
    with pytest.raises(RecoveryError, match="deleted") as caught:
        give_instruction(seen, Instruction("regenerate", replaces=seen.replaces))
    assert caught.value.status == 404
    if task.place == "files":
        assert task.instructions() == {}
    with pytest.raises(RecoveryError) as caught:
        load_situation(task.key)
    assert caught.value.status == 404


@both_places
def test_a_record_that_has_changed_meanwhile(task):
    """A webhook has found the job: the new one that was asked for is not paid for."""
    task.lose()
    seen = load_situation(task.key)
    found = replace(task.record, state="submitted", job_id=task.airflow.sim.jobs()[0]["id"])
    task.ti.store.set("magic_hour.job", found.to_json())
    with pytest.raises(RecoveryError, match=r"has changed since you saw it.*Nothing was written"):
        give_instruction(seen, Instruction("regenerate", replaces=seen.replaces))
    with pytest.raises(RecoveryError, match="has changed since you saw it"):
        give_instruction(task.key, Instruction("regenerate", replaces=seen.replaces))
    assert task.instructions() == {}
    assert task.row().state == "failed"


@both_places
@pytest.mark.parametrize("error", [RuntimeError("no"), Killed()], ids=["failed", "killed"])
@pytest.mark.parametrize("older", [None, "job0"])
def test_a_clear_that_fails_leaves_no_instruction(task, monkeypatch, error, older):
    """In the database it is rolled back; a file is taken back, and what was there before is there again."""
    job_id = task.lose()
    if older:
        task.ti.store.set(ADOPT, older)
    before = task.instructions()

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(taskinstance, "clear_task_instances", fail)
    with pytest.raises((RecoveryError, Killed)) as caught:
        adopt(task, job_id)
    if isinstance(caught.value, RecoveryError):
        assert caught.value.status == 502
        assert "no" not in str(caught.value).split()
    assert task.instructions() == before
    assert task.row().state == "failed"
    assert task.creates() == 1


@both_places
@pytest.mark.parametrize("takes_effect", [False, True])
def test_a_commit_that_fails(task, monkeypatch, takes_effect):
    """Whether it has taken effect is asked: if so the instruction stays, else nothing of it does."""
    job_id = task.lose()
    session_class, cleared = sa.orm.Session, []
    commit, calls, original = session_class.commit, [], clear.clear_tasks

    def fail(session):
        if calls or not cleared:
            return commit(session)
        calls.append(1)
        if takes_effect:
            commit(session)
        raise sa.exc.OperationalError("COMMIT", {}, Exception("gone"))

    monkeypatch.setattr(instruct, "clear_tasks", lambda *given: cleared.append(original(*given)))
    monkeypatch.setattr(session_class, "commit", fail)
    if takes_effect:
        adopt(task, job_id)
        assert task.is_cleared
        assert list(task.instructions()) == [ADOPT]
    else:
        with pytest.raises(RecoveryError, match="database does not answer") as caught:
            adopt(task, job_id)
        assert caught.value.status == 503
        assert task.instructions() == {}
        assert task.row().state == "failed"
    assert calls
    assert task.creates() == 1


@both_places
@pytest.mark.parametrize("action", ["adopt", "regenerate"])
@pytest.mark.parametrize("step", range(4))
def test_a_process_that_ends_between_two_writes(task, monkeypatch, action, step):
    """Whatever it has left, the attempt after the next clear makes no more than was asked for, and then none."""
    job_id = task.lose()
    calls = []

    def ends_at(patch, owner, name):
        original = getattr(owner, name)

        def run(*arguments, **options):
            calls.append(name)
            if len(calls) == step + 1:
                raise Killed
            return original(*arguments, **options)

        patch.setattr(owner, name, run)

    with monkeypatch.context() as patch:
        for owner in (FileStore, records.AirflowStore):
            ends_at(patch, owner, "set")
            ends_at(patch, owner, "delete")
        ends_at(patch, taskinstance, "clear_task_instances")
        patch.setattr(instruct._Change, "undo", lambda change: None)  # nobody is left to do it
        with pytest.raises(Killed) if step < 3 else nullcontext():
            adopt(task, job_id) if action == "adopt" else regenerate(task)
    assert len(calls) == min(step + 1, 3)
    with create_session() as session:  # a person clears it, in Airflow's own way
        rows = list(session.scalars(sa.select(Row).where(Row.run_id == RUN_ID, Row.state == "failed")))
        taskinstance.clear_task_instances(rows, session)
    task.attempt()
    task.put(None)
    task.attempt()
    assert task.creates() <= (1 if action == "adopt" else 2)
    assert task.instructions() == {}


def test_the_next_airflow_keeps_the_state(task, monkeypatch):
    """It will discard a cleared task's state unless it is told not to: its parameter gets True."""
    task.lose()
    original, seen = taskinstance.clear_task_instances, {}

    def clear_task_instances(
        tis, session, dag_run_state=None, run_on_latest_version=False, prevent_running_task=None, keep_task_state=False
    ):
        seen.update(keep=keep_task_state, prevent=prevent_running_task, tasks=sorted(ti.task_id for ti in tis))
        original(tis, session, dag_run_state)

    monkeypatch.setattr(taskinstance, "clear_task_instances", clear_task_instances)
    regenerate(task)
    assert seen == {"keep": True, "prevent": True, "tasks": ["after", "make"]}
    assert task.is_cleared


def test_the_version_to_run_on_is_asked_of_airflow(task, monkeypatch):
    """As its own route does: the DAG's and the configuration's word count."""
    task.lose()
    monkeypatch.setenv("AIRFLOW__CORE__RERUN_WITH_LATEST_VERSION", "True")
    original, seen = taskinstance.clear_task_instances, []
    signature = inspect.signature(original)

    def spy(*arguments, **options):
        seen.append(signature.bind(*arguments, **options).arguments.get("run_on_latest_version"))
        return original(*arguments, **options)

    spy.__signature__ = signature
    monkeypatch.setattr(taskinstance, "clear_task_instances", spy)
    with create_session() as session:
        expected = clear._resolve_run_on_latest_version(session, task.key.dag_id)
    regenerate(task)
    assert seen == [expected]


@both_places
def test_nowhere_to_write_it(task, airflow, monkeypatch):
    """Neither Airflow's own store nor a folder: the sentence says what to set."""
    task.lose()
    monkeypatch.setattr(records, "get_state_store_model", lambda: None)
    airflow.setting("ledger_path", "")
    situation = load_situation(task.key)
    assert "ledger_path" in situation.refusal
    with pytest.raises(RecoveryError, match="ledger_path"):
        give_instruction(situation, Instruction("regenerate", replaces=situation.replaces))
    assert task.row().state == "failed"


@both_places
def test_a_database_that_holds_the_row(task):
    """Another transaction that does not end: a sentence after a while, and nothing is written."""
    task.lose()
    seen = load_situation(task.key)
    instruct_wait, instruct._LOCK_WAIT = instruct._LOCK_WAIT, "500ms"
    try:
        with create_session(scoped=False) as session:
            session.execute(sa.update(DagRun).where(DagRun.run_id == RUN_ID).values(run_type="manual"))
            with pytest.raises(RecoveryError, match="Try it again") as caught:
                give_instruction(seen, Instruction("regenerate", replaces=seen.replaces))
            session.rollback()
    finally:
        instruct._LOCK_WAIT = instruct_wait
    assert caught.value.status == 503
    assert task.instructions() == {}
