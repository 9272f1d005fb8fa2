"""What a person asks for at one item of a batch, and what cannot be written at its end: others are untouched."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from helpers.attempts import TaskInstance
from helpers.batches import Batches, results, rows
from magic_hour_provider.batch.records.declaration.claims import TakenError
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.run import results as run_results
from magic_hour_provider.ledger.instruction import Instruction


def lose_one(batches: Batches) -> tuple[TaskInstance, object, str]:
    """Run a batch of which the response for one item is lost; return its job's id too."""
    batches.airflow.sim.inject_fault("close-after-accept", prompt="shoe 1")
    ti, operator = TaskInstance("campaign"), batches.operator(rows(3), item_id="sku")
    with pytest.raises(AirflowException, match="unknown"):
        batches.attempt(operator, ti)
    assert batches.creates() == 3
    known = {row.get("id") for row in results(ti.xcoms["magic_hour_batch"]).values()}
    (lost,) = {job["id"] for job in batches.airflow.sim.jobs()} - known
    return ti, operator, lost


@pytest.mark.parametrize("action", ["adopt", "regenerate"])
def test_an_unknown_item_is_recovered(batches, action):
    """Its job is resumed and nothing is paid, or one new job is made; a further attempt does nothing more."""
    ti, operator, lost = lose_one(batches)
    records = ItemRecords.open(batches.folder)
    records.instruct("shoe-1", records.get("shoe-1"), Instruction(action, lost if action == "adopt" else None))
    creates = 3 if action == "adopt" else 4
    for _ in range(2):
        made = batches.attempt(operator, ti)
        assert made["complete"] == 3
        assert batches.creates() == creates
    assert (results(made)["shoe-1"]["id"] == lost) is (action == "adopt")


def test_an_instruction_for_a_state_that_has_passed_is_void(batches):
    """What was asked for in the place of a lost response is not done again to the job that took its place."""
    ti, operator, lost = lose_one(batches)
    records = ItemRecords.open(batches.folder)
    before = records.get("shoe-1")
    records.instruct("shoe-1", before, Instruction("adopt", lost))
    batches.attempt(operator, ti)
    with pytest.raises(TakenError):
        records.instruct("shoe-1", before, Instruction("regenerate", None))
    ti.clear()
    assert batches.attempt(operator, ti)["complete"] == 3
    assert batches.creates() == 3


def test_a_job_to_resume_that_is_not_there(batches):
    """The others are complete, nothing is paid for, and the error says what is wrong."""
    ti, operator, _ = lose_one(batches)
    records = ItemRecords.open(batches.folder)
    records.instruct("shoe-1", records.get("shoe-1"), Instruction("adopt", "c000000000000000000000000"))
    with pytest.raises(AirflowException, match=r"2 are complete.*Not paid for: shoe-1"):
        batches.attempt(operator, ti)
    assert batches.creates() == 3


def test_results_that_cannot_be_written(batches, monkeypatch):
    """A retry writes them, and pays for nothing."""
    ti, operator = TaskInstance("campaign"), batches.operator(rows(2), item_id="sku")

    def be_full(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run_results, "replace_file", be_full)
        with pytest.raises(AirflowException, match=r"results could not be written.*no space left"):
            batches.attempt(operator, ti)
    assert batches.attempt(operator, ti)["complete"] == 2
    assert batches.creates() == 2


def test_an_xcom_that_cannot_be_written(batches, monkeypatch):
    """It informs; the batch is complete all the same."""
    ti = TaskInstance("campaign")

    def fail(**_):
        raise ConnectionError("the API server is away")

    monkeypatch.setattr(ti, "xcom_push", fail)
    assert batches.attempt(batches.operator(rows(2), item_id="sku"), ti)["complete"] == 2
    assert batches.creates() == 2
