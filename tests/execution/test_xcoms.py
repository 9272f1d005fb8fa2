"""The XComs that a task leaves: few rows, and those that others look for."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowException, XCom
from airflow.sdk import DAG

from helpers.attempts import TaskInstance
from helpers.jobs import finished_job
from magic_hour_provider.links import MagicHourLink
from magic_hour_provider.operators.files import (
    MagicHourDeleteOperator,
    MagicHourDownloadOperator,
    MagicHourUploadOperator,
)
from magic_hour_provider.operators.image import MagicHourAIImageGeneratorOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.sensors.job import MagicHourJobSensor
from magic_hour_provider.xcoms import intent_xcom

RESULT = {"id", "kind", "tool", "name", "status", "credits_charged", "library_url", "file", "files", "media"}
IMAGE = {"tool": "ai-image-generator", "request": {"image_count": 1, "style": {"prompt": "x"}}}
JOB = {"job": {"kind": "image", "id": "abc"}}


def rows(ti, result) -> set[str]:
    """Return the keys in Airflow's table after a success: what was pushed, the result, and its keys, and the link."""
    return {*ti.xcoms, *result, "return_value", MagicHourLink().xcom_key}


def test_a_task_that_has_succeeded(airflow):
    """Thirteen rows: the result and its keys, one of which is behind the link, and two about the job."""
    result = airflow.attempt(airflow.operator(), ti := TaskInstance())
    assert set(result) == RESULT
    assert rows(ti, result) == {*RESULT, "return_value", "magic_hour_job", f"magic_hour.job.{result['id']}"}
    assert ti.xcoms["library_url"] == result["library_url"]
    assert airflow.creates() == 1


def test_a_task_that_has_deferred(airflow):
    """The key of its intent is gone as soon as that of its job is there."""
    operator = airflow.operator("text-to-video", {"end_seconds": 5, "style": {"prompt": "x"}})
    ti = TaskInstance()
    ti.next_attempt()
    deferral = airflow.start(operator, ti)
    job_id = ti.record["job_id"]
    assert set(ti.xcoms) == {"library_url", "magic_hour_job", f"magic_hour.job.{job_id}"}
    assert len(rows(ti, airflow.resume(operator, ti, deferral))) == 13
    assert airflow.creates() == 1


def test_a_sensor(airflow):
    """As many."""
    _, job = finished_job(airflow.sim)
    sensor = MagicHourJobSensor(task_id="wait", job={"kind": "image", "id": job.id}, output_path=str(airflow.output))
    result = airflow.attempt(sensor, ti := TaskInstance("wait"))
    assert len(rows(ti, result)) == 13
    assert airflow.creates() == 1


def test_the_name_of_a_job_that_may_exist(airflow):
    """Whoever reads the XCom of a lost response finds the job by its tag: after that attempt, and after the next."""
    ti = TaskInstance()
    airflow.sim.inject_fault("close-after-accept", endpoint="create", count=1)
    for _ in range(2):
        with pytest.raises(AirflowException):
            airflow.attempt(airflow.operator(), ti)
        said = ti.xcoms["magic_hour_job"]
        assert (said["status"], said["name"]) == ("unknown", airflow.sim.jobs()[0]["name"])
        assert said["name"].endswith(f"#{ti.record['key']}")
    assert airflow.creates() == 1


def test_an_intent_that_a_webhook_may_still_need(airflow):
    """While nobody knows whether there is a job its key stays, and that of a request which was sent again goes too."""
    ti = TaskInstance()
    airflow.sim.inject_fault("close-after-accept", endpoint="create", count=1)
    operator = airflow.operator(on_unknown_submission="resubmit")
    with pytest.raises(AirflowException):
        airflow.attempt(operator, ti)
    assert intent_xcom(ti.record["key"]) in ti.xcoms
    result = airflow.attempt(operator, ti)
    assert [key for key in ti.xcoms if key.startswith("magic_hour.intent.")] == []
    assert len(rows(ti, result)) == 13
    assert airflow.creates() == 2  # the user has accepted that


@pytest.mark.parametrize("broken", ["delete", "push"])
def test_xcoms_that_cannot_be_written(airflow, monkeypatch, broken):
    """The job is not touched by that; and while the job's key is not there, that of the intent stays."""
    ti = TaskInstance()
    if broken == "delete":
        monkeypatch.setattr(XCom, "delete", lambda **_: (_ for _ in ()).throw(RuntimeError("no API server")))
    else:
        push = ti.xcom_push
        ti.xcom_push = lambda key, value: push(key, value) if ".job." not in key else 1 / 0
    result = airflow.attempt(airflow.operator(), ti)
    assert result["status"] == "complete"
    assert intent_xcom(ti.record["key"]) in ti.xcoms
    assert airflow.creates() == 1


@pytest.mark.parametrize(
    ("operator", "arguments"),
    [
        (MagicHourOperator, IMAGE),
        (MagicHourAIImageGeneratorOperator, IMAGE["request"]),
        (MagicHourUploadOperator, {"source": "/a.png"}),
        (MagicHourDownloadOperator, JOB),
        (MagicHourDeleteOperator, JOB),
        (MagicHourJobSensor, JOB),
    ],
)
def test_multiple_outputs_is_the_users(operator, arguments):
    """On by default; off where the task or its DAG says so."""
    with DAG("defaults", schedule=None, default_args={"multiple_outputs": False}) as dag:
        operator(task_id="as_the_dag", **arguments)
        operator(task_id="own", multiple_outputs=True, **arguments)
        mapped = operator.partial(task_id="mapped").expand_kwargs([arguments])
    assert [dag.get_task(name).multiple_outputs for name in ("as_the_dag", "own")] == [False, True]
    assert mapped.unmap(arguments).multiple_outputs is False
    assert operator(task_id="alone", **arguments).multiple_outputs is True
    assert operator(task_id="off", multiple_outputs=False, **arguments).multiple_outputs is False
