"""A task that its trigger ends: what is pushed, what is left to a worker, and what the next attempt does."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk.execution_time.comms import SetXCom
from airflow.triggers.base import TaskSuccessEvent

from helpers.attempts import TaskInstance
from magic_hour_provider.metrics import CREDITS_CHARGED
from magic_hour_provider.triggers import poll_metrics
from magic_hour_provider.triggers.ending import push, success_metrics
from magic_hour_provider.xcoms import settled_xcom

VIDEO = {"end_seconds": 3, "style": {"prompt": "a lighthouse"}}
REQUESTS = {
    "text-to-video": VIDEO,
    "ai-image-generator": {"image_count": 2, "style": {"prompt": "a lighthouse"}},
    "ai-voice-generator": {"style": {"prompt": "hello", "voice_name": "Elon Musk"}},
    "face-detection": {"assets": {"target_file_path": "https://example.com/a.png"}},
}


@pytest.fixture
def counted(monkeypatch) -> list[tuple[Any, ...]]:
    """The metrics that a triggerer sends."""
    sent: list[tuple[Any, ...]] = []
    stats = SimpleNamespace(
        incr=lambda name, count=1, tags=None: sent.append((name, count, tags)),
        timing=lambda name, took, tags=None: sent.append((name, took.total_seconds(), tags)),
        gauge=lambda *_, **__: None,
    )
    for module in (success_metrics, poll_metrics):
        monkeypatch.setattr(module, "stats", stats)
    return sent


@pytest.mark.parametrize(
    "options",
    [{}, {"multiple_outputs": False}, {"max_credits": 100_000, "max_credits_unknown": "allow"}, {"output_path": None}],
)
@pytest.mark.parametrize("tool", REQUESTS)
def test_what_is_pushed(airflow, triggerer, tool, options):
    """Every XCom is that of a worker, in its order but for one key more; one job was paid for by each."""
    airflow.setting("inline_wait_seconds", "0")
    pushed = {}
    for end in ("worker", "trigger"):
        airflow.setting("end_from_trigger", str(end == "trigger"))
        triggerer.ti = TaskInstance()
        assert triggerer.attempt(triggerer.operator(tool, REQUESTS[tool], **options)) == end
        pushed[end] = triggerer.ti.xcoms
    job_id = pushed["trigger"]["return_value"]["id"]
    assert pushed["trigger"].pop(settled_xcom(job_id, pushed["worker"]["return_value"]["credits_charged"])) == {
        "tool": tool
    }
    same = {}
    for end, xcoms in pushed.items():
        own = (xcoms["return_value"][name] for name in ("id", "name"))
        same[end] = json.dumps(xcoms, sort_keys=True)
        for text in (*own, *(xcoms["magic_hour_job"][name] for name in ("submitted_at", "ended_at"))):
            same[end] = same[end].replace(text, "x") if text else same[end]
    assert json.loads(same["trigger"]) == json.loads(same["worker"])
    report = pushed["trigger"]["magic_hour_job"]
    assert (report["id"], report["status"], report["polls"]) == (job_id, "complete", 1)
    assert (
        report["run_credits"]["paid"]
        == report["credits_charged"]
        == pushed["trigger"]["return_value"]["credits_charged"]
    )
    assert report["ended_at"] > report["submitted_at"]
    assert airflow.creates() == 2


def test_the_result_comes_last(airflow, triggerer):
    """Whoever finds the result finds all else: the report and the mark for the next attempt come before it."""
    assert triggerer.attempt(triggerer.operator()) == "trigger"
    own = triggerer.pushed
    assert own.index("magic_hour_job") < own.index("id") < own.index("return_value")
    assert own[0].startswith("magic_hour.settled.")
    assert airflow.creates() == 1


@pytest.mark.parametrize("outcome", ["error", "canceled", "gone", "paused"])
def test_any_other_end_is_a_workers(airflow, triggerer, outcome):
    """A job that failed, is gone or was not seen to end sends the task to a worker, which judges it as ever."""
    airflow.sim.inject_fault("job-outcome", status=outcome)
    with pytest.raises(AirflowException):
        triggerer.attempt(triggerer.operator(timeout=600))
    assert triggerer.pushed == []
    assert [type(event) is TaskSuccessEvent for event in triggerer.events] == [False]
    assert airflow.creates() == 1


@pytest.mark.parametrize("key", ["magic_hour_job", "id", "return_value"])
def test_an_xcom_that_cannot_be_written(airflow, triggerer, key, capsys):
    """A worker ends the task then, and pushes all of them again: success, one create."""
    operator = triggerer.operator()
    deferred = triggerer.defer(operator)
    triggerer.failing = key
    assert triggerer.finish(operator, deferred) == "worker"
    assert "so a worker does it: the database is away" in capsys.readouterr().out
    assert triggerer.ti.xcoms["return_value"]["status"] == "complete"
    assert airflow.creates() == 1


def test_a_charge_above_the_limit_is_a_workers_to_report(airflow, triggerer):
    """What was charged more than max_credits allows is warned of where it always was."""
    operator = triggerer.operator(max_credits=100_000, max_credits_unknown="allow")
    deferred = triggerer.defer(operator)
    end = json.loads(deferred.trigger.task_end)
    deferred.trigger.task_end = json.dumps({**end, "max_credits": 1, "charged": None})
    assert triggerer.finish(operator, deferred) == "worker"
    assert airflow.creates() == 1


def test_a_clear_afterwards(airflow, triggerer, counted, monkeypatch):
    """It resumes the job and polls it once: one create, its credits counted once, and the record says delivered."""
    operator = triggerer.operator()
    assert triggerer.attempt(operator) == "trigger"
    assert triggerer.ti.record["state"] == "submitted"
    first = triggerer.ti.xcoms["return_value"]
    polls = airflow.sim.stats()["polls"]
    on_worker: list[Any] = []
    monkeypatch.setattr("magic_hour_provider.execution.outcome.count_credits", lambda *_: on_worker.append(1))
    triggerer.ti.clear()
    assert triggerer.attempt(operator) == "worker"
    assert triggerer.ti.xcoms["return_value"] == first
    assert (airflow.creates(), airflow.sim.stats()["polls"] - polls) == (1, 1)
    assert triggerer.ti.record["state"] == "delivered"
    assert [row for row in counted if row[0] == CREDITS_CHARGED] == [
        (CREDITS_CHARGED, first["credits_charged"], {"tool": "text-to-video", "dag_id": "teaser"})
    ]
    assert on_worker == []


def test_a_webhook_in_the_moment_of_the_end(airflow, triggerer, counted, monkeypatch):
    """The trigger has pushed and counted, and a webhook has resumed the task before: a worker does not count again."""
    on_worker: list[Any] = []
    monkeypatch.setattr("magic_hour_provider.execution.outcome.count_credits", lambda *_: on_worker.append(1))
    operator = triggerer.operator()
    deferred = triggerer.defer(operator)
    assert type(asyncio.run(triggerer.event_of(triggerer.trigger_of(deferred)))) is TaskSuccessEvent
    result = triggerer.ti.xcoms["return_value"]
    event = {"kind": "video", "id": result["id"], "status": "complete", "error_code": None}
    again = operator.resume_execution(
        deferred.method_name, {**deferred.kwargs, "event": event}, triggerer.ti.context(operator)
    )
    assert again == result
    assert len([row for row in counted if row[0] == CREDITS_CHARGED]) == 1
    assert on_worker == []
    assert triggerer.ti.record["state"] == "delivered"
    assert airflow.creates() == 1


def test_a_new_job_after_one_that_settled_at_less(airflow, triggerer):
    """What the run has paid counts the first job as it was settled, not as it was charged at first."""
    operator = triggerer.operator(on_clear="regenerate")
    price = triggerer.settle_at_less(operator)
    first = triggerer.ti.xcoms["magic_hour_job"]["run_credits"]["paid"]
    assert first == price == triggerer.ti.xcoms["return_value"]["credits_charged"]
    triggerer.ti.clear()
    assert triggerer.attempt(operator) == "trigger"
    second = triggerer.ti.xcoms["return_value"]["credits_charged"]
    assert triggerer.ti.xcoms["magic_hour_job"]["run_credits"]["paid"] == first + second
    assert airflow.creates() == 2


def test_a_clear_that_discards_the_state(airflow, triggerer, tmp_path):
    """The record under ledger_path is still submitted, so the clear pays for nothing."""
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    operator = triggerer.operator()
    assert triggerer.attempt(operator) == "trigger"
    triggerer.ti.clear()
    triggerer.ti.store.rows.clear()
    assert triggerer.attempt(operator) == "worker"
    assert airflow.creates() == 1


def test_a_task_that_did_not_wait_is_not_taken_for_settled(airflow, triggerer):
    """Its result was there before its job had ended: only the trigger's own key says that the job is settled."""
    assert triggerer.attempt(triggerer.operator(wait_for_completion=False)) == "worker"
    triggerer.ti.clear()
    assert triggerer.attempt(triggerer.operator()) == "trigger"
    assert triggerer.ti.record["state"] == "submitted"
    assert airflow.creates() == 1


def test_a_triggerer_that_dies_between_the_xcoms_and_the_end(airflow, triggerer):
    """Another one does it all again: the same XComs, one more poll, one create."""
    deferred = triggerer.defer(triggerer.operator())

    async def main() -> list[Any]:
        return [await triggerer.event_of(triggerer.trigger_of(deferred)) for _ in range(2)]

    assert [type(event) for event in asyncio.run(main())] == [TaskSuccessEvent, TaskSuccessEvent]
    assert len(triggerer.pushed) == 2 * len(set(triggerer.pushed))
    assert airflow.creates() == 1


def test_a_trigger_that_is_canceled_cuts_no_exchange(airflow, triggerer):
    """A task that is cleared in that moment leaves the channel of all other triggers as it was."""
    deferred = triggerer.defer(triggerer.operator())
    real = triggerer.asend

    async def main() -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def slow(message: Any) -> None:
            if isinstance(message, SetXCom):
                began.set()
            await asyncio.sleep(0)
            await real(message)
            if message.key == "library_url":
                ended.set()

        triggerer.asend = slow
        task = asyncio.create_task(triggerer.event_of(triggerer.trigger_of(deferred)))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(ended.wait(), 60)

    asyncio.run(main())
    assert airflow.creates() == 1


def test_many_that_end_at_once(airflow, triggerer, monkeypatch):
    """Four at a time, as all triggers share the channel; a task whose turn does not come is a worker's. One create."""
    monkeypatch.setattr(push, "_TURN_S", 0.1)
    deferred = triggerer.defer(triggerer.operator())
    real, pushing = triggerer.asend, set()

    async def main() -> list[Any]:
        go = asyncio.Event()

        async def held(message: Any) -> None:
            if isinstance(message, SetXCom):
                pushing.add(asyncio.current_task())
                await go.wait()
            await real(message)

        triggerer.asend = held
        waits = [asyncio.create_task(triggerer.event_of(triggerer.trigger_of(deferred))) for _ in range(6)]
        while sum(wait.done() for wait in waits) + len(pushing) < len(waits):
            await asyncio.wait(waits, timeout=0.05)
        assert len(pushing) == 4
        go.set()
        monkeypatch.setattr(push, "_TURN_S", 60)
        return [*await asyncio.gather(*waits), await triggerer.event_of(triggerer.trigger_of(deferred))]

    events = asyncio.run(main())
    assert [type(event) is TaskSuccessEvent for event in events[:6]].count(False) == 2
    assert type(events[6]) is TaskSuccessEvent  # the turns have been given back
    assert airflow.creates() == 1


def test_a_run_outside_a_triggerer(airflow, triggerer):
    """A test command of Airflow runs a trigger without its task instance: then a worker ends the task."""
    deferred = triggerer.defer(triggerer.operator())
    trigger = triggerer.trigger_of(deferred)
    trigger.task_instance = None
    assert asyncio.run(triggerer.event_of(trigger)).payload["status"] == "complete"
    assert airflow.creates() == 1


def test_metrics_that_hang(airflow, triggerer, monkeypatch):
    """A server of metrics that does not answer keeps no task from its end."""
    over = threading.Event()
    monkeypatch.setattr(success_metrics, "stats", SimpleNamespace(incr=lambda *_, **__: over.wait(60)))
    monkeypatch.setattr(success_metrics, "_PATIENCE_S", 0.1)
    deferred = triggerer.defer(triggerer.operator())

    async def main() -> Any:
        try:
            return await asyncio.wait_for(triggerer.event_of(triggerer.trigger_of(deferred)), 30)
        finally:
            over.set()

    assert type(asyncio.run(main())) is TaskSuccessEvent
    assert airflow.creates() == 1


def test_what_airflow_counts(airflow, triggerer, counted):
    """Airflow's own metrics of a success are those of a worker, with the attempt's duration."""
    triggerer.ti.start_date = datetime.fromtimestamp(airflow.clock.now() - 5, UTC)
    assert triggerer.attempt(triggerer.operator()) == "trigger"
    tags = {"dag_id": "teaser", "task_id": "make"}
    names = [name for name, _, _ in counted]
    for name in ("ti.finish.teaser.make.success", "operator_successes_MagicHourOperator", "dag.teaser.make.duration"):
        assert name in names  # a Stats class is that of an Airflow before 3.3
    assert ("ti_successes", 1, tags) in counted
    assert ("ti.finish", 1, {**tags, "state": "success"}) in counted
    assert ("operator_successes", 1, {**tags, "operator": "MagicHourOperator"}) in counted
    (took,) = [value for name, value, _ in counted if name == "task.duration"]
    assert took > 5 + 10
    assert airflow.creates() == 1


def test_the_log_says_it(airflow, triggerer, capsys):
    """The job, its charge and its page are in the task's log; nobody having said it, also that nothing is stored."""
    assert triggerer.attempt(triggerer.operator(output_path=None)) == "trigger"
    log = capsys.readouterr().out
    report = triggerer.ti.xcoms["magic_hour_job"]
    line = next(line for line in log.splitlines() if "without a second worker" in line)
    assert report["id"] in line
    assert f"charged {report['credits_charged']} credits" in line
    assert report["library_url"] in line
    assert "No file of Magic Hour job" in log
    assert airflow.creates() == 1
