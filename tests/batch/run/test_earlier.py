"""An attempt of a batch that cannot go on: it says what was paid for before, and what is under way is not given up."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, TaskDeferred

from helpers.attempts import TaskInstance
from helpers.batches import rows
from helpers.samples import PHOTO
from magic_hour_provider.api.errors import TransferError
from magic_hour_provider.batch.run import attempt as attempts

LONG = {
    "tool": "text-to-video",
    "request": {"end_seconds": 3, "style": {"prompt": "[[seconds:200]]"}},
    "item_id": "sku",
}
GIVEN = [{"sku": "a"}, {"sku": "b"}]
PAID = r"This task has paid for 2 jobs so far; 144 credits stay charged\."


@pytest.fixture
def begun(batches):
    """A task instance that has paid for two jobs and waits in the triggerer, and its deferral."""
    ti = TaskInstance("campaign")
    ti.next_attempt()
    deferral = batches.start(batches.operator(GIVEN, **LONG), ti)
    assert isinstance(deferral, TaskDeferred)
    return ti, deferral


def test_a_connection_that_is_missing_when_a_worker_resumes(batches, begun):
    """Airflow's API in trouble looks like that: it is retryable, as jobs are under way, and no charge is denied."""
    ti, deferral = begun
    batches.airflow.disconnect()
    with pytest.raises(AirflowException, match=PAID) as caught:
        operator = batches.operator(GIVEN, **LONG)
        operator.execute_complete(ti.context(operator), {}, **deferral.kwargs)
    assert not isinstance(caught.value, AirflowFailException)
    assert "paid for 2 jobs" in ti.xcoms["magic_hour_batch"]["error"]
    batches.airflow.connect()
    assert batches.attempt(batches.operator(GIVEN, **LONG), ti)["complete"] == 2
    assert batches.creates() == 2


def test_rows_that_cannot_work_at_a_retry(batches, begun):
    """What is wrong with them is said as before, beside what was paid for."""
    ti, _ = begun
    with pytest.raises(AirflowException, match=rf"(?s)1 of 3 rows.*{PAID}"):
        batches.attempt(batches.operator([*GIVEN, {"sku": "c", "end_seconds": "many"}], **LONG), ti)
    assert batches.creates() == 2


NOT_READ = {
    "max_credits_per_run": ("many", "A setting"),
    "min_credits_left": ("few", "A setting"),
    "input_transfer": ("signed", r"\[magic_hour\] input_transfer is 'signed'"),
    "tag_job_names": ("some", r"\[magic_hour\] tag_job_names is 'some'"),
}


@pytest.mark.parametrize("setting", NOT_READ)
def test_a_setting_that_cannot_be_read_stops_payments_alone(batches, begun, setting):
    """Jobs that are under way are waited for; what is left is not paid for."""
    ti, deferral = begun
    value, words = NOT_READ[setting]
    batches.airflow.setting(setting, value)
    operator = batches.operator(GIVEN, **LONG)
    while isinstance(deferral, TaskDeferred):
        deferral = batches.resume(operator, ti, deferral)
    assert deferral["complete"] == 2
    with pytest.raises(AirflowFailException, match=rf"(?s)1 are missing.*Nothing more was submitted: {words}"):
        batches.attempt(batches.operator([*GIVEN, {"sku": "c"}], **LONG), ti)
    assert batches.creates() == 2


@pytest.mark.parametrize("setting", NOT_READ)
def test_a_failed_job_has_no_second_one_by_a_setting_that_cannot_be_read(batches, setting):
    """Nothing was left to be paid for as the worker resumed; then a job failed, and was refunded."""
    batches.airflow.sim.inject_fault("job-outcome", status="error", code="unknown_error")
    ti = TaskInstance("campaign")
    ti.next_attempt()
    outcome = batches.start(batches.operator(GIVEN, **LONG), ti)
    batches.airflow.setting(setting, NOT_READ[setting][0])
    with pytest.raises(AirflowFailException, match=rf"(?s)1 are complete.*{NOT_READ[setting][1]}"):
        while isinstance(outcome, TaskDeferred):
            outcome = batches.resume(batches.operator(GIVEN, **LONG), ti, outcome)
    assert batches.creates() == 2


def test_results_that_cannot_be_written(batches, monkeypatch):
    """At the end of the very attempt that has paid, too."""

    def fail(*_, **__):
        raise TransferError("The disk is full.")

    monkeypatch.setattr(attempts, "write_results", fail)
    with pytest.raises(AirflowException, match=r"The disk is full\. This task has paid for 1 job so far"):
        batches.attempt(batches.operator(rows(1), item_id="sku"), TaskInstance("campaign"))
    assert batches.creates() == 1


def test_a_first_attempt_that_fails_before_it_pays(batches):
    """There nothing was paid for, whatever others have recorded in the folder."""
    batches.attempt(batches.operator(rows(1), item_id="sku"), TaskInstance("other"))
    batches.airflow.disconnect()
    with pytest.raises(AirflowFailException, match="No job was created and nothing was charged"):
        batches.attempt(batches.operator(rows(1), item_id="sku"), TaskInstance("campaign"))
    assert batches.creates() == 1


@pytest.mark.parametrize("then", ["a retry", "a clear", "another run"])
def test_the_input_of_a_row_that_is_paid_for_is_gone(batches, tmp_path, then):
    """It is not needed any more, and counts as unchanged; that of a row that is not paid for stops the batch."""
    photos = [tmp_path / f"{number}.png" for number in range(3)]
    for photo in photos:
        photo.write_bytes(PHOTO.read_bytes())
    requests = [
        {"sku": str(number), "assets": {"image_file_path": str(photo)}, "style": {"prompt": "[[seconds:200]]"}}
        for number, photo in enumerate(photos)
    ]
    animate = {"tool": "image-to-video", "request": {"end_seconds": 3}, "item_id": "sku", "max_credits": 500}
    ti = TaskInstance("campaign")
    with pytest.raises(AirflowException, match="2 are missing"):
        batches.attempt(batches.operator(requests[:2], **animate, deferrable=False, timeout=60), ti)
    photos[0].unlink()
    if then == "a clear":
        ti.clear()
    if then == "another run":
        ti = TaskInstance("campaign")
        ti.run_id = "manual__2"
    photos[2].unlink()
    with pytest.raises(AirflowException, match=r"(?s)1 of 3 rows.*row 3"):
        batches.attempt(batches.operator(requests, **animate), ti)
    assert batches.attempt(batches.operator(requests[:2], **animate), ti)["complete"] == 2
    assert batches.creates() == 2


def test_a_row_that_is_paid_for_is_broken_meanwhile(batches, tmp_path):
    """Its job is under way, and nothing needs the row any more: also where a limit asks for prices."""
    file = tmp_path / "rows.jsonl"
    file.write_text('{"sku": "a"}\n{"sku": "b"}\n')
    operator, ti = batches.operator(str(file), **LONG, max_credits=500), TaskInstance("campaign")
    ti.next_attempt()
    outcome = batches.start(operator, ti)
    file.write_text('{"sku": "a", "end_seconds": "many"}\n{"sku": "b"}\n')
    while isinstance(outcome, TaskDeferred):
        outcome = batches.resume(operator, ti, outcome)
    assert outcome["complete"] == 2
    assert batches.creates() == 2
