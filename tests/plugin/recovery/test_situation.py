"""What is known of a task instance: its record, wherever it is, and what was lost."""

from __future__ import annotations

import json
import threading

import pytest
import sqlalchemy as sa
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS
from airflow.sdk import DAG

from helpers.airflow_rows import put_run, put_task
from helpers.recovery import DAG_ID, RUN_ID, both_places
from helpers.waiting import HANG_S
from magic_hour_provider.ledger.file_store import FileStore
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.ledger.record import KEY, RecordError
from magic_hour_provider.operators.files import MagicHourDeleteOperator
from magic_hour_provider.operators.image import MagicHourAIImageGeneratorOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.plugin.recovery import records
from magic_hour_provider.plugin.recovery.errors import NoJobsError, RecoveryError
from magic_hour_provider.plugin.recovery.instruct import give_instruction
from magic_hour_provider.plugin.recovery.situation import TaskKey, load_situation
from magic_hour_provider.plugin.recovery.time_limit import BusyError, TimeLimit
from magic_hour_provider.sensors.job import MagicHourJobSensor
from magic_hour_provider.xcoms import settled_xcom

PICTURE = {"image_count": 1, "style": {"prompt": "a lighthouse"}}


@both_places
def test_a_lost_response(task):
    """The record is an intent: its tag, its tool and its connection are known, and where it is."""
    task.lose()
    found = load_situation(task.key)
    assert (found.is_lost, found.refusal, found.job_id) == (True, None, None)
    assert found.replaces == f"#{found.record.tag}"
    assert found.tags == (found.record.tag,)
    assert (found.tool, found.kind, found.conn_id) == ("ai-image-generator", "image", "magic_hour_default")
    assert [("magic_hour.job" in place) for place in found.record_places] == [True]
    assert "magic_hour.adopt" in found.instruction_place


@both_places
def test_a_job(task):
    """It can be made again; nothing was lost."""
    made = task.attempt()
    found = load_situation(task.key)
    assert (found.is_lost, found.refusal, found.job_id, found.replaces) == (False, None, made["id"], made["id"])


@both_places
@pytest.mark.parametrize(
    ("state", "is_own", "expected"),
    [
        ("submitted", True, ("delivered", 1)),
        ("submitted", False, ("submitted", 10)),
        ("failed", True, ("failed", 10)),
    ],
)
def test_a_job_whose_trigger_has_ended_the_task(task, state, is_own, expected):
    """Its own key completes a record of a job that is not known to have ended; an older job's does not. One create."""
    made = task.attempt()
    task.ti.store.set(KEY, task.record.to_json() | {"state": state, "credits_charged": 10})
    task.ti.xcoms[settled_xcom(made["id"] if is_own else "older123", 1)] = {"tool": made["tool"]}
    task.put("success")
    found = load_situation(task.key)
    assert (found.record.state, found.record.credits_charged) == expected
    assert (found.job_id, found.replaces) == (made["id"], made["id"])
    assert task.record.state == state
    assert task.creates() == 1


@both_places
def test_a_task_that_has_not_run(task):
    """There is nothing to recover."""
    found = load_situation(task.key)
    assert (found.is_lost, found.record, found.replaces) == (False, None, "nothing")
    assert found.refusal


@both_places
def test_a_record_that_is_lost_itself(task):
    """The next attempt refuses to pay; a person can adopt the job, or make a new one."""
    task.lose()
    task.ti.store.delete(KEY)
    tag = load_situation(task.key).tags
    assert isinstance(task.attempt(), Exception)
    found = load_situation(task.key)
    assert (found.is_lost, found.record, found.replaces, found.refusal) == (True, None, "nothing", None)
    assert found.tags == tag
    give_instruction(found, Instruction("adopt", job=task.airflow.sim.jobs()[0]["id"], replaces="nothing"))
    assert task.attempt()["id"] == task.airflow.sim.jobs()[0]["id"]
    assert task.creates() == 1


@both_places
@pytest.mark.parametrize("value", ["no record", {"state": "intent"}, 7])
def test_a_record_that_cannot_be_read(task, value):
    """An error, never "no record"."""
    task.lose()
    task.ti.store.set(KEY, value)
    with pytest.raises(RecoveryError, match="cannot be read") as caught:
        load_situation(task.key)
    assert caught.value.status == 409


def test_the_place_that_knows_most(task, airflow, tmp_path):
    """Beside Airflow's own store there are files: of two records of one job the later one counts."""
    if task.place == "files":
        pytest.skip("there is one place")
    task.lose()
    airflow.setting("ledger_path", str(tmp_path / "second"))
    files = records.open_file_store(task.key, "", None)
    files.set(KEY, task.record.to_json() | {"state": "submitted", "job_id": "found"})
    found = load_situation(task.key)
    assert (found.job_id, found.is_lost, len(found.record_places)) == ("found", False, 2)
    files.set(KEY, task.record.to_json() | {"key": "ZZZZ2222"})
    with pytest.raises(RecoveryError, match="say different things"):
        load_situation(task.key)


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow before 3.3 has no task state store")
def test_a_record_that_workers_keep_elsewhere(task, airflow, tmp_path):
    """With ``[workers] state_store_backend`` the files are read, where there are any; else the sentence says so."""
    task.lose()
    record = task.record.to_json()
    task.ti.store.set(KEY, {"__airflow_state_ref__": "s3://bucket/state"})
    found = load_situation(task.key)
    assert "ledger_path" in found.refusal
    airflow.setting("ledger_path", str(tmp_path / "second"))
    records.open_file_store(task.key, "", None).set(KEY, record)
    found = load_situation(task.key)
    assert (found.is_lost, found.refusal, len(found.record_places)) == (True, None, 1)
    give_instruction(found, Instruction("adopt", job="abc", replaces=found.replaces))
    stored = json.loads((tmp_path / "second").glob("*/*/magic_hour.adopt").__next__().read_text())
    assert stored == {"job": "abc", "replaces": found.replaces}


@pytest.mark.parametrize("task", ["files"], indirect=True)
@pytest.mark.parametrize("call", ["get", "set", "delete"])
def test_a_storage_that_stalls(task, monkeypatch, call):
    """A sentence after some seconds: nothing is cleared, and what is written too late is removed again."""
    task.lose()
    seen = load_situation(task.key)
    goes_on, original = threading.Event(), getattr(FileStore, call)
    monkeypatch.setattr(records, "STORAGE", TimeLimit("storage", 4, 0.5))

    def stall(*arguments, **options):
        goes_on.wait(HANG_S)
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, call, stall)
        try:
            with pytest.raises(RecoveryError, match=r"within|does not respond") as caught:
                give_instruction(seen if call != "get" else task.key, Instruction("regenerate", replaces=seen.replaces))
        finally:
            goes_on.set()
    assert caught.value.status == 503
    for thread in threading.enumerate():
        if thread.name == "storage":
            thread.join(HANG_S)
    assert task.instructions() == {}
    assert task.row().state == "failed"
    assert task.creates() == 1


def test_what_is_written_too_late_takes_nothing_newer_along(tmp_path, monkeypatch):
    """Somebody has asked for something else since: that stays."""
    store, goes_on, original = records.LimitedFileStore(str(tmp_path / "task")), threading.Event(), FileStore.set
    monkeypatch.setattr(records, "STORAGE", TimeLimit("storage", 4, 0.5))

    def stall(self, key, value, **options):
        original(self, key, value, **options)
        goes_on.wait(HANG_S)

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "set", stall)
        with pytest.raises(RecordError, match="within"):
            store.set("magic_hour.adopt", "old")
    original(store, "magic_hour.adopt", "new")
    goes_on.set()
    [thread.join(HANG_S) for thread in threading.enumerate() if thread.name == "storage"]
    assert FileStore.get(store, "magic_hour.adopt") == "new"


def test_calls_that_do_not_return_take_no_more_threads():
    """Who comes then gets an error at once, or a moment later; when they return all is as before."""
    limit, goes_on = TimeLimit("limited", 1, 0.1), threading.Event()
    late = []
    with pytest.raises(TimeoutError):
        limit.call(lambda: goes_on.wait(HANG_S), lambda: late.append(1))
    with pytest.raises(BusyError):
        limit.call(lambda: None)
    goes_on.set()
    [thread.join(HANG_S) for thread in threading.enumerate() if thread.name == "limited"]
    assert late == [1]
    assert limit.call(lambda: 7) == 7
    with pytest.raises(KeyError):
        limit.call(lambda: {}["x"])


def test_what_a_dag_says_of_its_tasks(database, airflow):
    """Typed operators name their tool, mapped ones their connection too; those without jobs are refused."""
    with DAG("kinds", schedule=None) as dag:
        MagicHourAIImageGeneratorOperator(task_id="typed", **PICTURE)
        MagicHourOperator.partial(task_id="mapped", tool="text-to-video", magic_hour_conn_id="theirs").expand(
            request=[{"style": {"prompt": "waves"}, "end_seconds": 3}]
        )
        MagicHourOperator(task_id="plain", tool="ai-image-generator", request=PICTURE)
        MagicHourDeleteOperator(task_id="delete", job={"kind": "image", "id": "x"})
        MagicHourJobSensor(task_id="wait", job={"kind": "image", "id": "x"})
    put_run(dag, RUN_ID)
    found = {name: load_situation(TaskKey("kinds", RUN_ID, name, index)) for name, index in
             {"typed": -1, "mapped": 0, "plain": -1}.items()}  # fmt: skip
    assert {name: (one.tool, one.kind, one.conn_id) for name, one in found.items()} == {
        "typed": ("ai-image-generator", "image", "magic_hour_default"),
        "mapped": ("text-to-video", "video", "theirs"),
        "plain": (None, None, "magic_hour_default"),
    }
    for name in ("delete", "wait"):
        with pytest.raises(NoJobsError):
            load_situation(TaskKey("kinds", RUN_ID, name))
    put_task(
        "kinds", "plain", "failed", {"magic_hour_job": {"tool": "text-to-video", "charge": "unknown"}}, run_id=RUN_ID
    )
    plain = load_situation(TaskKey("kinds", RUN_ID, "plain"))
    assert (plain.tool, plain.kind, plain.is_lost) == ("text-to-video", "video", True)


def test_another_dags_task_is_not_found(task):
    """Run, task and map index are of that DAG, or there is none."""
    put_run(_other(), "other")
    for key in (
        TaskKey("other", RUN_ID, "make"),
        TaskKey(DAG_ID, "other", "make"),
        TaskKey(DAG_ID, RUN_ID, "theirs"),
        TaskKey(DAG_ID, RUN_ID, "make", 3),
    ):
        with pytest.raises(RecoveryError) as caught:
            load_situation(key)
        assert caught.value.status == 404


def _other():
    with DAG("other", schedule=None) as dag:
        MagicHourOperator(task_id="theirs", tool="ai-image-generator", request=PICTURE)
    return dag


@pytest.mark.parametrize(
    "value", ["text", ["odd"], {"charge": ["unknown"], "tool": 7, "kind": {}}, None, {"conn_id": 3}]
)
def test_odd_xcoms(task, value):
    """Anybody may have written them."""
    put_task(DAG_ID, "make", "failed", {"magic_hour_job": value, "magic_hour.intent.ABCDEFGH": value}, run_id=RUN_ID)
    found = load_situation(task.key)
    assert found.conn_id == "magic_hour_default"
    assert found.tags == ("ABCDEFGH",)


def test_a_database_that_is_away(task, monkeypatch):
    """A sentence, without its statements."""
    task.lose()

    def fail(*_, **__):
        raise sa.exc.OperationalError("SELECT secret", {}, Exception("gone"))

    monkeypatch.setattr(sa.orm.Session, "execute", fail)
    with pytest.raises(RecoveryError, match="database does not answer") as caught:
        load_situation(task.key)
    assert caught.value.status == 503
    assert "SELECT" not in str(caught.value)
