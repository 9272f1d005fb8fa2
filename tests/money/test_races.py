"""Attempts that declare an intent at the same moment, with the record as files: one is paid for at most."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from helpers.attempts import TaskInstance
from helpers.waiting import HANG_S
from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.ledger.file_store import FileStore
from magic_hour_provider.ledger.record import KEY, Record, RecordError
from magic_hour_provider.storage import exclusive
from magic_hour_provider.storage.listing import list_names

TOOL = get_tool("ai-image-generator")
TAGS = ("AAAAAAAA", "BBBBBBBB")


def intent(tag: str) -> Record:
    """Return the intent of an attempt."""
    return Record("intent", TOOL.slug, TOOL.kind, tag, {}, written_at="2026-11-23T00:00:00Z")


def declare_at_once(folder: str, previous: Record | None) -> list[str]:
    """Let two attempts declare an intent at the same moment; name those that may send."""
    barrier, sent = threading.Barrier(2), []

    def declare(tag: str) -> None:
        store = FileStore(folder)
        barrier.wait()
        try:
            store.declare(intent(tag), previous)
        except RecordError:
            return
        sent.append(tag)

    with ThreadPoolExecutor(2) as both:
        list(both.map(declare, TAGS))
    return sent


@pytest.mark.parametrize("before", ["nothing", "a failed job"])
def test_of_two_that_declare_at_once_one_is_refused(place, before):
    """In any storage, for the first record and over one; whoever may send finds its own intent, and nothing is left."""
    previous = None if before == "nothing" else Record("failed", TOOL.slug, TOOL.kind, "OLDOLDOL", {}, job_id="old")
    alone = 0
    for number in range(100 if place.uri.startswith("file:") else 20):
        store = FileStore(f"{place.uri}/{number}")
        if previous is not None:
            store.set(KEY, previous.to_json())
        sent = declare_at_once(store.folder, previous)
        assert len(sent) <= 1
        if sent:
            alone += 1
            assert store.get(KEY)["key"] == sent[0]
        else:
            assert store.get(KEY) == (None if previous is None else previous.to_json())
        assert list_names(store._path(KEY).parent, f"{KEY}.") == []
    assert alone or place.taken != "refused"


def test_a_bucket_that_may_not_be_listed(bucket, monkeypatch):
    """Neither the first intent nor one over a record needs more than to read, write and delete."""

    def refused(*_):
        raise PermissionError("403 ListBucket")

    monkeypatch.setattr("magic_hour_provider.ledger.file_store.list_names", refused)
    store = FileStore(f"{bucket.uri}/ti")
    store.declare(intent(TAGS[0]), None)
    store.declare(intent(TAGS[1]), intent(TAGS[0]))
    assert store.get(KEY)["key"] == TAGS[1]
    assert bucket.keys() == [f"ti/{KEY}"]


def test_a_storage_without_conditions(bucket, monkeypatch):
    """An S3 that does not know `IfNoneMatch` refuses no taken name: the attempts see each other's claims instead."""

    def unknown(path, data):
        raise exclusive.NotExclusiveError

    monkeypatch.setattr("magic_hour_provider.ledger.file_store.create_file", unknown)
    for number in range(20):
        assert len(declare_at_once(f"{bucket.uri}/{number}", None)) <= 1


def test_a_storage_that_overwrites_in_silence(bucket, monkeypatch):
    """Others pass over the condition: a probe shows it before anything is declared, and no probe stays."""

    def overwriting(path, data):
        path.fs.pipe_file(path.path, data)

    monkeypatch.setattr("magic_hour_provider.ledger.file_store.create_file", overwriting)
    for number in range(20):
        assert len(declare_at_once(f"{bucket.uri}/{number}", None)) <= 1
    FileStore(f"{bucket.uri}/alone").declare(intent(TAGS[0]), None)
    assert {key.partition("/")[2] for key in bucket.keys()} == {KEY}  # noqa: SIM118 (its own method)


def test_a_probe_that_cannot_be_removed(bucket, monkeypatch):
    """Who may not delete pays all the same, and keeps a small file."""

    def refused(*_):
        raise PermissionError("403 DeleteObject")

    monkeypatch.setattr("magic_hour_provider.ledger.file_store.remove_file", refused)
    FileStore(f"{bucket.uri}/ti").declare(intent(TAGS[0]), None)
    assert len(bucket.keys()) == 2


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_two_attempts_at_once_pay_once(airflow, monkeypatch, tmp_path, kind):
    """Both have read that nothing was paid for, and both are about to declare: one create at most, and none is lost."""
    folder = str(tmp_path / "ledger") if kind == "local" else f"memory://{tmp_path.name}/ledger"
    monkeypatch.setattr(TaskInstance, "ledger_path", folder)
    airflow.setting("ledger_path", folder)
    real, barrier = FileStore.declare, threading.Barrier(2)

    def together(store, record, previous):
        barrier.wait(HANG_S)
        return real(store, record, previous)

    monkeypatch.setattr(FileStore, "declare", together)
    ti, ends = TaskInstance(), []
    ti.next_attempt()

    def run(_: int) -> None:
        operator = airflow.operator()
        try:
            ends.append(airflow.resume(operator, ti, airflow.start(operator, ti))["id"])
        except AirflowException as error:
            ends.append(error)

    with ThreadPoolExecutor(2) as both:
        list(both.map(run, range(2)))
    refused = [end for end in ends if isinstance(end, AirflowException)]
    assert refused
    for error in refused:
        assert "another one wrote" in str(error)
        assert not isinstance(error, AirflowFailException)
    assert airflow.creates() == 2 - len(refused)
    monkeypatch.setattr(FileStore, "declare", real)
    assert airflow.attempt(airflow.operator(), ti)["id"] == airflow.sim.jobs()[0]["id"]
    assert airflow.creates() == 1


def test_a_claim_that_a_killed_attempt_left(airflow, monkeypatch, tmp_path):
    """It ended before it sent anything: nothing is paid over it, and the message names the file to remove."""
    monkeypatch.setattr(TaskInstance, "ledger_path", str(tmp_path / "ledger"))
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    airflow.sim.inject_fault("job-outcome", status="error", code="unknown_error")
    ti, operator = TaskInstance(), airflow.operator()
    with pytest.raises(AirflowException):
        airflow.attempt(operator, ti)
    ti.store.set(f"{KEY}.claim", intent("AAAAAAAA").to_json())
    with pytest.raises(AirflowException, match=r"magic_hour\.job\.claim.*nothing was charged.*remove that file"):
        airflow.attempt(operator, ti)
    assert airflow.creates() == 1
    ti.store.delete(f"{KEY}.claim")
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 2
