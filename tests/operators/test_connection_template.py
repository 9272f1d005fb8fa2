"""The connection as a template: rendered, checked, and kept for the job that was paid for with it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from airflow.sdk import DAG

from helpers.attempts import Connected, TaskInstance
from helpers.batches import Batches, rows
from helpers.samples import KEY
from magic_hour_provider.operators import audio, files, image, video
from magic_hour_provider.operators.batch import MagicHourBatchOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.sensors.job import MagicHourJobSensor
from magic_hour_provider.simulator import Simulator

VIDEO = {"end_seconds": 3, "style": {"prompt": "waves"}}
TEMPLATE = "{{ params.account }}"


@pytest.fixture
def other(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Another account behind the connection ``beta``; ``alpha`` is the first one."""
    with Simulator(api_key="mhk_live_other", clock=lambda: 1_800_000_000.0) as beta:
        for name, one, key in (("ALPHA", sim, KEY), ("BETA", beta, "mhk_live_other")):
            value = {"conn_type": "magic_hour", "password": key, "host": one.url}
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(value))
        yield beta


def rendered(operator: Any, ti: TaskInstance, account: Any) -> Any:
    """Return the task as a worker has it when the run's param is this."""
    operator = copy.copy(operator)
    operator.render_template_fields({**ti.context(operator), "params": {"account": account}})
    return operator


def make(**options: Any) -> MagicHourOperator:
    """Return an operator in a DAG."""
    with DAG("teaser", schedule=None):
        return MagicHourOperator(
            task_id="make", tool="text-to-video", request=VIDEO, magic_hour_conn_id=TEMPLATE, output_path="", **options
        )


def test_it_is_a_template_everywhere():
    """Of every operator and of the sensor, the typed ones too."""
    modules = (audio, files, image, video)
    classes = [one for module in modules for name, one in vars(module).items() if name.startswith("MagicHour")]
    classes = [one for one in classes if hasattr(one, "template_fields") and one.__name__.endswith("Operator")]
    assert len(classes) >= 35
    for one in (*classes, MagicHourBatchOperator, MagicHourJobSensor):
        assert "magic_hour_conn_id" in one.template_fields, one


def test_a_job_stays_with_its_connection(airflow: Connected, other: Simulator):
    """The param changes while the task is deferred, and again before its retry: the job is found all the same."""
    operator, ti = make(), TaskInstance()
    ti.next_attempt()
    deferred = airflow.start(rendered(operator, ti, "alpha"), ti)
    assert isinstance(deferred, TaskDeferred)
    assert deferred.trigger.serialize()[1]["conn_id"] == "alpha"
    result = airflow.resume(rendered(operator, ti, "beta"), ti, deferred)
    assert result["status"] == "complete"
    assert airflow.attempt(rendered(operator, ti, "beta"), ti)["id"] == result["id"]
    assert airflow.creates() == 1
    assert other.stats()["creates"]["accepted"] == 0


def test_a_retry_resumes_with_the_connection_that_paid(airflow: Connected, other: Simulator):
    """Its trigger too: another account's key would not find the job, and the task would end for good."""
    operator, ti = make(), TaskInstance()
    ti.next_attempt()
    airflow.start(rendered(operator, ti, "alpha"), ti)
    ti.next_attempt()
    deferred = airflow.start(rendered(operator, ti, "beta"), ti)
    assert deferred.trigger.serialize()[1]["conn_id"] == "alpha"
    assert airflow.resume(rendered(operator, ti, "beta"), ti, deferred)["status"] == "complete"
    assert airflow.creates() == 1
    assert other.stats()["creates"]["accepted"] == 0


def test_an_adopted_job_stays_with_the_connection_that_found_it(airflow: Connected, other: Simulator):
    """A person names it; the retry, for which the template gives another account, resumes it all the same."""
    lost, operator, ti = TaskInstance("lost"), make(), TaskInstance()
    lost.next_attempt()
    airflow.start(rendered(make(), lost, "alpha"), lost)
    ti.next_attempt()
    ti.store.set("magic_hour.adopt", lost.record["job_id"])
    assert isinstance(airflow.start(rendered(operator, ti, "alpha"), ti), TaskDeferred)
    assert airflow.attempt(rendered(operator, ti, "beta"), ti)["id"] == lost.record["job_id"]
    assert airflow.creates() == 1
    assert other.stats()["creates"]["accepted"] == 0


def test_a_connection_that_was_removed(airflow: Connected, other: Simulator, monkeypatch: pytest.MonkeyPatch):
    """What the task names now is used: it may be the same account under a new name."""
    operator, ti = make(), TaskInstance()
    ti.next_attempt()
    airflow.start(rendered(operator, ti, "alpha"), ti)
    monkeypatch.delenv("AIRFLOW_CONN_ALPHA")
    assert airflow.attempt(rendered(operator, ti, "magic_hour_default"), ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_after_a_clear_another_connection_pays(airflow: Connected, other: Simulator):
    """A clear with another account is another request."""
    operator, ti = make(), TaskInstance()
    airflow.attempt(rendered(operator, ti, "alpha"), ti)
    ti.clear()
    ti.next_attempt()
    deferred = airflow.start(rendered(operator, ti, "beta"), ti)
    assert deferred.trigger.serialize()[1]["conn_id"] == "beta"
    assert (airflow.creates(), other.stats()["creates"]["accepted"]) == (1, 1)


@pytest.mark.parametrize("account", [None, "", "  "])
def test_a_template_without_a_value(airflow: Connected, account: Any):
    """It fails for good before anything is paid, and names the argument."""
    ti = TaskInstance()
    ti.next_attempt()
    with pytest.raises(AirflowFailException, match="magic_hour_conn_id"):
        airflow.start(rendered(make(), ti, account), ti)
    assert airflow.creates() == 0


def test_a_batch_stays_with_its_connection(airflow: Connected, other: Simulator):
    """The param changes while its jobs are waited for: each part of the attempt polls the account that paid."""
    batches, ti = Batches(airflow), TaskInstance("campaign")
    with DAG("teaser", schedule=None):
        operator = batches.operator(
            rows(2), item_id="sku", magic_hour_conn_id=TEMPLATE, tool="text-to-video", request=VIDEO
        )
    ti.next_attempt()
    outcome: Any = batches.start(rendered(operator, ti, "alpha"), ti)
    while isinstance(outcome, TaskDeferred):
        outcome = batches.resume(rendered(operator, ti, "beta"), ti, outcome)
    assert (outcome["complete"], batches.deferrals > 0) == (2, True)
    assert (airflow.creates(), other.stats()["creates"]["accepted"]) == (2, 0)
