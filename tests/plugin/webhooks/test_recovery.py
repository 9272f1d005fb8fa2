"""A job whose response was lost is given to the task that paid for it, by the tag in its name."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from magic_hour_provider.ledger.fingerprint import compute_fingerprint
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.ledger.tag import find_tag, make_job_name, new_tag

pytestmark = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow before 3.3 has no task state store")

KEY = "ABCDEFGH"
NAME = f"teaser.make manual #{KEY}"


@pytest.mark.parametrize("type_", ["video.started", "video.completed"])
def test_an_intent_gets_its_job(airflow_rows, webhooks, type_):
    """The record is as the worker would have written it, so that the next attempt resumes the job."""
    airflow_rows.intent(KEY)
    before = Record.read(airflow_rows.record())
    created = "2026-11-25T08:00:00Z"
    webhooks.deliver(type_, "paid", name=NAME, credits_charged=30, created_at=created)
    after = Record.read(airflow_rows.record())
    assert (after.state, after.job_id, after.credits_charged) == ("submitted", "paid", 30)
    assert after.submitted_at == 1795593600.0
    assert (after.fingerprint, after.tag, after.name) == (before.fingerprint, before.tag, before.name)
    # A clear may discard the record: by this key, as the task's own, the next attempt knows the job then.
    assert any("magic_hour.job.paid" in row for row in airflow_rows.contents()["xcom"])


def test_a_job_whose_key_cannot_be_written(airflow_rows, webhooks, monkeypatch, caplog):
    """The record is what counts."""

    def busy(*_, **__):
        raise RuntimeError("the task is pushing it")

    airflow_rows.intent(KEY)
    monkeypatch.setattr(airflow_rows.xcom, "set", busy)
    webhooks.deliver("video.started", "paid", name=NAME)
    assert airflow_rows.record()["job_id"] == "paid"
    assert "The XCom of Magic Hour job paid could not be written." in caplog.messages


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "submitted", "job_id": "job0"},
        {"state": "delivered", "job_id": "job0"},
        {"state": "failed", "job_id": "job0"},
        {"state": "ended", "job_id": "job0"},
        {"key": "HGFEDCBA"},
        {"kind": "image"},
        {"version": 2},
    ],
    ids=str,
)
def test_what_is_no_intent_of_that_job_is_left_alone(airflow_rows, webhooks, fields):
    """A record that has its job, one of a later attempt, of another kind or of a later version."""
    airflow_rows.intent(KEY, **fields)
    before = airflow_rows.contents()
    webhooks.deliver("video.started", "paid", name=NAME)
    assert airflow_rows.contents() == before


@pytest.mark.parametrize("name", [None, "waves", "waves #HGFEDCBA", f"waves #{KEY} two", f"waves{KEY}", f"#{KEY}x"])
def test_a_job_that_carries_no_key_of_ours(airflow_rows, webhooks, name):
    """Made by hand, by another Airflow, or with a name that only looks like it."""
    airflow_rows.intent(KEY)
    before = airflow_rows.contents()
    webhooks.deliver("video.started", "paid", name=name)
    assert airflow_rows.contents() == before


@pytest.mark.parametrize("value", [{"__airflow_state_ref__": "s3://bucket/state"}, "no record", {"state": "intent"}, 7])
def test_a_record_that_is_kept_elsewhere_or_not_ours(airflow_rows, webhooks, value, caplog):
    """A store of the workers' own is left alone, with a log line."""
    airflow_rows.store(value)
    said = {"conn_id": "magic_hour_default"}
    airflow_rows.task(task_id="lost", state="up_for_retry", keys=(f"magic_hour.intent.{KEY}",), said=said)
    before = airflow_rows.contents()
    with caplog.at_level("INFO"):
        webhooks.deliver("video.started", "paid", name=NAME)
    assert airflow_rows.contents() == before
    assert any("belongs to teaser.lost" in line for line in caplog.messages)


def test_a_store_of_the_servers_own(airflow_rows, webhooks, monkeypatch, caplog):
    """Its rows are not Airflow's: it is left alone, with a log line."""
    monkeypatch.setenv("AIRFLOW__STATE_STORE__BACKEND", "airflow.providers.common.io.state_store.backend.Missing")
    import airflow.state
    from airflow.state.metastore import MetastoreBackend

    custom = type("Custom", (MetastoreBackend,), {})
    monkeypatch.setattr(airflow.state, "Custom", custom, raising=False)
    monkeypatch.setenv("AIRFLOW__STATE_STORE__BACKEND", "airflow.state.Custom")
    airflow_rows.intent(KEY)
    before = airflow_rows.contents()
    with caplog.at_level("INFO"):
        webhooks.deliver("video.started", "paid", name=NAME)
    assert airflow_rows.contents() == before
    assert any("whose record is not in Airflow's own store" in line for line in caplog.messages)


OTHER, NONE = "has another webhook_secret than 'magic_hour_default'", "has no webhook_secret here"


def reasons(caplog):
    """Return why jobs were left alone, as logged."""
    return [line.partition("and is left alone: ")[2] for line in caplog.messages if "left alone" in line]


@pytest.mark.parametrize(
    ("conn_id", "reason"),
    [("magic_hour_rotated", None), ("magic_hour_other", OTHER), ("magic_hour_none", NONE), ("x", NONE)],
)
def test_a_task_of_another_connection(airflow_rows, webhooks, conn_id, reason, caplog):
    """It gets the job only if its connection shares a secret with the delivery's: that is the same account."""
    airflow_rows.intent(KEY, conn_id)
    webhooks.deliver("video.started", "paid", name=NAME)
    assert airflow_rows.record()["job_id"] == (None if reason else "paid")
    assert set(reasons(caplog)) == ({f"its connection {conn_id!r} {reason}."} if reason else set())


@pytest.mark.parametrize("xcom", ["s3://xcoms/teaser/manual/lost/8a7b", ["odd"], {"conn_id": "magic_hour_none"}, 7])
def test_the_value_of_the_xcom_is_not_needed(airflow_rows, webhooks, xcom):
    """An XCom backend may keep it elsewhere, and anybody may have written it: the record says what counts."""
    airflow_rows.intent(KEY, xcom=xcom)
    webhooks.deliver("video.started", "paid", name=NAME)
    assert airflow_rows.record()["job_id"] == "paid"


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ("magic_hour_default", None),
        ("magic_hour_rotated", None),
        ("magic_hour_other", "its connection 'magic_hour_other' has another webhook_secret than 'magic_hour_default'."),
        ("x", "its record names no connection, and was made with none of [magic_hour] webhook_conn_ids."),
    ],
)
def test_a_record_that_does_not_name_its_connection(airflow_rows, webhooks, own, reason, caplog):
    """Those of older versions know it by its fingerprint, if it is one of the setting's."""
    airflow_rows.intent(KEY, None, xcom="s3://xcoms/lost", fingerprint=compute_fingerprint({"a": 1}, connection=own))
    webhooks.deliver("video.started", "paid", name=NAME)
    assert airflow_rows.record()["job_id"] == (None if reason else "paid")
    assert set(reasons(caplog)) == ({reason} if reason else set())


def test_xcoms_in_object_storage(airflow_rows, webhooks, monkeypatch, tmp_path, caplog):
    """Airflow's own backend for them, which keeps every value elsewhere: the record gets its job."""
    backend = pytest.importorskip("airflow.providers.common.io.xcom.backend")
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", f"file://{tmp_path}")
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD", "0")
    backend._get_base_path.cache_clear()
    backend._get_threshold.cache_clear()
    stored = backend.XComObjectStorageBackend.serialize_value({"conn_id": "magic_hour_default"}, key="x", dag_id="d")
    assert str(tmp_path) in stored
    airflow_rows.intent(KEY, xcom=stored)
    webhooks.deliver("video.started", "paid", name=NAME)
    backend._get_base_path.cache_clear()
    backend._get_threshold.cache_clear()
    assert airflow_rows.record()["job_id"] == "paid"
    assert reasons(caplog) == []


def test_a_forged_tag(airflow_rows, webhooks):
    """Another task whose XCom has the tag as well, and no such record, takes the job from nobody."""
    for number in range(3):
        airflow_rows.task(task_id=f"forged{number}", state="success", keys=(f"magic_hour.intent.{KEY}",))
    airflow_rows.intent(KEY)
    webhooks.deliver("video.started", "paid", name=NAME)
    assert airflow_rows.record()["job_id"] == "paid"


def test_a_task_of_another_connection_that_knows_its_job(airflow_rows, webhooks, caplog):
    """One webhook tells of all of an account's jobs: for those that nothing is missing of there is nothing to say."""
    airflow_rows.intent(KEY, "magic_hour_none", state="submitted", job_id="job0")
    before = airflow_rows.contents()
    webhooks.deliver("video.started", "job0", name=NAME)
    assert airflow_rows.contents() == before
    assert reasons(caplog) == []


def test_two_jobs_with_one_key(airflow_rows, webhooks):
    """At once: one of them is recorded whole, and the record does not change any more."""
    airflow_rows.intent(KEY)
    with ThreadPoolExecutor(8) as threads:
        ids = [f"paid{number}" for number in range(8)]
        answers = threads.map(lambda job_id: webhooks.send("video.started", job_id, name=NAME).status_code, ids)
        assert {answer // 100 for answer in answers} == {2}
    after = airflow_rows.record()
    assert after["job_id"] in ids
    webhooks.deliver("video.completed", "another", name=NAME)
    assert airflow_rows.record() == after


def test_every_name_that_we_make_carries_its_key():
    """However long the user's own name is."""
    for given in (None, "waves", "x" * 300, "ends with #ABCDEFG"):
        key = new_tag()
        assert find_tag(make_job_name(given, "teaser.make", key, "all")) == key
        assert find_tag(json.loads(json.dumps(make_job_name(given, "teaser.make", key, "none")))) is None
