"""A lost response that a webhook recovers: the job that it identifies is resumed, and never paid for again."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException

from helpers.attempts import TaskInstance
from helpers.stores import LEDGERS, Store
from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.ledger.decision import Decision, RetryState
from magic_hour_provider.ledger.intent import Intent
from magic_hour_provider.ledger.ledger import Ledger
from magic_hour_provider.ledger.places import clears
from magic_hour_provider.ledger.record import KEY
from magic_hour_provider.ledger.tag import find_tag


def lost(words="[[lost-response]]"):
    """Return the request of a picture whose response is lost although the job is made."""
    return {"image_count": 1, "style": {"prompt": f"x {words}"}}


def name(sim, store, ti=None):
    """Do what the API server does when a delivery names the job of an intent.

    :param ti: whose XComs get the job's key.
    """
    (job,) = sim.jobs()
    record = store.get(KEY)
    assert (record["state"], record["key"]) == ("intent", find_tag(job["name"]))
    completed = {"state": "submitted", "job_id": job["id"], "submitted_at": sim.now(), "credits_charged": 5}
    store.set(KEY, record | completed)
    if ti is not None:
        ti.xcom_push(f"magic_hour.job.{job['id']}", {"tool": record["tool"]})


@pytest.fixture
def hooked(airflow):
    """The connection has a webhook secret."""
    airflow.connect(extra=json.dumps({"webhook_secret": "whsec_testsonly"}))
    return airflow


def test_identified_before_the_response_was_given_up(hooked):
    """The attempt itself resumes the job: after a 502, which it does not believe, a webhook has time to identify it."""
    ti = TaskInstance()
    sleep, pauses = hooked.clock.sleep, []

    def identify(seconds):
        if not pauses:
            name(hooked.sim, ti.store)
        pauses.append(seconds)
        sleep(seconds)

    hooked.clock.sleep = identify
    result = hooked.attempt(hooked.operator(request=lost("[[accepted:502]]"), dag=DAG("teaser")), ti)
    assert (result["status"], result["id"]) == ("complete", ti.record["job_id"])
    assert pauses[0] == 30
    assert hooked.creates() == 1


@pytest.mark.parametrize("on_unknown", ["fail", "resubmit"])
@pytest.mark.parametrize("has_files", [True, False])
def test_identified_and_then_cleared_with_its_state(hooked, monkeypatch, tmp_path, has_files, on_unknown):
    """The API server writes no files: the job's key completes their intent, or names the job where there are none."""
    monkeypatch.setattr(clears, "DISCARDED_SINCE", (3, 0, 0))
    if has_files:
        hooked.setting("ledger_path", str(tmp_path / "ledger"))
    ti = TaskInstance()
    operator = hooked.operator(request=lost(), on_unknown_submission=on_unknown)
    with pytest.raises(AirflowException):
        hooked.attempt(operator, ti)
    name(hooked.sim, ti.store, ti)
    job_id = ti.record["job_id"]
    ti.clear()
    if has_files:
        assert hooked.attempt(operator, ti)["id"] == job_id
    else:
        with pytest.raises(AirflowException, match=f"had Magic Hour job {job_id}"):
            hooked.attempt(operator, ti)
    assert hooked.creates() == 1


@pytest.mark.parametrize("tag_job_names", ["none", "generated"])
def test_a_job_that_no_webhook_could_identify(hooked, tag_job_names):
    """Its name does not say whose it is: no webhook is promised, the attempt fails for good, and one was paid for."""
    hooked.setting("tag_job_names", tag_job_names)
    with pytest.raises(AirflowFailException, match="It is unknown whether") as caught:
        hooked.attempt(hooked.operator(request=lost() | {"name": "mine"}), TaskInstance())
    assert "webhook" not in str(caught.value)
    assert hooked.creates() == 1


def test_identified_before_the_next_attempt(hooked):
    """The failure may be retried, and says why; the retry pays nothing and succeeds."""
    ti, operator = TaskInstance(), hooked.operator(request=lost())
    with pytest.raises(AirflowException, match="a retry resumes the job if a webhook has identified it") as caught:
        hooked.attempt(operator, ti)
    assert not isinstance(caught.value, AirflowFailException)
    name(hooked.sim, ti.store)
    result = hooked.attempt(operator, ti)
    assert (result["status"], result["id"]) == ("complete", hooked.sim.jobs()[0]["id"])
    assert hooked.creates() == 1


def test_not_identified_by_then(hooked):
    """The retry sends nothing and fails for good; a delivery that comes later still finds the task, and a clear."""
    ti, operator = TaskInstance(), hooked.operator(request=lost())
    with pytest.raises(AirflowException):
        hooked.attempt(operator, ti)
    key = ti.record["key"]
    with pytest.raises(AirflowFailException, match="It is unknown whether"):
        hooked.attempt(operator, ti)
    assert f"magic_hour.intent.{key}" in ti.xcoms
    name(hooked.sim, ti.store)
    ti.clear()
    assert hooked.attempt(operator, ti)["status"] == "complete"
    assert hooked.creates() == 1


def test_without_a_webhook_secret_none_will_identify_it(airflow):
    """The failure is final."""
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match=r"Nothing is sent again by itself\."):
        airflow.attempt(airflow.operator(request=lost()), ti)
    assert airflow.creates() == 1


@pytest.mark.parametrize("either_ledger", LEDGERS[1:], indirect=True)
def test_a_record_that_the_api_server_cannot_reach(hooked, either_ledger):
    """The storage ledger is not Airflow's: the failure is final, as nobody could complete the record."""
    with pytest.raises(AirflowFailException, match=r"Nothing is sent again by itself\."):
        hooked.attempt(hooked.operator(request=lost()), TaskInstance())
    assert hooked.creates() == 1


def test_without_any_record_there_is_no_retry(hooked):
    """A retry would know nothing of the request and pay again."""
    ti = TaskInstance()
    ti.store = None
    with pytest.raises(AirflowFailException):
        hooked.attempt(hooked.operator(request=lost(), output_path=""), ti)
    assert hooked.creates() == 1


def test_an_identified_job_is_not_withdrawn():
    """Even if Magic Hour says at the same time that it refused the request: the record of a job stays."""
    store, tool = Store(), get_tool("ai-image-generator")
    ledger = Ledger(store, RetryState())
    intent = Intent(ledger, Decision(), tool, {}, tag="ABCDEFGH")
    intent.write()
    store.set(KEY, store.get(KEY) | {"state": "submitted", "job_id": "paid"})
    intent.withdraw()
    assert store.get(KEY)["job_id"] == "paid"
