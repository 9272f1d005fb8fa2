"""The sensor against the simulator, in every mode."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

import pytest
from airflow.exceptions import AirflowRescheduleException, TaskDeferralError
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)
from airflow.sdk import DAG

from helpers.attempts import TaskInstance
from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.operators.files import MagicHourDownloadOperator
from magic_hour_provider.sensors.job import MagicHourJobSensor


def submit(sim, tool: str = "text-to-video") -> str:
    """Submit a job elsewhere and return its id."""
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        return client.create(tool, {"end_seconds": 3, "style": {"prompt": "x"}}).id


def sensor(airflow, job, **options) -> MagicHourJobSensor:
    """Make a sensor."""
    return MagicHourJobSensor(task_id="make", job=job, **({"output_path": str(airflow.output / "out")} | options))


def test_deferred(airflow):
    """By default it waits in the triggerer, and returns the whole result with its files."""
    job_id, ti = submit(airflow.sim), TaskInstance()
    result = airflow.attempt(sensor(airflow, {"kind": "video", "id": job_id}), ti)
    assert (result["id"], result["kind"], result["tool"], result["status"]) == (job_id, "video", "video", "complete")
    assert Path(result["file"]).name == f"video-{job_id}-1.mp4"
    assert airflow.events == [{"kind": "video", "id": job_id, "status": "complete", "error_code": None}]
    assert ti.xcoms["library_url"] == result["library_url"]
    assert airflow.creates() == 1


def test_a_library_address_and_a_result(airflow):
    """A job is named by its page, or by an earlier task's result, whose tool then names the files."""
    operator = airflow.operator(
        "text-to-video", {"end_seconds": 3, "style": {"prompt": "x"}}, wait_for_completion=False
    )
    made = airflow.attempt(operator, TaskInstance())
    by_page = airflow.attempt(sensor(airflow, made["library_url"], output_path=""), TaskInstance())
    by_result = airflow.attempt(sensor(airflow, made), TaskInstance())
    assert by_page["id"] == by_result["id"] == made["id"]
    assert by_page["files"] == []
    assert Path(by_result["file"]).name.startswith("text-to-video-")
    assert airflow.creates() == 1


def test_a_complete_job_is_returned_at_once(airflow):
    """The first poll suffices: no deferral."""
    job_id = submit(airflow.sim)
    airflow.sim.advance(600)
    assert airflow.attempt(sensor(airflow, {"kind": "video", "id": job_id}), TaskInstance())["status"] == "complete"
    assert airflow.events == []
    assert airflow.creates() == 1


def test_poke(airflow, monkeypatch):
    """In poke mode the worker waits."""
    job_id = submit(airflow.sim)
    monkeypatch.setattr(time, "sleep", airflow.clock.sleep)
    one = sensor(airflow, {"kind": "video", "id": job_id}, mode="poke", poke_interval=20)
    assert one.deferrable is False
    assert airflow.attempt(one, TaskInstance())["status"] == "complete"
    assert airflow.clock.waits == [20, 20, 20]
    assert airflow.creates() == 1


def test_retry_after_is_obeyed_between_pokes(airflow, monkeypatch):
    """In poke and reschedule mode the next poll is no sooner than the service asks for."""
    job_id = submit(airflow.sim)
    monkeypatch.setattr(time, "sleep", airflow.clock.sleep)
    airflow.sim.inject_fault("status", endpoint="get-job", status=429, retry_after=45)
    one = sensor(airflow, {"kind": "video", "id": job_id}, mode="poke", poke_interval=20)
    assert airflow.attempt(one, TaskInstance())["status"] == "complete"
    assert airflow.clock.waits == [45, 20]
    airflow.sim.inject_fault("status", endpoint="get-job", status=503, retry_after=60)
    again = sensor(airflow, {"kind": "video", "id": job_id}, mode="reschedule", poke_interval=20)
    before = datetime.now(UTC)
    with pytest.raises(AirflowRescheduleException) as caught:
        airflow.attempt(again, TaskInstance())
    assert 59 < (caught.value.reschedule_date - before).total_seconds() < 70
    assert airflow.creates() == 1


def test_answers_that_stay_unreadable(airflow, monkeypatch):
    """In poke mode a host that is not Magic Hour's fails the sensor after a dozen polls, not after days."""
    job_id = submit(airflow.sim)
    monkeypatch.setattr(time, "sleep", airflow.clock.sleep)
    airflow.sim.inject_fault("status", endpoint="get-job", status=200, html=True, count=None)
    one = sensor(airflow, {"kind": "video", "id": job_id}, mode="poke", poke_interval=60)
    with pytest.raises(AirflowException, match="is not Magic Hour's JSON"):
        airflow.attempt(one, TaskInstance())
    assert airflow.clock.waits == [60] * 11
    deferred = sensor(airflow, {"kind": "video", "id": job_id})
    with pytest.raises(AirflowException, match="is not Magic Hour's JSON"):
        airflow.attempt(deferred, TaskInstance())
    assert [event["status"] for event in airflow.events] == ["refused"]
    assert airflow.creates() == 1


def test_the_trigger_knows_the_age_of_the_job(airflow):
    """What a sensor waits for may be old: its age, not the sensor's, decides the polling interval."""
    airflow.sim.inject_fault("job-outcome", status="stuck")
    job_id = submit(airflow.sim)
    made = airflow.sim.now()
    airflow.sim.advance(3600)
    deferred = airflow.start(sensor(airflow, {"kind": "video", "id": job_id}), TaskInstance())
    assert deferred.trigger.submitted_at == pytest.approx(made, abs=1)
    assert deferred.trigger.deferred_at == pytest.approx(made + 3600, abs=1)
    assert airflow.creates() == 1


def test_reschedule_leaves_airflow_time(airflow):
    """A sensor that comes back within seconds is failed by Airflow 3.3.2 (seen): the interval is at least 10 s."""
    assert sensor(airflow, "x", mode="reschedule", poke_interval=5).poke_interval == 10
    assert sensor(airflow, "x", mode="reschedule", poke_interval=30).poke_interval == 30
    assert sensor(airflow, "x", mode="poke", poke_interval=5).poke_interval == 5


def test_reschedule(airflow):
    """In reschedule mode each poll is a run of its own."""
    job_id, ti = submit(airflow.sim), TaskInstance()
    one = sensor(airflow, {"kind": "video", "id": job_id}, mode="reschedule", poke_interval=60)
    with pytest.raises(AirflowRescheduleException):
        airflow.attempt(one, ti)
    airflow.sim.advance(60)
    assert airflow.attempt(one, ti)["status"] == "complete"
    assert airflow.creates() == 1


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": "error", "code": "unknown_error"}, "failed with unknown_error"),
        ({"status": "canceled"}, "was canceled"),
        ({"status": "gone"}, "Magic Hour finds no video job .*This task pays for nothing"),
    ],
)
def test_a_job_that_ended_badly(airflow, monkeypatch, deferrable, fault, words):
    """The sensor fails for good with the job's sentence: another poll would see the same."""
    airflow.sim.inject_fault("job-outcome", **fault)
    job_id = submit(airflow.sim)
    monkeypatch.setattr(time, "sleep", airflow.clock.sleep)
    ti = TaskInstance()
    ti.start_date = __import__("datetime").datetime.fromtimestamp(airflow.clock.now(), __import__("datetime").UTC)
    one = sensor(airflow, {"kind": "video", "id": job_id}, deferrable=deferrable)
    with pytest.raises(AirflowFailException, match=words):
        airflow.attempt(one, ti)
    assert "pays for one new job" not in ti.xcoms["magic_hour_job"]["error"]
    assert airflow.creates() == 1


def test_soft_fail(airflow):
    """``soft_fail`` skips, before and after a deferral."""
    airflow.sim.inject_fault("job-outcome", status="error", count=2)
    first = sensor(airflow, {"kind": "video", "id": submit(airflow.sim)}, soft_fail=True)
    with pytest.raises(AirflowSkipException):
        airflow.attempt(first, TaskInstance())
    second = sensor(airflow, {"kind": "video", "id": submit(airflow.sim)}, soft_fail=True)
    airflow.sim.advance(600)
    with pytest.raises(AirflowSkipException):
        airflow.attempt(second, TaskInstance())
    assert airflow.creates() == 2


def test_timeout(airflow):
    """A deferred sensor ends as sensors do, and says that the job keeps running."""
    airflow.sim.inject_fault("job-outcome", status="stuck")
    one = sensor(airflow, {"kind": "video", "id": submit(airflow.sim)}, timeout=120)
    with pytest.raises(AirflowSensorTimeout, match="The job keeps running"):
        airflow.attempt(one, TaskInstance())
    assert airflow.creates() == 1


@pytest.mark.parametrize(
    "job", ["abc", {"id": "abc"}, {"kind": "text", "id": "abc"}, {"kind": "video", "id": "a/b"}, 5]
)
def test_what_names_no_job(airflow, job):
    """A bare id is refused with the reason."""
    with pytest.raises(AirflowFailException):
        airflow.attempt(sensor(airflow, job), TaskInstance())
    assert airflow.sim.stats()["polls"] == 0
    assert airflow.creates() == 0


def test_a_wrong_key(airflow):
    """A refused poll fails at once."""
    airflow.connect(password="mhk_live_wrong")
    with pytest.raises(AirflowFailException, match="does not accept the API key"):
        airflow.attempt(sensor(airflow, {"kind": "video", "id": "abc"}), TaskInstance())
    assert airflow.creates() == 0


def test_execution_timeout(airflow):
    """Airflow's limit of one attempt ends a deferred sensor too, if it is earlier than the sensor's own timeout."""
    airflow.sim.inject_fault("job-outcome", status="stuck")
    one = sensor(airflow, {"kind": "video", "id": submit(airflow.sim)}, execution_timeout=timedelta(seconds=90))
    ti, start = TaskInstance(), airflow.clock.now()
    ti.start_date = datetime.fromtimestamp(start - 30, UTC)
    with pytest.raises(AirflowTaskTimeout, match=r"execution_timeout did\. The job keeps running; nothing was paid"):
        airflow.attempt(one, ti)
    assert airflow.clock.now() - start == pytest.approx(60, abs=5)
    later = sensor(
        airflow, {"kind": "video", "id": airflow.events[0]["id"]}, timeout=60, execution_timeout=timedelta(hours=1)
    )
    with pytest.raises(AirflowSensorTimeout):
        airflow.attempt(later, TaskInstance())
    assert airflow.creates() == 1


@pytest.mark.parametrize("mode", [None, "poke"])
def test_soft_fail_skips_no_trouble(airflow, monkeypatch, mode):
    """``soft_fail`` is about the job: a wrong key or a broken storage fails the sensor, and is retried where it may."""
    monkeypatch.setattr(time, "sleep", airflow.clock.sleep)
    job = {"kind": "video", "id": submit(airflow.sim)}
    options = {"soft_fail": True} | ({"mode": mode} if mode else {})
    airflow.sim.advance(600)
    airflow.sim.inject_fault("status", endpoint="download", status=500, count=None)
    with pytest.raises(AirflowException) as broken:
        airflow.attempt(sensor(airflow, job, **options), TaskInstance())
    assert not isinstance(broken.value, AirflowFailException | AirflowSkipException)
    airflow.connect(password="mhk_live_wrong")
    with pytest.raises(AirflowFailException, match="does not accept the API key"):
        airflow.attempt(sensor(airflow, job, **options), TaskInstance())
    assert airflow.creates() == 1


def test_soft_fail_after_a_deferral(airflow):
    """After a deferral, too, trouble fails and is retried, and the end of the sensor's time skips."""
    one = sensor(airflow, {"kind": "video", "id": submit(airflow.sim)}, soft_fail=True)
    airflow.sim.inject_fault("status", endpoint="download", status=500, count=None)
    with pytest.raises(AirflowException) as broken:
        airflow.attempt(one, TaskInstance())
    assert not isinstance(broken.value, AirflowFailException | AirflowSkipException)
    assert len(airflow.events) == 1
    with pytest.raises(TaskDeferralError):
        one.resume_execution("__fail__", {"error": "Trigger failure"}, TaskInstance().context(one))
    airflow.sim.inject_fault("job-outcome", status="stuck", count=None)
    for options in ({"timeout": 60}, {"execution_timeout": timedelta(seconds=60)}):
        late = sensor(airflow, {"kind": "video", "id": submit(airflow.sim)}, soft_fail=True, **options)
        with pytest.raises(AirflowSkipException):
            airflow.attempt(late, TaskInstance())
    assert airflow.creates() == 3


def test_a_mode_among_the_default_arguments(airflow):
    """A mode of the DAG's ``default_args`` is as good as one given to the sensor itself."""
    with DAG("d", default_args={"mode": "reschedule"}):
        assert sensor(airflow, "x").deferrable is False
    with DAG("e", default_args={"mode": "reschedule", "deferrable": True}):
        assert sensor(airflow, "x").deferrable is True
    assert sensor(airflow, "x", default_args={"mode": "poke"}).deferrable is False
    assert sensor(airflow, "x").deferrable is True


@pytest.mark.parametrize("mode", [None, "poke", "reschedule"])
@pytest.mark.parametrize("soft_fail", [False, True])
def test_an_id_that_nobody_has_submitted(airflow, monkeypatch, mode, soft_fail):
    """A mistyped id is said at once, without a word of a payment; it is no failure of a job, which would be skipped."""
    monkeypatch.setattr(time, "sleep", airflow.clock.sleep)
    options = {"soft_fail": soft_fail} | ({"mode": mode} if mode else {})
    ti, started = TaskInstance(), airflow.clock.now()
    ti.start_date = datetime.fromtimestamp(started, UTC)
    with pytest.raises(AirflowFailException, match="finds no video job mistyped1: the id is mistyped") as caught:
        airflow.attempt(sensor(airflow, {"kind": "video", "id": "mistyped1"}, **options), ti)
    assert "This task pays for nothing." in str(caught.value)
    assert "was paid" not in str(caught.value)
    assert (ti.xcoms["magic_hour_job"]["error_code"], ti.xcoms["magic_hour_job"]["charge"]) == (
        "job_not_found",
        "none",
    )
    assert airflow.clock.now() - started <= 15
    assert airflow.creates() == 0


@pytest.mark.parametrize("as_result", [False, True])
def test_a_job_that_its_route_does_not_know_yet(airflow, as_result):
    """A job that was submitted just now may be too new for its route: it is waited for all the same."""
    job = {"kind": "video", "id": submit(airflow.sim)} | ({"status": "queued"} if as_result else {})
    airflow.sim.inject_fault("status", endpoint="get-job", status=404, count=3 if as_result else 1)
    ti = TaskInstance()
    ti.start_date = datetime.fromtimestamp(airflow.clock.now(), UTC)
    assert airflow.attempt(sensor(airflow, job), ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_a_job_is_named_with_blanks_or_by_a_number(airflow):
    """What is copied or comes from JSON: blanks around the address or the id, and an id that is a number."""
    job_id = submit(airflow.sim)
    airflow.sim.advance(600)
    for job in (f" https://magichour.ai/my-library?videoId={job_id}\n", {"kind": "video ", "id": f" {job_id} "}):
        assert airflow.attempt(sensor(airflow, job, output_path=""), TaskInstance())["id"] == job_id
    with pytest.raises(AirflowFailException, match="finds no video job 5"):
        airflow.attempt(sensor(airflow, {"kind": "video", "id": 5}), TaskInstance())
    assert airflow.creates() == 1


def test_the_text_of_a_result_names_no_job(airflow):
    """A template makes text of a task's result: the message says what to give instead."""
    text = str({"id": "abc", "kind": "video", "status": "queued"})
    with pytest.raises(AirflowFailException, match=r"names no Magic Hour job.*give task\.output itself"):
        airflow.attempt(sensor(airflow, text), TaskInstance())
    assert airflow.creates() == 0


@pytest.mark.parametrize("job", [None, "None", " "])
@pytest.mark.parametrize("owner", [MagicHourJobSensor, MagicHourDownloadOperator])
def test_a_job_that_nobody_named(airflow, owner, job):
    """What an earlier task without a result gives, and a template without a value, is called that."""
    with pytest.raises(AirflowFailException, match=r"No job is named: the earlier task.*template has no value\. "):
        airflow.attempt(owner(task_id="wait", job=job, output_path="/media"), TaskInstance())
    assert airflow.creates() == 0


def test_a_job_without_an_id(airflow):
    """The dict is shown, and no id that nobody wrote."""
    with pytest.raises(AirflowFailException, match=r"\{'kind': 'video'\}\" names no Magic Hour job"):
        airflow.attempt(sensor(airflow, {"kind": "video"}), TaskInstance())
    assert airflow.creates() == 0


@pytest.mark.parametrize("owner", [MagicHourJobSensor, MagicHourDownloadOperator])
def test_a_folder_from_an_enum_is_its_value(airflow, owner):
    """As of the operator that pays."""

    class Folder(str, Enum):  # noqa: UP042 (as users write it)
        MEDIA = "/media"

    assert owner(task_id="wait", job={"kind": "video", "id": "x"}, output_path=Folder.MEDIA).output_path == "/media"
    assert airflow.creates() == 0


def test_a_truth_value_as_text(airflow):
    """``"false"`` from a variable would count as true."""
    with pytest.raises(InvalidInputError, match="deferrable must be True or False; it is the text 'false'"):
        sensor(airflow, "x", deferrable="false")


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_missing_connection_is_reported(airflow, deferrable):
    """People and views read why the sensor failed, and no log."""
    airflow.disconnect()
    ti = TaskInstance()
    ti.start_date = datetime.fromtimestamp(airflow.clock.now(), UTC)
    with pytest.raises(AirflowFailException, match="There is no Airflow connection") as caught:
        airflow.attempt(sensor(airflow, {"kind": "video", "id": "x1"}, deferrable=deferrable), ti)
    assert ti.xcoms["magic_hour_job"]["error"] == str(caught.value)
    assert airflow.creates() == 0
