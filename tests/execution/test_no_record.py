"""Tasks of which nothing keeps a record, as on Airflow 3.1 and 3.2 without ``ledger_path``: no error promises one."""

from __future__ import annotations

import re

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from helpers.attempts import TaskInstance
from magic_hour_provider.execution import attempt as attempts
from magic_hour_provider.plugin.media_tab.charges import describe_next_step

PROMISES = re.compile(r"resume|clear the task|Media tab|Task State Store|put true")


class KilledError(BaseException):
    """The end of a worker."""


@pytest.fixture
def ti() -> TaskInstance:
    """A task instance of an Airflow without task state store."""
    one = TaskInstance()
    one.store = None
    return one


def is_honest(message: str, job_id: str) -> bool:
    """Whether a text says that another attempt pays, and how to get the files of the job, and promises nothing else."""
    assert "any other attempt, after a clear too, pays for a new job" in message
    assert f"MagicHourDownloadOperator(job='{job_id}')" in message
    return not PROMISES.search(message)


@pytest.mark.parametrize("on_clear", ["reuse", "regenerate"])
def test_a_key_that_is_refused_while_it_waits(airflow, ti, on_clear):
    """With the key mended, a clear pays for another job: the error names the download instead. One create, then two."""
    airflow.setting("inline_wait_seconds", "0")
    operator = airflow.operator(output_path="", on_clear=on_clear)
    ti.next_attempt()
    deferred = airflow.start(operator, ti)
    assert isinstance(deferred, TaskDeferred)
    airflow.connect(password="mhk_live_revoked")
    with pytest.raises(AirflowFailException) as caught:
        airflow.resume(operator, ti, deferred)
    (job,) = airflow.sim.jobs()
    assert is_honest(str(caught.value), job["id"])
    assert is_honest(ti.xcoms["magic_hour_job"]["next_step"], job["id"])
    assert airflow.creates() == 1
    airflow.connect()
    ti.clear()
    airflow.attempt(airflow.operator(output_path="", on_clear=on_clear), ti)
    assert airflow.creates() == 2


def test_a_wait_that_times_out(airflow, ti):
    """The task is not retried, as a retry would pay; the error says both. One create."""
    operator = airflow.operator(
        "text-to-video", {"end_seconds": 3, "style": {"prompt": "a"}}, timeout=30, output_path=""
    )
    with pytest.raises(AirflowFailException) as caught:
        airflow.attempt(operator, ti)
    (job,) = airflow.sim.jobs()
    assert "The task is not retried." in str(caught.value)
    assert is_honest(str(caught.value), job["id"])
    assert airflow.creates() == 1


def test_a_lost_response(airflow, ti):
    """The library says whether there is a job; no instruction could be given anywhere. One create."""
    airflow.sim.inject_fault("close-after-accept")
    with pytest.raises(AirflowFailException) as caught:
        airflow.attempt(airflow.operator(output_path=""), ti)
    words = str(caught.value)
    assert "if it is not there, clear the task" in words
    assert is_honest(words.replace("if it is not there, clear the task", ""), "...")
    assert airflow.creates() == 1


def test_a_worker_that_is_stopped(airflow, ti, capsys, monkeypatch):
    """Its log and the Media tab say that the next attempt pays; and it does. Two creates."""
    operator = airflow.operator(output_path="")

    def stop(*_: object, **__: object) -> None:
        operator.on_kill()
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "wait_for_job", stop)
        with pytest.raises(KilledError):
            airflow.attempt(operator, ti)
    (job,) = airflow.sim.jobs()
    logged = capsys.readouterr().out
    assert "as nothing keeps a record of it, the next attempt pays for a new one" in logged
    assert f"MagicHourDownloadOperator(job='{job['id']}')" in logged
    shown = describe_next_step(ti.xcoms["magic_hour_job"])
    assert shown is not None
    assert is_honest(shown, job["id"])
    assert airflow.creates() == 1
    ti.clear()
    airflow.attempt(airflow.operator(output_path=""), ti)
    assert airflow.creates() == 2


def test_what_the_tab_says_of_a_request_without_answer():
    """A worker that died with its request under way has reported no error."""
    shown = describe_next_step({"tag": "abc123", "is_recorded": False})
    assert shown is not None
    assert "tag #abc123" in shown
    assert is_honest(shown, "...")
