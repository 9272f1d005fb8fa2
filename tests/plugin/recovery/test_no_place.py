"""Where no place of the record is reached, nothing is said of what is paid for but what the task has reported."""

from __future__ import annotations

import pytest

from helpers.airflow_rows import put_task
from helpers.recovery import DAG_ID, RUN_ID, both_places, hide_places
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.ledger.record import KEY
from magic_hour_provider.plugin.recovery.errors import RecoveryError
from magic_hour_provider.plugin.recovery.instruct import give_instruction
from magic_hour_provider.plugin.recovery.records import NO_PLACE
from magic_hour_provider.plugin.recovery.situation import load_situation


@both_places
def test_a_paid_job(task, monkeypatch):
    """The job that the task has reported is named, an instruction is refused, and what to do is said."""
    made = task.attempt()
    hide_places(task.airflow, monkeypatch)
    found = load_situation(task.key)
    assert (found.is_known, found.record, found.reported_jobs) == (False, None, (made["id"],))
    assert (found.refusal, found.is_lost, found.record_places, found.instruction_place) == (NO_PLACE, False, (), None)
    with pytest.raises(RecoveryError, match="neither be known nor changed") as caught:
        give_instruction(task.key, Instruction("regenerate", replaces=found.replaces))
    for words in ("nothing has changed", "ledger_path", "magic_hour_job", "MagicHourDownloadOperator(job=...)"):
        assert words in str(caught.value)
    assert not task.is_cleared
    assert task.creates() == 1


@both_places
def test_a_lost_response(task, monkeypatch):
    """Its tag is still known, and that it is not known whether a job was made."""
    task.lose()
    tag = task.record.tag
    hide_places(task.airflow, monkeypatch)
    found = load_situation(task.key)
    assert (found.is_known, found.is_lost, found.tags, found.reported_jobs) == (False, True, (tag,), ())
    assert task.creates() == 1


@pytest.mark.parametrize(
    ("xcoms", "jobs"),
    [
        ({}, ()),
        ({"magic_hour_job": {"id": "abc123"}}, ("abc123",)),
        ({"magic_hour_job": {"id": "abc123", "charge": "refunded"}}, ()),
        ({"magic_hour_job": {"id": "../x"}}, ()),
        ({"magic_hour_job": {"id": ["abc123"]}}, ()),
        ({"magic_hour_job": "s3://bucket/xcom", "magic_hour.job.abc123": "s3://bucket/xcom"}, ("abc123",)),
        ({"magic_hour.settled.10.abc123": {}}, ("abc123",)),
        ({"magic_hour.settled.10": {}}, ()),
        ({"magic_hour.job.abc123": {}, "magic_hour.settled.10.abc123": {}}, ("abc123",)),
        ({"magic_hour.job.abc123": {}, "magic_hour.refunded.abc123": {"tool": "x"}}, ()),
        ({"magic_hour.job.abc123": {}, "magic_hour.job.def456": {}, "magic_hour.refunded.abc123": {}}, ("def456",)),
    ],
)
def test_jobs_that_xcoms_name(task, xcoms, jobs):
    """The report, the keys of jobs and those of triggers name them; a refunded one is no paid one."""
    put_task(DAG_ID, "make", "success", xcoms, run_id=RUN_ID)
    found = load_situation(task.key)
    assert (found.reported_jobs, found.is_known, found.record) == (jobs, True, None)
    assert task.creates() == 0


@both_places
def test_a_job_of_before_its_place_was_named(task):
    """Where the place has no record, the next attempt pays nothing for a job that was reported; adopting resumes it."""
    made = task.attempt()
    task.ti.store.delete(KEY)
    found = load_situation(task.key)
    assert (found.is_known, found.refusal, found.reported_jobs) == (True, None, (made["id"],))
    give_instruction(found, Instruction("adopt", job=made["id"], replaces="nothing"))
    assert task.attempt()["id"] == made["id"]
    assert task.creates() == 1
