"""What is left of earlier attempts after a clear that discards their state: little, and never taken for nothing."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowTaskTimeout

from helpers.attempts import TaskInstance
from helpers.stores import Store
from magic_hour_provider.execution import attempt as attempts
from magic_hour_provider.ledger.file_store import FileStore, open_configured_store
from magic_hour_provider.ledger.places import clears
from magic_hour_provider.ledger.record import KEY

CHANGED = {"image_count": 1, "style": {"prompt": "a harbour"}}
VIDEO = {"style": {"prompt": "waves"}, "end_seconds": 3}


@pytest.fixture
def discards(monkeypatch):
    """The next Airflow, whose clear discards the task state (apache/airflow#72100)."""
    monkeypatch.setattr(clears, "DISCARDED_SINCE", (3, 0, 0))


def dies_before_our_code(ti: TaskInstance) -> None:
    """Begin an attempt whose process dies while the DAG is parsed or its templates are rendered."""
    ti.next_attempt()


def asks(airflow, ti: TaskInstance, message: str = "", **options) -> None:
    """Run an attempt that cannot know what was paid for: it pays nothing, and says both ways on."""
    creates = airflow.creates()
    with pytest.raises(AirflowException, match=rf"(?s){message}.*Nothing was sent") as caught:
        airflow.attempt(airflow.operator(**options), ti)
    assert "magic_hour.adopt" in str(caught.value)
    assert "magic_hour.regenerate" in str(caught.value)
    assert airflow.creates() == creates


@pytest.mark.parametrize("then", ["retry", "clear"])
def test_an_attempt_that_died_before_our_code_took_the_evidence_along(airflow, discards, then):
    """Airflow deletes the XComs as an attempt begins: none are no proof, at the retry and at each one after it."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(), ti)["id"]
    ti.clear()
    dies_before_our_code(ti)
    if then == "clear":
        ti.clear()
    for _ in range(3):
        asks(airflow, ti, "nothing is left of its earlier attempts")
    dies_before_our_code(ti)
    asks(airflow, ti, "nothing is left of its earlier attempts")
    ti.store.set("magic_hour.adopt", made)
    assert airflow.attempt(airflow.operator(), ti)["id"] == made
    assert airflow.creates() == 1


@pytest.mark.parametrize("how", ["asked", "no connection", "no store"])
def test_an_attempt_that_knew_nothing_is_no_evidence(airflow, monkeypatch, discards, how):
    """It has run our code, and pushed its failure: the clear after it still finds nothing that says what was paid."""
    ti = TaskInstance()
    airflow.attempt(airflow.operator(), ti)
    ti.clear()
    dies_before_our_code(ti)

    def away(*_, **__):
        raise ConnectionError("the API server is away")

    for _ in range(2):
        with monkeypatch.context() as patch:
            if how == "no connection":
                airflow.disconnect()
            if how == "no store":
                patch.setattr(Store, "get", away)
            with pytest.raises(AirflowException):
                airflow.attempt(airflow.operator(), ti)
        airflow.connect()
        assert "magic_hour_job" in ti.xcoms
        ti.clear()
    asks(airflow, ti, "nothing is left of its earlier attempts")
    assert airflow.creates() == 1


def test_a_resumed_job_is_named_before_its_record_is_written(airflow, monkeypatch, discards):
    """The record could not be written, and a clear discards it: the job's key is there."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(), ti)["id"]
    ti.clear(keep=True)
    real = Store.set

    def failing(self, key, value, **options):
        if key == KEY:
            raise ConnectionError("the API server is away")
        real(self, key, value, **options)

    with monkeypatch.context() as patch, pytest.raises(AirflowException, match="stays charged"):
        patch.setattr(Store, "set", failing)
        airflow.attempt(airflow.operator(), ti)
    ti.clear()
    asks(airflow, ti, f"had Magic Hour job {made}")
    assert airflow.creates() == 1


def test_a_lost_record_outlives_an_instruction_that_is_withdrawn(airflow):
    """A new job was asked for and refused; who then removes the instruction is asked again."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(), ti)["id"]
    ti.store.rows.clear()
    asks(airflow, ti, f"had Magic Hour job {made}")
    ti.store.set("magic_hour.regenerate", True)
    airflow.sim.inject_fault("status", status=422)
    with pytest.raises(AirflowException):
        airflow.attempt(airflow.operator(), ti)
    ti.store.delete("magic_hour.regenerate")
    asks(airflow, ti, f"had Magic Hour job {made}")
    assert airflow.creates() == 1


def test_the_key_of_a_lost_response_outlives_a_refusal(airflow, discards):
    """A webhook may still find the task by it; and a clear that discards the record asks."""
    ti = TaskInstance()
    airflow.sim.inject_fault("close-after-accept")
    with pytest.raises(AirflowFailException):
        airflow.attempt(airflow.operator(), ti)
    tag = ti.record["key"]
    airflow.sim.inject_fault("status", status=422)
    with pytest.raises(AirflowException):
        airflow.attempt(airflow.operator(on_unknown_submission="resubmit"), ti)
    assert [key for key in ti.xcoms if key.startswith("magic_hour.intent.")] == [f"magic_hour.intent.{tag}"]
    ti.clear()
    asks(airflow, ti, f"#{tag}")
    assert airflow.creates() == 1


def test_a_lost_record_stays_lost_when_the_attempt_that_saw_it_dies(airflow):
    """The XComs that showed it are gone by then: it was noted at once, and one regeneration ends it."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(), ti)["id"]
    ti.store.rows.clear()
    asks(airflow, ti, f"had Magic Hour job {made}")
    dies_before_our_code(ti)
    ti.clear()
    dies_before_our_code(ti)
    asks(airflow, ti, f"had Magic Hour job {made}")
    ti.store.set("magic_hour.regenerate", True)
    assert airflow.attempt(airflow.operator(), ti)["id"] != made
    assert airflow.creates() == 2
    ti.clear()
    airflow.attempt(airflow.operator(), ti)
    assert airflow.creates() == 2


@pytest.mark.parametrize("end", ["never ran", "refused", "out of time", "no connection", "no store at the second"])
def test_where_our_code_ran_and_paid_nothing_a_clear_goes_on(airflow, monkeypatch, discards, end):
    """A task that never ran, or that ended in whatever way before it paid, is no lost one."""
    ti = TaskInstance()

    def late(*_, **__):
        raise AirflowTaskTimeout("out of time")

    def away(*_, **__):
        raise ConnectionError("the API server is away")

    if end == "out of time":
        with monkeypatch.context() as patch, pytest.raises(AirflowTaskTimeout):
            patch.setattr(attempts, "run_preflight", late)
            airflow.attempt(airflow.operator(), ti)
    elif end != "never ran":
        if end == "refused":
            airflow.sim.inject_fault("status", status=422)
        else:
            airflow.disconnect()
        with pytest.raises(AirflowException):
            airflow.attempt(airflow.operator(), ti)
        airflow.connect()
    ti.clear()
    if end == "no store at the second":
        with monkeypatch.context() as patch, pytest.raises(AirflowException):
            patch.setattr(Store, "get", away)
            airflow.attempt(airflow.operator(), ti)
        ti.clear()
    assert airflow.attempt(airflow.operator(), ti)["status"] == "complete"
    assert airflow.creates() == 1


@pytest.mark.parametrize("then", ["refused at the retry", "resumed before it failed"])
def test_a_refunded_job_is_no_lost_one(airflow, discards, then):
    """Whatever came after or before its failure: a clear makes a new job."""
    ti = TaskInstance()
    airflow.sim.inject_fault("job-outcome", status="error", code="unknown_error")
    if then == "resumed before it failed":
        with pytest.raises(AirflowException):
            airflow.attempt(airflow.operator("text-to-video", VIDEO, deferrable=False, timeout=1), ti)
    with pytest.raises(AirflowException, match="unknown_error"):
        airflow.attempt(airflow.operator("text-to-video", VIDEO), ti)
    if then == "refused at the retry":
        airflow.sim.inject_fault("status", status=422)
        with pytest.raises(AirflowException):
            airflow.attempt(airflow.operator("text-to-video", VIDEO), ti)
    ti.clear()
    assert airflow.attempt(airflow.operator("text-to-video", VIDEO), ti)["status"] == "complete"
    assert airflow.creates() == 2


@pytest.mark.parametrize("state", ["submitted", "intent"])
def test_clear_on_success_says_nothing_of_a_task_that_did_not_succeed(airflow, monkeypatch, discards, state):
    """`[state_store] clear_on_success` explains a missing record only after a success."""
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")
    if state == "intent":
        airflow.sim.inject_fault("close-after-accept")
    ti = TaskInstance()
    with pytest.raises(AirflowException):
        airflow.attempt(airflow.operator("text-to-video", VIDEO, deferrable=False, timeout=1), ti)
    assert ti.record["state"] == state
    ti.clear()
    asks(airflow, ti)
    asks(airflow, ti)
    assert airflow.creates() == 1


def test_clear_on_success_after_a_success(airflow, monkeypatch):
    """The record went with the success, as the log said before: a clear makes a new job."""
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")
    ti = TaskInstance()
    airflow.attempt(airflow.operator(), ti)
    ti.store.rows.clear()
    ti.clear()
    airflow.attempt(airflow.operator(), ti)
    assert airflow.creates() == 2


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_new_job_that_was_refused_does_not_hide_the_one_before(airflow, discards, is_lost):
    """Its key is there until there is a new job: a clear that discards the record then asks, and pays nothing."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(), ti)["id"]
    ti.clear(keep=True)
    if is_lost:
        airflow.sim.inject_fault("close-after-accept")
    else:
        airflow.sim.inject_fault("status", status=422)
    with pytest.raises(AirflowException):
        airflow.attempt(airflow.operator(request=CHANGED), ti)
    creates = airflow.creates()
    if is_lost:  # the record is the intent's: it is not completed with the job of before
        with pytest.raises(AirflowFailException):
            airflow.attempt(airflow.operator(request=CHANGED), ti)
        assert ti.record["state"] == "intent"
    ti.clear()
    asks(airflow, ti, "" if is_lost else f"had Magic Hour job {made}")
    assert airflow.creates() == creates == (2 if is_lost else 1)


def test_after_a_new_job_only_its_own_key_is_left(airflow):
    """The job before is in the record's history by then."""
    ti = TaskInstance()
    first = airflow.attempt(airflow.operator(), ti)["id"]
    ti.clear()
    second = airflow.attempt(airflow.operator(request=CHANGED), ti)["id"]
    assert [key for key in ti.xcoms if key.startswith("magic_hour.job.")] == [f"magic_hour.job.{second}"]
    assert first != second
    assert airflow.creates() == 2


@pytest.mark.parametrize("on_unknown", ["fail", "resubmit"])
@pytest.mark.parametrize("regenerated", [False, True])
def test_a_job_that_only_the_discarded_store_knew(airflow, monkeypatch, tmp_path, discards, on_unknown, regenerated):
    """Its file still has the intent: the job's XCom completes it, also where the intent's own XCom is gone."""
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    ti = TaskInstance()
    if regenerated:
        airflow.attempt(airflow.operator(), ti)
        ti.store.set("magic_hour.regenerate", True)
        ti.clear(keep=True)
    real = FileStore.set

    def failing(self, key, value, **options):
        if key == KEY and value["state"] != "intent":
            raise OSError("the disk is full")
        real(self, key, value, **options)

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "set", failing)
        made = airflow.attempt(airflow.operator(on_unknown_submission=on_unknown), ti)["id"]
    creates = airflow.creates()
    files = open_configured_store(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
    assert files.get(KEY)["state"] == "intent"
    ti.clear()
    assert airflow.attempt(airflow.operator(on_unknown_submission=on_unknown), ti)["id"] == made
    assert airflow.creates() == creates == (2 if regenerated else 1)
