"""An attempt that Airflow ends: nothing more is sent, and what is being sent is waited for, but for nothing else."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout

from helpers.alarms import before_each, raise_alarm, times_out_during_create
from helpers.attempts import TaskInstance
from helpers.batches import results, rows
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import ResponseLostError
from magic_hour_provider.batch.jobs import submitter
from magic_hour_provider.batch.jobs.gate import AttemptStoppedError, Gate
from magic_hour_provider.batch.window import engine


def test_a_request_that_is_being_sent_is_recorded(batches):
    """The alarm of ``execution_timeout`` is late by the response and its record; the next attempt pays for the rest."""
    ti, operator = TaskInstance("campaign"), batches.operator(rows(9), item_id="sku")
    with times_out_during_create():
        batches.attempt(operator, ti)
    paid = batches.creates()
    assert 1 <= paid <= 4
    assert batches.attempt(operator, ti)["complete"] == 9
    assert batches.creates() == 9


def test_an_upload_is_not_waited_for(batches, monkeypatch):
    """It may take hours; nothing is sent after it."""
    begun, go_on, real = threading.Event(), threading.Event(), submitter.resolve_inputs
    over = ThreadPoolExecutor(1)

    def upload(*arguments, **more):
        if not begun.is_set():
            begun.set()
            raise_alarm()
        assert go_on.wait(60)
        return real(*arguments, **more)

    ti, operator = TaskInstance("campaign"), batches.operator(rows(3), item_id="sku")
    with monkeypatch.context() as patch:
        patch.setattr(submitter, "resolve_inputs", upload)
        with pytest.raises(AirflowTaskTimeout), timeout(3600):
            batches.attempt(operator, ti)
    stopped = []
    before_each(monkeypatch, AttemptStoppedError, "__init__", lambda: stopped.append(None))
    go_on.set()
    for _ in range(600):
        if len(stopped) == 3:
            break
        over.submit(threading.Event().wait, 0.1).result()
    assert len(stopped) == 3
    assert batches.creates() == 0
    assert batches.attempt(operator, ti)["complete"] == 3
    assert batches.creates() == 3


def test_a_response_that_does_not_come_is_waited_for_as_long_as_it_may_take(batches, monkeypatch, capsys):
    """Then the attempt ends, and its item is unknown: the next attempt does not send it again."""
    go_on = threading.Event()

    def hang(*_):
        raise_alarm()
        go_on.wait(60)
        raise ResponseLostError("The connection was closed.")

    waits: list[float] = []
    wait = Gate.wait
    monkeypatch.setattr(Gate, "wait", lambda gate, seconds: waits.append(seconds) or wait(gate, 0.2))
    ti, operator = TaskInstance("campaign"), batches.operator(rows(2), item_id="sku", max_active_jobs=1)
    with monkeypatch.context() as patch:
        patch.setattr(MagicHourClient, "create", hang)
        with pytest.raises(AirflowTaskTimeout), timeout(3600):
            batches.attempt(operator, ti)
    assert waits == [2 * 60 + engine._RECORD_S]
    assert "Item shoe-0: its paid request had no response" in capsys.readouterr().out
    monkeypatch.setattr(Gate, "wait", wait)
    with pytest.raises(AirflowException, match=r"1 are complete.*1 are of an unknown outcome"):
        batches.attempt(operator, ti)
    assert batches.creates() == 1
    go_on.set()


def test_a_kill_signal_lets_nothing_more_be_sent(batches, monkeypatch):
    """Airflow calls ``on_kill`` and lets the process live for seconds: it ends with a sentence, and a retry resumes."""
    ti, operator = TaskInstance("campaign"), batches.operator(rows(9), item_id="sku", max_active_jobs=1)
    with monkeypatch.context() as patch:
        before_each(patch, MagicHourClient, "create", operator.on_kill)
        with pytest.raises(AirflowException, match=r"9 are missing.*The attempt was stopped.*A retry"):
            batches.attempt(operator, ti)
    assert batches.creates() == 1
    assert [row["status"] for row in results(ti.xcoms["magic_hour_batch"]).values()] == ["running"] + 8 * ["left_out"]
    assert batches.attempt(operator, ti)["complete"] == 9
    assert batches.creates() == 9
