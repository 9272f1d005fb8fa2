"""After a 502: only the service's own, an unchanged balance and a quiet DAG run allow a second request."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from helpers.attempts import Connected, TaskInstance
from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.times import format_time

PICTURE = {"image_count": 1, "style": {"prompt": "a lighthouse"}}


def dag_with_another(*, mapped: bool = False) -> DAG:
    """Make a DAG that has one more paying task, `other`, and one that pays for nothing."""
    from airflow.providers.standard.operators.empty import EmptyOperator

    with DAG("teaser") as dag:
        EmptyOperator(task_id="free")
        given: dict[str, Any] = {"task_id": "make" if mapped else "other", "tool": "ai-image-generator"}
        if mapped:
            MagicHourOperator.partial(**given).expand(request=[PICTURE, PICTURE])
        else:
            MagicHourOperator(**given, request=PICTURE)
    return dag


def unknown(airflow: Connected, ti: TaskInstance, dag: DAG, refused: int) -> None:
    """Run an attempt that sends the request no more often than this, and pays for nothing."""
    with pytest.raises(AirflowFailException, match="It is unknown whether"):
        airflow.attempt(airflow.operator(dag=dag), ti)
    assert airflow.sim.stats()["creates"] == {"accepted": 0, "refused": refused}


@pytest.mark.parametrize(
    "state", ["running", "deferred", "queued", "scheduled", "up_for_retry", "failed", "restarting"]
)
def test_another_task_that_may_be_refunded_hides_a_charge(airflow, state):
    """While one of the run's paying tasks runs, waits or has failed, an unchanged balance allows nothing."""
    ti = TaskInstance()
    ti.other_states = {"other": {"other": state}}
    airflow.sim.inject_fault("status", status=502)
    unknown(airflow, ti, dag_with_another(), refused=1)


@pytest.mark.parametrize("state", [None, "upstream_failed", "skipped"])
@pytest.mark.parametrize("had_job", [True, False])
def test_another_task_is_quiet_only_if_it_never_had_a_job(airflow, state, had_job):
    """A cleared task has no state either: what it pushed of a job says that it was one."""
    ti = TaskInstance()
    ti.other_states = {"other": {"other": state}}
    if had_job:
        ti.other_jobs = {("other", -1): {"status": "rendering"}}
    airflow.sim.inject_fault("status", status=502)
    if had_job:
        unknown(airflow, ti, dag_with_another(), refused=1)
        return
    assert airflow.attempt(airflow.operator(dag=dag_with_another()), ti)["status"] == "complete"
    assert airflow.creates() == 1


@pytest.mark.parametrize(
    ("status", "ago", "quiet"),
    [("complete", 600, True), ("complete", 5, False), ("queued", 600, False), (None, 0, False)],
)
def test_another_task_that_succeeded(airflow, status, ago, quiet):
    """A job complete well before is settled; one not waited for, or complete just now, may still change the balance."""
    ti = TaskInstance()
    ti.other_states = {"other": {"other": "success"}}
    if status is not None:
        job = {"status": status, "ended_at": format_time(airflow.clock.now() - ago)}
        ti.other_jobs = {("other", -1): job}
    airflow.sim.inject_fault("status", status=502)
    if not quiet:
        unknown(airflow, ti, dag_with_another(), refused=1)
        return
    assert airflow.attempt(airflow.operator(dag=dag_with_another()), ti)["status"] == "complete"
    assert airflow.creates() == 1


@pytest.mark.parametrize(("sibling", "quiet"), [("running", False), (None, True)])
def test_a_mapped_sibling_counts_too(airflow, sibling, quiet):
    """The other instances of the same task pay as other tasks do."""
    ti = TaskInstance(map_index=0)
    ti.other_states = {"make": {"make_1": sibling}}
    dag = dag_with_another(mapped=True)
    operator = airflow.operator(task_id="unmapped", dag=dag)
    operator.task_id = "make"
    dag.task_dict.pop("unmapped")
    airflow.sim.inject_fault("status", status=502)
    if quiet:
        assert airflow.attempt(operator, ti)["status"] == "complete"
        assert airflow.creates() == 1
        return
    with pytest.raises(AirflowFailException, match="It is unknown whether"):
        airflow.attempt(operator, ti)
    assert airflow.sim.stats()["creates"] == {"accepted": 0, "refused": 1}


@pytest.mark.parametrize("answer", [None, {}, {"another run": {}}])
def test_states_that_cannot_be_asked_for_are_no_silence(airflow, monkeypatch, answer):
    """Without an answer of Airflow's that names this task, which runs, nothing is known of the other tasks."""

    def away(*_, **__):
        if answer is None:
            raise ConnectionError("the API server is away")
        return answer

    monkeypatch.setattr(TaskInstance, "get_task_states", away)
    airflow.sim.inject_fault("status", status=502)
    unknown(airflow, TaskInstance(), DAG("teaser"), refused=1)


def test_a_setting_turns_the_second_request_off(airflow):
    """With it off, a 502 is unknown at once."""
    airflow.setting("resend_after_bad_gateway", "False")
    airflow.sim.inject_fault("status", status=502)
    unknown(airflow, TaskInstance(), DAG("teaser"), refused=1)
    assert 30.0 not in airflow.clock.waits


@pytest.mark.parametrize("html", [True, False])
def test_a_502_of_a_made_job_beside_anothers_refund_pays_once(airflow, html):
    """The found case: a job is made, the answer is a 502, and another task's refund restores the balance."""
    airflow.sim.inject_fault("job-outcome", status="error", code="unknown_error")
    with MagicHourClient(api_key=KEY, base_url=airflow.sim.url) as client:
        client.create("ai-image-generator", PICTURE)
    airflow.sim.inject_fault("accept-then-status", status=502, html=html)
    ti = TaskInstance()
    ti.other_states = {"other": {"other": "deferred"}}
    balance = 100_000 - airflow.sim.stats()["credits"]["charged"]
    with pytest.raises(AirflowFailException, match=f"The balance before was {balance} credits"):
        airflow.attempt(airflow.operator(request=PICTURE, dag=dag_with_another()), ti)
    assert airflow.creates() == 2
