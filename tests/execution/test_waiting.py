"""How an operator waits on its worker, and what it hands to the triggerer and takes from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import av
import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowTaskTimeout, TaskDeferred

from helpers.attempts import TaskInstance
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.triggers.job import MagicHourJobTrigger

both_ledgers = pytest.mark.usefixtures("either_ledger")

VIDEO = {"end_seconds": 3, "style": {"prompt": "a lighthouse"}}
RESTYLE = {
    "start_seconds": 0,
    "end_seconds": 3,
    "assets": {"video_source": "file", "video_file_path": "https://example.com/x.mp4"},
    "style": {"art_style": "Watercolor", "version": "v1", "prompt": None, "prompt_type": "default"},
}


@pytest.mark.parametrize(("version", "polling"), [("v1", "long_video"), ("v2", None)])
def test_the_request_decides_the_pace(airflow, version, polling):
    """Video-to-video of version v1 takes an hour: its trigger polls every 30 s, that of another every 10 to 15 s."""
    request = RESTYLE | {"style": RESTYLE["style"] | {"version": version}}
    outcome = airflow.start(airflow.operator("video-to-video", request), TaskInstance())
    assert isinstance(outcome, TaskDeferred)
    assert isinstance(outcome.trigger, MagicHourJobTrigger)
    assert outcome.trigger.polling == polling
    assert airflow.creates() == 1


@pytest.mark.parametrize("deferrable", [True, False])
def test_answers_that_stay_unreadable(airflow, deferrable):
    """After ten minutes of another host's pages the attempt fails with the reason; a retry resumes and pays nothing."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO, deferrable=deferrable)
    airflow.sim.inject_fault("status", endpoint="get-job", status=200, html=True, count=None)
    start = airflow.clock.now()
    with pytest.raises(AirflowException, match="keeps running, but it could not be polled") as caught:
        airflow.attempt(operator, ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert 300 < airflow.clock.now() - start < 1200
    if deferrable:
        assert [event["status"] for event in airflow.events] == ["refused"]
    airflow.sim.clear_faults()
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_unreadable_answers_that_have_ended_meanwhile(airflow):
    """The worker polls itself: where it can read the response the task continues."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.next_attempt()
    deferred = airflow.start(operator, ti)
    airflow.sim.inject_fault("status", endpoint="get-job", status=200, html=True, count=12)
    assert airflow.resume(operator, ti, deferred)["status"] == "complete"
    assert [event["status"] for event in airflow.events] == ["refused"]
    assert airflow.creates() == 1


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_that_jumps_on_the_worker(airflow, monkeypatch, jump):
    """A machine's clock set during the wait makes no burst of polls, and ends the wait neither early nor never."""
    now, polls = airflow.clock.now, []
    real = MagicHourClient.get_job

    def poll(self, kind, job_id):
        polls.append(airflow.sim.now())
        if len(polls) == 1:
            monkeypatch.setattr(type(airflow.clock), "now", lambda _: now() + jump)
        return real(self, kind, job_id)

    monkeypatch.setattr(type(airflow.clock), "monotonic", lambda _: now())
    monkeypatch.setattr(MagicHourClient, "get_job", poll)
    operator = airflow.operator("text-to-video", VIDEO, deferrable=False)
    assert airflow.attempt(operator, TaskInstance())["status"] == "complete"
    assert min(airflow.clock.waits) > 4.9
    assert airflow.sim.now() - polls[0] < 120
    assert airflow.creates() == 1


def test_the_log_of_a_wait_on_the_worker(airflow, capsys):
    """It reads as the trigger's: what changed, at which age, and when the next poll is."""
    airflow.attempt(airflow.operator("text-to-video", VIDEO, deferrable=False), TaskInstance())
    shown = capsys.readouterr().out
    assert "seconds: rendering; next poll in 5 seconds, giving up in 1 hour." in shown
    assert shown.count(": rendering") == 1
    assert airflow.creates() == 1


def test_credits_are_counted_once(airflow, monkeypatch):
    """What a job has cost goes to Airflow's metrics when its task ends well, and not again for a cleared task."""
    counted = []

    class Stats:
        @staticmethod
        def incr(name, count, *, tags):
            counted.append((name, count, tags))

    monkeypatch.setattr("airflow.providers.common.compat.sdk.Stats", Stats, raising=False)
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    charged = airflow.attempt(operator, ti)["credits_charged"]
    ti.clear()
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert counted == [("magic_hour.credits_charged", charged, {"tool": "text-to-video", "dag_id": "teaser"})]
    assert airflow.sim.stats()["credits"]["settled"] == charged
    assert airflow.creates() == 1


def test_metrics_that_fail(airflow, monkeypatch):
    """Nobody's job fails because a number could not be sent."""

    class Stats:
        @staticmethod
        def incr(*_, **__):
            raise OSError("no StatsD")

    monkeypatch.setattr("airflow.providers.common.compat.sdk.Stats", Stats, raising=False)
    assert airflow.attempt(airflow.operator("text-to-video", VIDEO), TaskInstance())["status"] == "complete"
    assert airflow.creates() == 1


def test_a_short_job_is_waited_for_on_the_worker(airflow):
    """A tool of 5 s is not worth a second process: no deferral."""
    airflow.attempt(airflow.operator(), TaskInstance())
    assert airflow.events == []
    assert airflow.creates() == 1


def test_inline_wait_can_be_switched_off(airflow):
    """``[magic_hour] inline_wait_seconds`` = 0 defers even short jobs."""
    airflow.setting("inline_wait_seconds", "0")
    result = airflow.attempt(airflow.operator(), TaskInstance())
    assert result["status"] == "complete"
    assert len(airflow.events) == 1
    assert airflow.creates() == 1


def test_a_long_job_is_deferred(airflow):
    """The trigger's event names the job and nothing else, and the worker collects the file."""
    ti = TaskInstance()
    result = airflow.attempt(airflow.operator("text-to-video", VIDEO), ti)
    assert airflow.events == [{"kind": "video", "id": result["id"], "status": "complete", "error_code": None}]
    with av.open(result["file"]) as clip:
        assert sum(1 for _ in clip.decode(video=0)) > 24
    assert ti.xcoms["magic_hour_job"]["status"] == "complete"
    assert airflow.creates() == 1


def test_sync_mode_waits_on_the_worker(airflow):
    """``deferrable=False`` gives the same result without a trigger."""
    result = airflow.attempt(airflow.operator("text-to-video", VIDEO, deferrable=False), TaskInstance())
    assert result["status"] == "complete"
    assert airflow.events == []
    assert airflow.creates() == 1


@both_ledgers
@pytest.mark.parametrize("deferrable", [True, False])
def test_the_timeout_ends_the_waiting_not_the_job(airflow, deferrable):
    """After a timeout a retry resumes waiting for the same job and pays nothing."""
    ti = TaskInstance()
    operator = airflow.operator("text-to-video", VIDEO, timeout=30, deferrable=deferrable)
    with pytest.raises(AirflowException, match="was paid for and stays charged") as caught:
        airflow.attempt(operator, ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert ti.xcoms["magic_hour_job"]["charge"] == "kept"
    assert "a retry resumes waiting for it" in ti.xcoms["magic_hour_job"]["next_step"]
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 1


@both_ledgers
@pytest.mark.parametrize("ended", [True, False])
def test_an_event_after_the_deadline(airflow, ended):
    """A triggerer that was away: a job that ended is collected, one that did not is a timeout, and none is deferred."""
    if not ended:
        airflow.sim.inject_fault("job-outcome", status="stuck")
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO, timeout=30)
    ti.next_attempt()
    deferred = airflow.start(operator, ti)
    airflow.sim.advance(500)
    if ended:
        assert airflow.resume(operator, ti, deferred)["status"] == "complete"
    else:
        with pytest.raises(AirflowException, match="was paid for and stays charged"):
            airflow.resume(operator, ti, deferred)
    assert len(airflow.events) == 1
    assert airflow.creates() == 1


def test_failing_polls_do_not_end_the_wait(airflow):
    """Server faults and lost connections while waiting are only failing polls."""
    airflow.sim.inject_fault("status", endpoint="get-job", status=503, count=4)
    airflow.sim.inject_fault("status", endpoint="get-job", status=429, retry_after=20)
    assert airflow.attempt(airflow.operator("text-to-video", VIDEO), TaskInstance())["status"] == "complete"
    assert airflow.creates() == 1


@both_ledgers
def test_a_revoked_key_while_waiting(airflow):
    """The job is paid for and keeps running: the error says so, and with the right key a clear collects it."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.next_attempt()
    deferred = airflow.start(operator, ti)
    airflow.connect(password="mhk_live_another")
    with pytest.raises(AirflowFailException, match="keeps running, but it could not be polled"):
        airflow.resume(operator, ti, deferred)
    airflow.connect()
    ti.clear()
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 1


@pytest.mark.parametrize("timeout", [None, 3600])
def test_execution_timeout_ends_a_deferred_attempt(airflow, timeout):
    """Airflow's limit of one attempt, counted from its start, ends a deferred one as Airflow would; a retry resumes."""
    airflow.sim.inject_fault("job-outcome", status="stuck")
    operator = airflow.operator(
        "text-to-video", VIDEO, timeout=timeout, execution_timeout=timedelta(minutes=10), output_path=""
    )
    ti, start = TaskInstance(), airflow.clock.now()
    ti.start_date = datetime.fromtimestamp(start - 60, UTC)
    with pytest.raises(AirflowTaskTimeout, match=r"when the task.s execution_timeout ended.*stays charged.*a retry"):
        airflow.attempt(operator, ti)
    assert airflow.clock.now() - start == pytest.approx(540, abs=5)
    assert [event["status"] for event in airflow.events] == ["timeout"]
    assert (ti.xcoms["magic_hour_job"]["charge"], ti.xcoms["magic_hour_job"]["status"]) == ("kept", "stuck")
    assert operator.attempt.describe_stop() is None  # Airflow's on_kill would say the same again
    ti.start_date = datetime.fromtimestamp(airflow.clock.now(), UTC)
    with pytest.raises(AirflowTaskTimeout, match="execution_timeout"):
        airflow.attempt(operator, ti)
    assert airflow.clock.now() - start == pytest.approx(540 + 600, abs=10)
    assert airflow.creates() == 1


def test_the_operators_timeout_before_execution_timeout(airflow):
    """Where our own timeout is the earlier one it ends the attempt, with its own words."""
    airflow.sim.inject_fault("job-outcome", status="stuck")
    operator = airflow.operator("text-to-video", VIDEO, timeout=300, execution_timeout=timedelta(hours=1))
    with pytest.raises(AirflowException, match="when this attempt's timeout ended"):
        airflow.attempt(operator, TaskInstance())
    assert airflow.creates() == 1


def test_a_users_own_class_resumes_with_what_it_knows(airflow):
    """An operator that overrides ``execute_complete`` as its documentation shows it is resumed, not failed."""

    class Noted(MagicHourOperator):
        def execute_complete(self, context, event, deadline=None):
            return super().execute_complete(context, event, deadline)

    operator = Noted(task_id="make", tool="text-to-video", request=VIDEO)
    deferred = airflow.start(operator, ti := TaskInstance())
    assert deferred.kwargs.keys() == {"deadline"}
    airflow.sim.advance(3600)
    event = {"kind": "video", "id": deferred.trigger.job_id, "status": "complete", "error_code": None}
    assert operator.execute_complete(ti.context(operator), event, **deferred.kwargs)["status"] == "complete"
    assert airflow.creates() == 1


def test_a_job_that_ends_by_the_execution_timeout(airflow):
    """What is complete at the deadline itself is paid for and stored, not thrown away."""
    airflow.sim.inject_fault("job-duration", seconds=200)
    operator = airflow.operator("text-to-video", VIDEO, execution_timeout=timedelta(seconds=200))
    deferred = airflow.start(operator, ti := TaskInstance())
    airflow.sim.advance(250)
    event = {"kind": "video", "id": deferred.trigger.job_id, "status": "timeout", "error_code": None}
    result = operator.execute_complete(ti.context(operator), event, **deferred.kwargs)
    assert result["status"] == "complete"
    assert airflow.creates() == 1


@pytest.mark.parametrize("ledger_path", [None, "none"])
def test_dag_test_drops_the_deadlines(airflow, ledger_path):
    """Without the deferral's arguments the end of execution_timeout is still known from the attempt's start."""
    airflow.sim.inject_fault("job-outcome", status="stuck")
    operator = airflow.operator("text-to-video", VIDEO, execution_timeout=timedelta(minutes=5), output_path="")
    ti = TaskInstance()
    if ledger_path:
        ti.store = None
    ti.start_date = datetime.fromtimestamp(airflow.clock.now(), UTC)
    deferred = airflow.start(operator, ti)
    airflow.sim.advance(301)
    event = {"kind": "video", "id": deferred.trigger.job_id, "status": "timeout", "error_code": None}
    # Where nothing remembers the job, a retry would pay again: then the task fails for good.
    with pytest.raises(AirflowFailException if ledger_path else AirflowTaskTimeout, match="execution_timeout ended"):
        operator.execute_complete(ti.context(operator), event)
    assert airflow.creates() == 1


@pytest.mark.parametrize(
    ("fault", "options", "code"),
    [
        ("job-outcome", {"status": "error", "code": "no_source_face"}, "no_source_face"),
        ("job-outcome", {"status": "stuck"}, "wait_timed_out"),
        ("job-outcome", {"status": "canceled"}, "job_canceled"),
        ("status", {"endpoint": "create", "status": 401}, "unauthorized"),
        ("close-after-accept", {}, "submission_unknown"),
    ],
)
def test_a_failure_has_a_code(airflow, fault, options, code):
    """What failed stands in ``magic_hour_job`` as a word for programs, too: the service's own or the kind of error."""
    airflow.sim.inject_fault(fault, **options)
    ti = TaskInstance()
    with pytest.raises(AirflowException):
        airflow.attempt(airflow.operator("text-to-video", VIDEO), ti)
    assert ti.xcoms["magic_hour_job"]["error_code"] == code
    assert airflow.creates() == (0 if code == "unauthorized" else 1)
