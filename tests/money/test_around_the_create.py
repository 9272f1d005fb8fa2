"""What surrounds the paid request: the minimum balance, interruptions, a store that is away, files already stored."""

from __future__ import annotations

import signal
import threading

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from helpers.alarms import before_each, times_out_during, times_out_during_create
from helpers.attempts import Connected, TaskInstance
from helpers.samples import KEY
from helpers.waiting import HANG_S
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.ledger.ledger import Ledger
from magic_hour_provider.simulator import Simulator

VIDEO = {"style": {"prompt": "waves"}, "end_seconds": 3}


# -- [magic_hour] min_credits_left ---------------------------------------------------------------------------


def small_account(monkeypatch, tmp_path, **options):
    """Give an account with 400 credits."""
    sim = Simulator(api_key=KEY, clock=lambda: 1_800_000_000.0, credits=400, **options)
    return sim, lambda: Connected(sim, monkeypatch, tmp_path)


def test_nothing_is_submitted_below_the_minimum(monkeypatch, tmp_path):
    """The message has both numbers, the failure is final, and nothing was sent."""
    sim, connect = small_account(monkeypatch, tmp_path)
    with sim:
        airflow, ti = connect(), TaskInstance()
        airflow.setting("min_credits_left", "500")
        with pytest.raises(AirflowFailException, match=r"has 400 credits.*min_credits_left keeps 500.*nothing was"):
            airflow.attempt(airflow.operator(), ti)
        assert ti.record is None
        assert airflow.creates() == 0
        airflow.setting("min_credits_left", "400")
        assert airflow.attempt(airflow.operator(), ti)["status"] == "complete"
        assert airflow.creates() == 1


def test_the_minimum_is_not_for_usage_based_accounts(monkeypatch, tmp_path):
    """Where there is no subscription the balance means little."""
    sim, connect = small_account(monkeypatch, tmp_path, tier="free")
    with sim:
        airflow = connect()
        airflow.setting("min_credits_left", "500")
        assert airflow.attempt(airflow.operator(), TaskInstance())["status"] == "complete"
        assert airflow.creates() == 1


def test_a_balance_that_cannot_be_had_is_below_the_minimum(airflow):
    """With a minimum the balance has to be known: a failure that a retry may fix, unpaid."""
    airflow.setting("min_credits_left", "5")
    airflow.sim.inject_fault("status", endpoint="account", status=503)
    ti = TaskInstance()
    with pytest.raises(AirflowException, match="did not say how many credits") as caught:
        airflow.attempt(airflow.operator(), ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert airflow.creates() == 0
    assert airflow.attempt(airflow.operator(), ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_a_paid_job_is_resumed_below_the_minimum(airflow):
    """The minimum is about new jobs: one that is paid for is waited for, whatever the balance."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO, output_path="")
    ti.next_attempt()
    airflow.start(operator, ti)
    airflow.setting("min_credits_left", "99999999")
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 1


# -- interruptions -------------------------------------------------------------------------------------------


def test_an_execution_timeout_during_the_request_waits_for_the_record(airflow):
    """Airflow's own alarm rings while the paid request is under way: it is heard after the record, and the job runs."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO, output_path="")
    with times_out_during_create():
        airflow.attempt(operator, ti)
    assert ti.record["state"] == "submitted"
    assert airflow.creates() == 1
    assert airflow.attempt(operator, ti)["id"] == ti.record["job_id"]
    assert airflow.creates() == 1


def test_an_execution_timeout_during_a_refused_request_leaves_no_intent(airflow):
    """The refusal is written down before the alarm is heard: the next attempt may submit."""
    airflow.sim.inject_fault("status", status=422)
    ti, operator = TaskInstance(), airflow.operator()
    with times_out_during_create():
        airflow.attempt(operator, ti)
    assert ti.record is None
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_outside_the_main_thread_there_is_no_alarm_to_hold(airflow):
    """Signals belong to the main thread: in another one the request is sent all the same."""
    done = []
    thread = threading.Thread(target=lambda: done.append(airflow.attempt(airflow.operator(), TaskInstance())))
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        thread.start()
        thread.join(HANG_S)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert done[0]["status"] == "complete"
    assert airflow.creates() == 1


def test_an_execution_timeout_elsewhere_is_not_held_back(airflow):
    """Only the step between request and record is: the alarm of a task that waits rings at once."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO, output_path="", deferrable=False)
    with times_out_during(airflow.clock, "sleep"):
        airflow.attempt(operator, ti)
    assert airflow.clock.waits == []
    assert airflow.creates() == 1


def test_a_task_stopped_during_the_request_says_what_is_unknown(airflow, capsys, monkeypatch):
    """Airflow's SIGTERM only calls ``on_kill``: its message has the tag that finds the job."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO, output_path="")
    before_each(monkeypatch, MagicHourClient, "create", lambda: signal.raise_signal(signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    try:
        airflow.attempt(operator, ti)
    finally:
        signal.signal(signal.SIGTERM, before)
    said = capsys.readouterr().out
    assert f"Stopped while the paid request #{ti.record['key']} was under way" in said
    assert airflow.creates() == 1


def test_a_process_that_ends_during_the_request_leaves_its_tag_in_the_log(airflow, caplog, monkeypatch):
    """Whatever ends the request, the log says which one it was; the next attempt says the same and pays nothing."""
    create = MagicHourClient.create

    def create_and_end(*arguments):
        create(*arguments)
        raise SystemExit(1)

    ti, operator = TaskInstance(), airflow.operator()
    monkeypatch.setattr(MagicHourClient, "create", create_and_end)
    with pytest.raises(SystemExit):
        airflow.attempt(operator, ti)
    assert f"Stopped while the paid request #{ti.record['key']} was being sent" in caplog.text
    with pytest.raises(AirflowFailException, match=f"#{ti.record['key']}"):
        airflow.attempt(operator, ti)
    assert airflow.creates() == 1


# -- the record ----------------------------------------------------------------------------------------------


def test_an_id_that_could_not_be_recorded_is_in_the_error_and_can_be_adopted(airflow, capsys, caplog):
    """After two minutes the error itself names the job, once, and by hand the task resumes it."""
    ti, operator = TaskInstance(), airflow.operator()
    ti.store.failing = 999
    with pytest.raises(AirflowFailException) as caught:
        airflow.attempt(operator, ti)
    (job,) = airflow.sim.jobs()
    assert str(caught.value).startswith(f"Magic Hour job {job['id']} (ai-image-generator) was created and charged")
    assert "was created and charged" not in caplog.text + capsys.readouterr().out
    assert f"imageId={job['id']}" in str(caught.value)
    assert "magic_hour.adopt" in str(caught.value)
    ti.store.failing = 0
    ti.store.set("magic_hour.adopt", job["id"])
    ti.clear()
    assert airflow.attempt(operator, ti)["id"] == job["id"]
    assert airflow.creates() == 1


@pytest.mark.parametrize("on", [True, False])
def test_a_store_that_is_cleared_on_success_is_warned_about_once(airflow, monkeypatch, capsys, on):
    """Where Airflow forgets the record of a successful task, the attempt that pays says so; later ones do not."""
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", str(on))
    ti, operator = TaskInstance(), airflow.operator()
    airflow.attempt(operator, ti)
    assert ("clear_on_success is on" in capsys.readouterr().out) is on
    airflow.attempt(operator, ti)
    assert "clear_on_success is on" not in capsys.readouterr().out
    assert airflow.creates() == 1


# -- files ---------------------------------------------------------------------------------------------------


def test_files_already_stored_are_not_downloaded_again(airflow, monkeypatch):
    """Downloads that broke off resume where they stopped; what was whole is not downloaded again."""
    four = {"image_count": 4, "style": {"prompt": "a lighthouse"}}
    ti, operator = TaskInstance(), airflow.operator(request=four)
    real, fetched = MagicHourClient.download, []

    def third_breaks(client, link, target, **options):
        fetched.append(link)
        if len(fetched) == 3:
            raise SystemExit(1)
        return real(client, link, target, **options)

    monkeypatch.setattr(MagicHourClient, "download", third_breaks)
    with pytest.raises(SystemExit):
        airflow.attempt(operator, ti)
    assert len(ti.record["files"]) == 3  # they come side by side, and one that breaks takes no other with it
    result = airflow.attempt(operator, ti)
    assert len(fetched) == 5  # four, and the one that broke
    assert [row["index"] for row in result["media"]] == [0, 1, 2, 3]
    ti.clear()
    assert airflow.attempt(operator, ti)["media"] == result["media"]
    assert len(fetched) == 5
    assert airflow.creates() == 1


def test_a_stored_file_that_changed_is_not_taken_for_the_jobs(airflow):
    """What was recorded is compared with what is there: a changed file is neither returned nor overwritten."""
    ti, operator = TaskInstance(), airflow.operator()
    result = airflow.attempt(operator, ti)
    path = result["file"].removeprefix("file://")
    with open(path, "ab") as file:  # noqa: PTH123 (what another program would do)
        file.write(b"changed")
    ti.clear()
    with pytest.raises(AirflowFailException, match="another file"):
        airflow.attempt(operator, ti)
    assert airflow.creates() == 1


def test_an_expired_link_is_replaced_by_a_poll(airflow):
    """One refused download costs one more poll, not the attempt."""
    airflow.sim.inject_fault("expired-link", endpoint="download")
    ti = TaskInstance()
    assert airflow.attempt(airflow.operator(), ti)["files"]
    assert airflow.sim.jobs()[0]["polls"] == ti.xcoms["magic_hour_job"]["polls"] + 1
    assert airflow.creates() == 1


def test_without_a_written_intent_nothing_is_sent(airflow, monkeypatch):
    """A create without a written intent does not happen: with a store that cannot be written nothing is sent."""

    def away(*_, **__):
        raise ConnectionError("the API server is away")

    monkeypatch.setattr(Ledger, "write", away)
    with pytest.raises(ConnectionError):
        airflow.attempt(airflow.operator(), TaskInstance())
    assert airflow.creates() == 0
