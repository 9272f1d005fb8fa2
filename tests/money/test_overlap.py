"""Attempts that overlap: one that was given up still runs, while a retry or a person has changed the record."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from helpers.attempts import TaskInstance
from magic_hour_provider.api import errors
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.execution.payment import preflight
from magic_hour_provider.ledger.intent import Intent
from magic_hour_provider.ledger.ledger import Ledger

VIDEO = {"style": {"prompt": "waves"}, "end_seconds": 3}


def once(monkeypatch, owner, name, meanwhile):
    """Let something happen just before the first call of a function, and only then."""
    real, calls = getattr(owner, name), []

    def first(*arguments, **options):
        calls.append(name)
        if len(calls) == 1:
            meanwhile()
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, first)


def test_an_attempt_overtaken_before_its_request_sends_nothing(airflow, either_ledger, monkeypatch):
    """Its own retry has paid while it still uploaded: one create, and the retry's record stands."""
    ti, made = TaskInstance(), {}
    once(monkeypatch, preflight, "resolve_inputs", lambda: made.update(airflow.attempt(airflow.operator(), ti)))
    with pytest.raises(AirflowException, match="another one wrote") as caught:
        airflow.attempt(airflow.operator(), ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert ti.record["job_id"] == made["id"]
    assert airflow.creates() == 1


def test_an_attempt_overtaken_while_it_waits_on_429_sends_nothing(airflow, either_ledger, monkeypatch):
    """There is no intent in that pause, so the retry pays: the first attempt must not pay again when it wakes."""
    ti, made = TaskInstance(), {}
    airflow.sim.inject_fault("status", status=429, retry_after=60)
    once(monkeypatch, airflow.clock, "sleep", lambda: made.update(airflow.attempt(airflow.operator(), ti)))
    with pytest.raises(AirflowException, match="another one wrote"):
        airflow.attempt(airflow.operator(), ti)
    assert ti.record["job_id"] == made["id"]
    assert airflow.creates() == 1


def test_a_record_that_was_missing_for_a_moment_is_not_paid_again(airflow, either_ledger, monkeypatch):
    """A read that says "no record" by mistake is held against the read before the request."""
    ti = TaskInstance()
    ti.next_attempt()
    airflow.start(airflow.operator("text-to-video", VIDEO, output_path=""), ti)
    real, reads = Ledger.read, []

    def read(ledger):
        reads.append(1)
        return None if len(reads) <= 1 else real(ledger)

    monkeypatch.setattr(Ledger, "read", read)
    with pytest.raises(AirflowException, match="another one wrote"):
        airflow.attempt(airflow.operator("text-to-video", VIDEO, output_path=""), ti)
    assert airflow.creates() == 1


def test_a_late_failure_does_not_hide_the_next_job(airflow, either_ledger, monkeypatch):
    """The given-up attempt learns that job 1 failed when job 2 is paid for: the record stays with job 2."""
    airflow.sim.inject_fault("job-outcome", status="error", code="unknown_error")
    ti = TaskInstance()
    sync = airflow.operator("text-to-video", VIDEO, output_path="", deferrable=False)
    again = airflow.operator("text-to-video", VIDEO, output_path="")

    def meanwhile():
        with pytest.raises(AirflowException):
            airflow.attempt(again, ti)
        ti.next_attempt()
        airflow.start(again, ti)

    once(monkeypatch, Ledger, "mark_ended", meanwhile)
    with pytest.raises(AirflowException):
        airflow.attempt(sync, ti)
    assert ti.record["job_id"] == airflow.sim.jobs()[-1]["id"]
    assert airflow.attempt(again, ti)["id"] == airflow.sim.jobs()[-1]["id"]
    assert airflow.creates() == 2


def test_a_late_delivery_does_not_hide_the_next_job(airflow, either_ledger, monkeypatch):
    """A person has regenerated while the given-up attempt still downloaded: the record stays with the new job."""
    ti, made = TaskInstance(), {}

    def meanwhile():
        ti.store.set("magic_hour.regenerate", True)
        ti.clear()
        made.update(airflow.attempt(airflow.operator(), ti))

    once(monkeypatch, Ledger, "mark_delivered", meanwhile)
    airflow.attempt(airflow.operator(), ti)
    assert ti.record["job_id"] == made["id"]
    assert airflow.creates() == 2


def test_a_late_refusal_does_not_delete_the_next_record(airflow, either_ledger, monkeypatch):
    """The given-up attempt's request is refused when another has paid: there is nothing of its own to take back."""
    ti, made, create, calls = TaskInstance(), {}, MagicHourClient.create, []

    def refused_late(*arguments):
        calls.append(1)
        if len(calls) == 1:
            ti.store.set("magic_hour.regenerate", True)
            ti.clear()
            made.update(airflow.attempt(airflow.operator(), ti))
            raise errors.RequestRejectedError("HTTP 422")
        return create(*arguments)

    monkeypatch.setattr(MagicHourClient, "create", refused_late)
    with pytest.raises(AirflowException, match="422"):
        airflow.attempt(airflow.operator(), ti)
    assert ti.record["job_id"] == made["id"]
    assert airflow.attempt(airflow.operator(), ti)["id"] == made["id"]
    assert airflow.creates() == 1


def test_two_paid_jobs_are_both_in_the_record(airflow, either_ledger, monkeypatch):
    """If two requests did cross, neither id is lost: the later one is recorded, the other in its history."""
    ti, made = TaskInstance(), {}

    def meanwhile():
        ti.store.set("magic_hour.regenerate", True)
        made.update(airflow.attempt(airflow.operator(), ti))

    once(monkeypatch, Intent, "complete", meanwhile)
    airflow.attempt(airflow.operator(), ti)
    ids = {ti.record["job_id"], *(past.get("job_id") for past in ti.record["history"])}
    assert {job["id"] for job in airflow.sim.jobs()} <= ids
    assert airflow.creates() == 2
