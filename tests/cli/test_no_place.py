"""What ``record``, ``adopt`` and ``regenerate`` say of a paid task whose record they do not reach."""

from __future__ import annotations

import json

import pytest

from helpers.airflow_rows import put_task
from helpers.recovery import DAG_ID, RUN_ID, both_places, hide_places
from magic_hour_provider.ledger.places.mark import ATTEMPT
from magic_hour_provider.ledger.record import KEY

TASK = (DAG_ID, RUN_ID, "make")


def record_of(run):
    """Return what ``record`` prints for programs, which never says that nothing is paid for."""
    done = run("record", *TASK, "-o", "json")
    assert done.code == 0, done.err
    assert "nothing is paid for" not in done.text
    (found,) = json.loads(done.out)
    return found


@both_places
def test_a_paid_job(task, run, monkeypatch):
    """It cannot be known what is paid for, the job that the task has reported is named, and what to do is said."""
    made = task.attempt()
    hide_places(task.airflow, monkeypatch)
    found = record_of(run)
    assert found["recorded"] == f"it cannot be known here, but the task has reported job {made['id']}"
    assert (found["record_state"], found["job"], found["places"]) == ("unknown", made["id"], [])
    assert found["library_url"] == made["library_url"]
    assert found["next_attempt"].startswith("It cannot be known here whether it pays.")
    for words in ("ledger_path", "beside its files", "magic_hour_job", "MagicHourDownloadOperator(job=...)"):
        assert words in found["instruction_refused"]
    assert task.creates() == 1


@both_places
def test_a_lost_response(task, run, monkeypatch):
    """The tag of the request is named."""
    task.lose()
    tag = task.record.tag
    hide_places(task.airflow, monkeypatch)
    found = record_of(run)
    assert found["recorded"] == f"it cannot be known here, but a paid request was declared, #{tag}"
    assert (found["record_state"], found["job"], found["tag"]) == ("unknown", None, tag)
    assert task.creates() == 1


def test_nothing_reported(task, run, monkeypatch):
    """A task without XComs may have paid all the same."""
    hide_places(task.airflow, monkeypatch)
    found = record_of(run)
    assert found["recorded"] == "it cannot be known here"
    assert found["next_attempt"].startswith("It cannot be known here whether it pays.")
    assert task.creates() == 0


@pytest.mark.parametrize("command", ["adopt", "regenerate"])
def test_no_instruction(task, run, monkeypatch, command):
    """It is refused in sentences that say what to do, before anything is asked or changed."""
    made = task.attempt()
    hide_places(task.airflow, monkeypatch)
    done = run(command, *TASK, *([made["id"]] if command == "adopt" else []), "--yes")
    assert (done.code, done.out) == (1, "")
    assert "can neither be known nor changed here, and nothing has changed" in done.err
    assert "Set [magic_hour] ledger_path" in done.err
    assert not task.is_cleared
    assert task.creates() == 1


@both_places
def test_a_record_that_is_not_where_it_should_be(task, run):
    """The next attempt pays nothing for a job that the task has reported."""
    made = task.attempt()
    task.ti.store.delete(KEY)
    found = record_of(run)
    assert found["recorded"] == f"nothing, although the task has reported job {made['id']}"
    assert (found["record_state"], found["job"]) == (None, made["id"])
    assert found["next_attempt"].startswith(f"It fails and pays nothing, as the task has reported job {made['id']}")
    task.ti._ti_context_from_server.xcom_keys_to_clear = list(task.ti.xcoms)
    assert isinstance(task.attempt(), Exception)
    assert task.creates() == 1


@pytest.mark.parametrize("state", ["success", None, "failed"])
@pytest.mark.parametrize("task", ["store"], indirect=True)
def test_a_record_that_its_success_has_discarded(task, run, monkeypatch, state):
    """With ``clear_on_success`` the next attempt pays for a new job, and that is said: its result is what tells it."""
    made = task.attempt()
    task.put(state)
    task.ti.store.delete(KEY)
    task.ti.store.delete(ATTEMPT)
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")
    found = record_of(run)
    assert found["recorded"] == f"nothing, although the task has reported job {made['id']}"
    assert found["next_attempt"] == "It submits a job and pays for it."
    task.ti._ti_context_from_server.xcom_keys_to_clear = [*task.ti.xcoms, "return_value"]
    assert isinstance(task.attempt(), dict)
    assert task.creates() == 2


def test_a_refunded_job(task, run):
    """Without a record a new job is no second one, so the next attempt makes it."""
    xcoms = {"magic_hour_job": {"id": "abc123", "charge": "refunded"}, "magic_hour.refunded.abc123": {}}
    put_task(DAG_ID, "make", "failed", xcoms, run_id=RUN_ID)
    done = run("record", *TASK, "-o", "json")
    (found,) = json.loads(done.out)
    assert (found["recorded"], found["job"]) == ("nothing is paid for", None)
    assert found["next_attempt"] == "It submits a job and pays for it."
    assert task.creates() == 0
