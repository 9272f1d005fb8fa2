"""One attempt after another: what is paid for, what is resumed, and what an attempt that fails says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException, TaskDeferred

from helpers.attempts import TaskInstance

both_ledgers = pytest.mark.usefixtures("either_ledger")

VIDEO = {"style": {"prompt": "waves"}, "end_seconds": 3}


EDIT = {"style": {"prompt": "x"}}


def edit(path: object) -> dict:
    """Return a request of the image editor."""
    return {"assets": {"image_file_paths": [path]}, **EDIT}


@both_ledgers
def test_a_retry_resumes_the_paid_job(airflow):
    """An attempt lost after the response was recorded costs nothing: the next one waits for the same job."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.next_attempt()
    assert isinstance(airflow.start(operator, ti), TaskDeferred)
    result = airflow.attempt(operator, ti)
    assert result["status"] == "complete"
    assert ti.xcoms["magic_hour_job"]["id"] == result["id"]
    assert f"magic_hour.job.{result['id']}" in ti.xcoms
    assert airflow.creates() == 1


@both_ledgers
def test_after_a_lost_response_nothing_is_sent_again(airflow):
    """Accepted, but the connection closed before the response: one create, and every later attempt says so."""
    airflow.sim.inject_fault("close-after-accept")
    ti, operator = TaskInstance(), airflow.operator(retries=3)
    for _ in range(3):
        with pytest.raises(AirflowFailException, match=r"It is unknown.*my-library.*magic_hour\.adopt") as caught:
            airflow.attempt(operator, ti)
        assert ti.record["state"] == "intent"
        assert f"#{ti.record['key']}" in str(caught.value)
    assert "before was 100000 credits, now it is 99990" in str(caught.value)
    assert f"adopt {ti.dag_id} {ti.run_id} {ti.task_id} JOB; or " in str(caught.value)
    report = ti.xcoms["magic_hour_job"]
    assert (report["status"], report["charge"]) == ("unknown", "unknown")
    assert report["next_step"].startswith("Nothing is sent again by itself.")
    assert airflow.sim.jobs()[0]["name"].endswith(f"#{ti.record['key']}")
    assert airflow.creates() == 1


@both_ledgers
def test_a_lost_response_can_be_adopted(airflow):
    """The person finds the job by its key, gives its id, clears, and nothing more is paid."""
    airflow.sim.inject_fault("close-after-accept")
    ti, operator = TaskInstance(), airflow.operator()
    with pytest.raises(AirflowFailException):
        airflow.attempt(operator, ti)
    ti.store.set("magic_hour.adopt", airflow.sim.jobs()[0]["id"])
    ti.clear()
    assert airflow.attempt(operator, ti)["id"] == airflow.sim.jobs()[0]["id"]
    assert airflow.creates() == 1


@both_ledgers
def test_a_lost_response_can_be_resubmitted_at_ones_own_risk(airflow):
    """``on_unknown_submission='resubmit'`` and the state key both pay again, once."""
    airflow.sim.inject_fault("close-after-accept")
    ti, operator = TaskInstance(), airflow.operator()
    with pytest.raises(AirflowFailException):
        airflow.attempt(operator, ti)
    ti.store.set("magic_hour.regenerate", True)
    ti.clear()
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 2
    airflow.sim.inject_fault("close-after-accept")
    ti, operator = TaskInstance("another"), airflow.operator(on_unknown_submission="resubmit")
    with pytest.raises(AirflowException, match="the next attempt sends the request again") as caught:
        airflow.attempt(operator, ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 4


@both_ledgers
@pytest.mark.parametrize(
    ("fault", "final", "accepted", "state"),
    [
        ({"fault": "status", "status": 400}, True, 0, None),
        ({"fault": "status", "status": 402}, True, 0, None),
        ({"fault": "status", "status": 403}, True, 0, None),
        ({"fault": "status", "status": 404}, True, 0, None),
        ({"fault": "status", "status": 422}, True, 0, None),
        ({"fault": "status", "status": 307}, True, 0, None),
        ({"fault": "status", "status": 429, "count": 99}, False, 0, None),
        ({"fault": "status", "status": 429, "retry_after": 600}, False, 0, None),
        ({"fault": "status", "status": 408}, True, 0, "intent"),
        ({"fault": "status", "status": 409}, True, 0, "intent"),
        ({"fault": "status", "status": 500}, True, 0, "intent"),
        ({"fault": "status", "status": 503, "html": True}, True, 0, "intent"),
        ({"fault": "accept-then-status", "status": 500}, True, 1, "intent"),
        ({"fault": "accept-then-status", "status": 200, "body": ""}, True, 1, "intent"),
        ({"fault": "accept-then-status", "status": 200, "body": "<html>"}, True, 1, "intent"),
        ({"fault": "accept-then-status", "status": 502}, True, 1, "intent"),
        ({"fault": "close-after-accept"}, True, 1, "intent"),
    ],
)
def test_the_response_table(airflow, fault, final, accepted, state):
    """What each response to the create means for the record, the retry and the money."""
    airflow.sim.inject_fault(**fault)
    ti = TaskInstance()
    with pytest.raises(AirflowException) as caught:
        airflow.attempt(airflow.operator(), ti)
    assert isinstance(caught.value, AirflowFailException) is final
    assert (ti.record or {}).get("state") == state
    report = ti.xcoms["magic_hour_job"]
    assert report["error"] == str(caught.value)
    assert report["charge"] == ("unknown" if state == "intent" else "none")
    assert airflow.creates() == accepted


@both_ledgers
@pytest.mark.parametrize(("count", "status"), [(1, 429), (3, 429), (1, 502), (2, 502)])
def test_refused_for_now_is_sent_again(airflow, count, status):
    """429 is obeyed and a 502 with an unchanged balance repeated: one create in the end."""
    airflow.sim.inject_fault("status", status=status, count=count)
    assert airflow.attempt(airflow.operator(dag=DAG("teaser")), TaskInstance())["status"] == "complete"
    assert airflow.creates() == 1


@both_ledgers
def test_a_502_is_repeated_twice_at_most(airflow):
    """After the second repetition the submission counts as unknown."""
    airflow.sim.inject_fault("status", status=502, count=9)
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="It is unknown whether"):
        airflow.attempt(airflow.operator(dag=DAG("teaser")), ti)
    assert airflow.sim.stats()["creates"] == {"accepted": 0, "refused": 3}


@both_ledgers
def test_a_clear_reuses_the_paid_job(airflow, capsys):
    """A cleared task with the same request collects the same job, and says that it was not paid again."""
    ti, operator = TaskInstance(), airflow.operator()
    first = airflow.attempt(operator, ti)
    downloads = airflow.sim.stats()["downloads"]
    ti.clear()
    assert airflow.attempt(operator, ti) == first
    assert airflow.sim.stats()["downloads"] == downloads
    assert f"Not paid again: resuming Magic Hour job {first['id']}" in capsys.readouterr().out
    assert airflow.creates() == 1


@both_ledgers
def test_a_clear_with_another_request_makes_a_new_job(airflow):
    """After an edit and a clear the new request is paid for; the retry of that attempt is not."""
    ti = TaskInstance()
    first = airflow.attempt(airflow.operator(), ti)
    ti.clear()
    edited = airflow.operator(request={"image_count": 1, "style": {"prompt": "a harbour"}})
    second = airflow.attempt(edited, ti)
    assert second["id"] != first["id"]
    assert airflow.attempt(edited, ti)["id"] == second["id"]
    assert [past["job_id"] for past in ti.record["history"]] == [first["id"]]
    assert airflow.creates() == 2


@both_ledgers
def test_on_clear_regenerate(airflow):
    """``on_clear='regenerate'`` pays on a clear and never on a retry."""
    ti, operator = TaskInstance(), airflow.operator(on_clear="regenerate")
    first = airflow.attempt(operator, ti)
    assert airflow.attempt(operator, ti)["id"] == first["id"]
    ti.clear()
    assert airflow.attempt(operator, ti)["id"] != first["id"]
    assert airflow.creates() == 2


@both_ledgers
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_failed_job_worth_a_retry(airflow, deferrable):
    """``unknown_error`` is refunded and retried with one new job per attempt."""
    airflow.sim.inject_fault("job-outcome", status="error", code="unknown_error")
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO, deferrable=deferrable)
    with pytest.raises(AirflowException, match="refunds the job") as caught:
        airflow.attempt(operator, ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 2


@both_ledgers
@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize(
    "outcome",
    [{"status": "error", "code": "no_source_face"}, {"status": "canceled"}, {"status": "gone", "immediately": False}],
)
def test_a_job_that_ended_for_good(airflow, outcome, deferrable):
    """Input failures, canceled and vanished jobs never pay again on a retry; after a clear one new job is made."""
    airflow.sim.inject_fault("job-outcome", **outcome)
    ti, operator = TaskInstance(), airflow.operator("lip-sync", lip_sync(), deferrable=deferrable)
    reports = []
    for _ in range(2):
        with pytest.raises(AirflowFailException, match=airflow_id(airflow)):
            airflow.attempt(operator, ti)
        reports.append(ti.xcoms["magic_hour_job"])
    assert reports[0]["status"] == outcome["status"]
    assert [report["charge"] for report in reports] == ["kept" if outcome["status"] == "gone" else "refunded", "none"]
    assert (reports[0]["credits_charged"] == 0) is (outcome["status"] != "gone")
    assert airflow.creates() == 1
    ti.clear()
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 2


def lip_sync() -> dict:
    """Return a request whose files are public addresses."""
    return {
        "start_seconds": 0,
        "end_seconds": 3,
        "assets": {
            "video_source": "file",
            "video_file_path": "https://example.com/a.mp4",
            "audio_file_path": "https://example.com/a.mp3",
        },
    }


def airflow_id(airflow) -> str:
    """Return a pattern for the id of the only job, once there is one."""
    return "job " if not airflow.sim.jobs() else airflow.sim.jobs()[0]["id"]


@pytest.mark.parametrize("folder", ["", "{{ macros.datetime.now() }}"])
def test_without_any_ledger_a_retry_must_not_pay_again(airflow, caplog, folder):
    """Where nothing outlives the attempt, a failure after the payment is final and says how to collect."""
    ti = TaskInstance()
    ti.store = None
    operator = airflow.operator("text-to-video", VIDEO, timeout=30, output_path=folder and str(airflow.output / folder))
    with pytest.raises(AirflowFailException, match="MagicHourDownloadOperator"):
        airflow.attempt(operator, ti)
    assert "Set [magic_hour] ledger_path" in caplog.text
    assert airflow.creates() == 1


@both_ledgers
def test_a_broken_connection_on_resume_does_not_hide_the_paid_job(airflow):
    """Airflow's API in trouble appears as a missing connection: with a paid job that is retryable and names it."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.next_attempt()
    deferred = airflow.start(operator, ti)
    airflow.disconnect()
    with pytest.raises(AirflowException, match=ti.record["job_id"]) as caught:
        airflow.resume(operator, ti, deferred)
    assert not isinstance(caught.value, AirflowFailException)
    airflow.connect()
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 1


@both_ledgers
def test_a_broken_connection_after_a_refund_claims_no_charge(airflow):
    """A job that failed and was refunded is not paid for any more, and no retry resumes it."""
    failing = {"image_count": 1, "style": {"prompt": "[[error:unknown_error]]"}}
    ti, operator = TaskInstance(), airflow.operator(request=failing, retries=2)
    with pytest.raises(AirflowException, match="refunds"):
        airflow.attempt(operator, ti)
    airflow.disconnect()
    with pytest.raises(AirflowException) as caught:
        airflow.attempt(operator, ti)
    assert "stays charged" not in str(caught.value)
    assert "resumes" not in str(caught.value)
    assert ti.xcoms["magic_hour_job"]["charge"] == "none"
    assert airflow.creates() == 1


@both_ledgers
def test_a_broken_connection_does_not_hide_a_lost_response(airflow, either_ledger):
    """What this attempt did not charge is said beside what an earlier one may have."""
    airflow.sim.inject_fault("close-after-accept")
    ti, operator = TaskInstance(), airflow.operator()
    with pytest.raises(AirflowFailException):
        airflow.attempt(operator, ti)
    airflow.disconnect()
    with pytest.raises(
        AirflowFailException, match=r"(?s)no Airflow connection.*An earlier attempt.*It is unknown whether"
    ):
        airflow.attempt(operator, ti)
    assert airflow.creates() == 1


def test_a_request_that_became_invalid_does_not_stop_the_paid_job(airflow):
    """What is rendered at a retry is not sent, so it is not judged."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.next_attempt()
    airflow.start(operator, ti)
    operator.request = {"nonsense": 1}
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 1


@both_ledgers
def test_a_request_that_is_none_any_more_does_not_hide_the_paid_job(airflow):
    """The ledger is read before the request: the error names the job, and the next attempt resumes it."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.next_attempt()
    airflow.start(operator, ti)
    operator.request = "a template that rendered to text"
    with pytest.raises(
        AirflowException, match=r"must be a dict.*has submitted Magic Hour job.*stays charged"
    ) as caught:
        airflow.attempt(operator, ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert ti.record["job_id"] in str(caught.value)
    operator.request = VIDEO
    assert airflow.attempt(operator, ti)["id"] == ti.record["job_id"]
    assert airflow.creates() == 1


@both_ledgers
def test_a_request_that_is_none_any_more_does_not_hide_a_lost_response(airflow):
    """The ledger is read before the request: the error says what may have been paid for, and is final."""
    airflow.sim.inject_fault("close-after-accept")
    ti, operator = TaskInstance(), airflow.operator()
    for request in (operator.request, "a template that rendered to text"):
        operator.request = request
        with pytest.raises(AirflowFailException, match=r"(?s)It is unknown.*magic_hour\.adopt") as caught:
            airflow.attempt(operator, ti)
    assert "must be a dict" in str(caught.value)
    assert airflow.creates() == 1


@both_ledgers
def test_a_link_signed_again_is_the_same_input(airflow):
    """After a clear the same object with a fresh signature is the same request, and not paid again."""
    ti = TaskInstance()
    for signature in ("a", "b"):
        link = f"https://s3.example/p.png?X-Amz-Date={signature}&X-Amz-Signature={signature}"
        airflow.attempt(airflow.operator("ai-image-editor", edit(link)), ti)
        ti.clear()
    assert "X-Amz-Signature" not in json.dumps([ti.xcoms, ti.store.rows])
    assert airflow.creates() == 1


@both_ledgers
def test_a_job_that_is_not_waited_for_is_polled_once_on_resume(airflow):
    """A refunded job is not handed on as if it were alive: the attempt fails, and the next one makes a new job."""
    airflow.sim.inject_fault("job-outcome", status="error", code="unknown_error")
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO, wait_for_completion=False)
    airflow.attempt(operator, ti)
    airflow.sim.advance(600)
    with pytest.raises(AirflowException, match="refunds the job"):
        airflow.attempt(operator, ti)
    assert airflow.attempt(operator, ti)["status"] == "queued"
    assert airflow.creates() == 2


@both_ledgers
def test_a_stop_during_the_wait_on_429_leaves_no_intent(airflow, monkeypatch):
    """A definite no is taken back before the pause: an attempt that ends in it has paid nothing."""
    airflow.sim.inject_fault("status", status=429)

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(airflow.clock, "sleep", stop)
    ti = TaskInstance()
    with pytest.raises(KeyboardInterrupt):
        airflow.attempt(airflow.operator(), ti)
    assert ti.record is None
    monkeypatch.undo()
    assert airflow.creates() == 0


@both_ledgers
def test_a_failing_download_is_repeated_by_a_retry(airflow):
    """The job is paid for: a retry fetches its file and makes no new job; no half file is left."""
    airflow.sim.inject_fault("status", endpoint="download", status=500, count=5)
    ti, operator = TaskInstance(), airflow.operator()
    with pytest.raises(AirflowException, match="refused a download"):
        airflow.attempt(operator, ti)
    assert list((airflow.output / "out").iterdir()) == []
    assert len(airflow.attempt(operator, ti)["files"]) == 1
    assert airflow.creates() == 1


@both_ledgers
def test_another_file_is_not_overwritten(airflow):
    """A different file of the same name stays; the error names both checksums, and the job stays collectable."""
    ti, operator = TaskInstance(), airflow.operator()
    result = airflow.attempt(operator, ti)
    Path(result["file"]).write_bytes(b"someone else's")
    with pytest.raises(AirflowFailException, match="Nothing was overwritten"):
        airflow.attempt(operator, ti)
    assert Path(result["file"]).read_bytes() == b"someone else's"
    Path(result["file"]).unlink()
    ti.clear()
    assert airflow.attempt(operator, ti) == result
    assert airflow.creates() == 1


@both_ledgers
def test_the_id_is_kept_when_the_store_is_away(airflow):
    """A store that comes back in time gets the id; the task continues."""
    ti = TaskInstance()
    ti.store.failing = 3
    assert airflow.attempt(airflow.operator(), ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_without_any_ledger(airflow):
    """Where nothing keeps a record the event itself carries the job."""
    ti = TaskInstance()
    ti.store = None
    operator = airflow.operator("text-to-video", VIDEO, output_path="")
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_stopping_says_that_the_job_keeps_running(airflow, capsys):
    """There is no cancel API, and nothing is deleted."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.next_attempt()
    airflow.start(operator, ti)
    operator.on_kill()
    assert "It keeps running and may still be charged" in capsys.readouterr().out
    assert airflow.sim.stats()["deletes"] == 0
    assert airflow.creates() == 1


@both_ledgers
@pytest.mark.parametrize("trouble", ["connection", "request"])
def test_an_attempt_that_cannot_begin_reports_why(airflow, trouble):
    """A missing connection and a request that is text: people and views read the reason, and that nothing was paid."""
    ti = TaskInstance()
    operator = airflow.operator(request="{{ request }}" if trouble == "request" else None)
    if trouble == "connection":
        airflow.disconnect()
    with pytest.raises(AirflowFailException) as caught:
        airflow.attempt(operator, ti)
    report = ti.xcoms["magic_hour_job"]
    assert report["error"] == str(caught.value)
    assert (report["tool"], report["status"], report["charge"]) == ("ai-image-generator", "failed", "none")
    assert report["error_code"] == "invalid_input"
    assert airflow.creates() == 0


@both_ledgers
def test_an_attempt_that_cannot_begin_reports_the_job_of_the_one_before(airflow):
    """Airflow has removed the XComs by which people and webhooks find it: they are there again."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.next_attempt()
    assert isinstance(airflow.start(operator, ti), TaskDeferred)
    (paid,) = airflow.sim.jobs()
    airflow.disconnect()
    with pytest.raises(AirflowException, match="was paid for"):
        airflow.attempt(operator, ti)
    report = ti.xcoms["magic_hour_job"]
    assert (report["id"], report["charge"]) == (paid["id"], "kept")
    assert report["credits_charged"] == ti.record["credits_charged"] > 0
    assert report["name"].endswith(f"#{ti.record['key']}")
    assert f"magic_hour.job.{paid['id']}" in ti.xcoms
    airflow.connect()
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 1


@both_ledgers
def test_an_attempt_that_cannot_begin_reports_the_request_whose_response_was_lost(airflow):
    """A webhook may still tell which job it made: the tag is there again, with its name and time."""
    airflow.sim.inject_fault("close-after-accept")
    ti, operator = TaskInstance(), airflow.operator()
    with pytest.raises(AirflowFailException):
        airflow.attempt(operator, ti)
    tag = ti.record["key"]
    before = ti.xcoms[f"magic_hour.intent.{tag}"]
    airflow.disconnect()
    with pytest.raises(AirflowFailException):
        airflow.attempt(operator, ti)
    after = ti.xcoms[f"magic_hour.intent.{tag}"]
    assert {name: after[name] for name in ("tool", "name", "conn_id")} == {
        name: before[name] for name in ("tool", "name", "conn_id")
    }
    assert ti.xcoms["magic_hour_job"]["charge"] == "unknown"
    assert airflow.creates() == 1


def test_an_attempt_that_cannot_begin_keeps_what_shows_an_earlier_payment(airflow):
    """A store that has forgotten the record is not believed later either: the job's key outlives the attempt."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.next_attempt()
    airflow.start(operator, ti)
    (paid,) = airflow.sim.jobs()
    ti.store.rows.clear()
    airflow.disconnect()
    with pytest.raises(AirflowFailException):
        airflow.attempt(operator, ti)
    assert f"magic_hour.job.{paid['id']}" in ti.xcoms
    airflow.connect()
    with pytest.raises(AirflowException, match=paid["id"]):
        airflow.attempt(operator, ti)
    assert airflow.creates() == 1
