"""What a person may do by hand, and what must not change what is paid: links, uploads, upgrades, deletions."""

from __future__ import annotations

import dataclasses

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowTaskTimeout

from helpers.alarms import times_out_during_create
from helpers.attempts import TaskInstance
from helpers.samples import KEY, PHOTO
from helpers.stores import Store
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.execution.report import Report
from magic_hour_provider.inputs import sources
from magic_hour_provider.inputs.sources import _unsigned
from magic_hour_provider.ledger.intent import Intent

VIDEO = {"style": {"prompt": "waves"}, "end_seconds": 3}
EDIT = {"image_count": 1, "style": {"prompt": "x"}}


def test_adopting_ends_the_request_for_a_new_job(airflow, either_ledger):
    """Who put true first and then found the job has both keys set: the job is taken, and none is paid for later."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(), ti)
    ti.store.set("magic_hour.regenerate", True)
    ti.store.set("magic_hour.adopt", made["id"])
    ti.clear()
    for _ in range(2):
        assert airflow.attempt(airflow.operator(), ti)["id"] == made["id"]
    assert airflow.creates() == 1


def test_adopting_the_job_that_is_delivered_keeps_its_delivery(airflow, either_ledger):
    """It may be deleted at Magic Hour since, and its files are where they were stored."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(), ti)
    with MagicHourClient(api_key=KEY, base_url=airflow.sim.url) as client:
        client.delete_job("image", made["id"])
    ti.store.set("magic_hour.adopt", made["id"])
    ti.clear()
    again = airflow.attempt(airflow.operator(), ti)
    assert (again["files"], again["credits_charged"]) == (made["files"], made["credits_charged"])
    assert ti.record["state"] == "delivered"
    assert airflow.creates() == 1


@pytest.mark.parametrize("fault", [{"status": 422}, {"status": 429, "retry_after": 600}])
def test_a_regenerate_request_outlives_a_refusal(airflow, either_ledger, fault):
    """Nothing was made, so the next attempt still makes the new job."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(), ti)
    ti.store.set("magic_hour.regenerate", True)
    ti.clear()
    airflow.sim.inject_fault("status", **fault)
    with pytest.raises(AirflowException):
        airflow.attempt(airflow.operator(), ti)
    assert airflow.attempt(airflow.operator(), ti)["id"] != made["id"]
    assert airflow.attempt(airflow.operator(), ti)["id"] != made["id"]
    assert airflow.creates() == 2


def test_regenerate_may_be_quoted_and_an_address_adopted(airflow, either_ledger):
    """What people copy is understood: true with quotes, and a job by its address in the web library."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(), ti)
    ti.store.set("magic_hour.regenerate", "true")
    ti.clear()
    assert airflow.attempt(airflow.operator(), ti)["id"] != made["id"]
    ti.store.set("magic_hour.adopt", made["library_url"])
    ti.clear()
    assert airflow.attempt(airflow.operator(), ti)["id"] == made["id"]
    assert airflow.creates() == 2


@pytest.mark.parametrize("value", ["../account", "https://magichour.ai/my-library?videoId=abc"])
def test_an_id_that_cannot_be_adopted_is_refused(airflow, either_ledger, value):
    """The message names the place and the charge."""
    ti = TaskInstance()
    ti.store.set("magic_hour.adopt", value)
    with pytest.raises(AirflowFailException, match=r"(?s)magic_hour\.adopt.*nothing was charged"):
        airflow.attempt(airflow.operator(), ti)
    assert airflow.creates() == 0


def test_a_file_uploaded_again_is_the_same_input(airflow, either_ledger):
    """Clearing the upload together with the task that uses it pays nothing: the file is known by its checksum."""
    ti, size = TaskInstance(), PHOTO.stat().st_size
    for _ in range(2):
        with MagicHourClient(api_key=KEY, base_url=airflow.sim.url) as client:
            upload = {"file_path": client.upload(PHOTO), "size": size, "sha256": "ab" * 32}
        request = EDIT | {"assets": {"image_file_paths": [upload]}}
        airflow.attempt(airflow.operator("ai-image-editor", request, output_path=""), ti)
        ti.clear()
    assert airflow.creates() == 1


def test_links_are_compared_without_their_signatures():
    """A link signed again is the same file; one whose query names another file is not."""
    amazon = "https://b.example/k.png?X-Amz-Date={0}&X-Amz-Signature={0}&X-Amz-Expires=5"
    azure = "https://a.example/k.png?sv=2022&se={0}&sr=b&sp=r&sig={0}"
    own = "https://cdn.example/dl?file={1}&sig={0}"
    for link in (amazon, azure, own):
        assert _unsigned(link.format("a", 1)) == _unsigned(link.format("b", 1))
    assert _unsigned(own.format("a", 1)) != _unsigned(own.format("a", 2))


def test_a_job_deleted_after_its_files_were_stored_is_not_missed(airflow, either_ledger):
    """A cleared task whose files are all there returns them; with one missing it fails and says why."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(), ti)
    with MagicHourClient(api_key=KEY, base_url=airflow.sim.url) as client:
        client.delete_job(made["kind"], made["id"])
    airflow.clock.sleep(120)
    ti.clear()
    again = airflow.attempt(airflow.operator(), ti)
    assert (again["media"], again["status"]) == (made["media"], "complete")
    airflow.output.joinpath("out", made["file"].rpartition("/")[2]).unlink()
    with pytest.raises(AirflowFailException, match="is gone"):
        airflow.attempt(airflow.operator(), ti)
    assert airflow.creates() == 1


def test_records_of_before_an_upgrade_count(airflow, tmp_path):
    """A job submitted on Airflow 3.2 is resumed after the upgrade to 3.3, if ledger_path is still set."""
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    operator, ti = airflow.operator("text-to-video", VIDEO, output_path=""), TaskInstance()
    ti.store = None
    ti.next_attempt()
    airflow.start(operator, ti)
    ti.store = Store()
    assert airflow.attempt(operator, ti)["id"] == airflow.sim.jobs()[0]["id"]
    assert ti.record["state"] == "delivered"
    assert airflow.creates() == 1


def test_a_record_made_without_the_request_is_no_reason_to_pay(airflow, either_ledger):
    """A deferred task whose record was deleted resumes by its event; a clear with the same request pays nothing."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO, output_path="")
    ti.next_attempt()
    deferred = airflow.start(operator, ti)
    ti.store.delete("magic_hour.job")
    airflow.resume(operator, ti, deferred)
    ti.clear()
    airflow.attempt(operator, ti)
    assert airflow.creates() == 1


def test_an_interruption_before_the_request_leaves_no_intent(airflow, either_ledger, monkeypatch):
    """An alarm while the intent is announced, or ringing while it was written: nothing was sent, nothing is unknown."""
    for owner, name in ((Report, "push_intent"), (Intent, "write")):
        ti = TaskInstance()

        def interrupted(*_, **__):
            raise AirflowTaskTimeout("out of time")

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, interrupted)
            with pytest.raises(AirflowTaskTimeout):
                airflow.attempt(airflow.operator(), ti)
        assert ti.record is None
    assert airflow.creates() == 0


def test_an_alarm_does_not_hide_what_the_service_said(airflow, either_ledger, capsys, caplog):
    """A lost response that names a job, while the alarm rang: the log has the id, and the next attempt pays nothing."""
    body = '{"message": "' + "m" * 400 + '", "id": "cuidlost1"}'
    airflow.sim.inject_fault("accept-then-status", status=500, body=body)
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO, output_path="")
    with times_out_during_create():
        airflow.attempt(operator, ti)
    assert "names job cuidlost1" in caplog.text + capsys.readouterr().out
    with pytest.raises(AirflowFailException, match="It is unknown whether"):
        airflow.attempt(operator, ti)
    assert airflow.creates() == 1


def test_an_id_in_an_error_response_is_in_the_message(airflow):
    """However long the response is."""
    body = '{"message": "' + "m" * 400 + '", "id": "cuidlost1"}'
    airflow.sim.inject_fault("accept-then-status", status=503, body=body)
    with pytest.raises(AirflowFailException, match="names job cuidlost1"):
        airflow.attempt(airflow.operator(), TaskInstance())
    assert airflow.creates() == 1


def test_a_request_that_is_no_json_any_more_does_not_stop_the_paid_job(airflow, either_ledger):
    """What a retry renders is not sent: the paid job is resumed."""
    ti = TaskInstance()
    made = airflow.attempt(airflow.operator(extra_request={"seed": 1}), ti)
    assert airflow.attempt(airflow.operator(extra_request={"seed": float("nan")}), ti)["id"] == made["id"]
    assert airflow.creates() == 1


def test_a_storage_librarys_own_error_does_not_stop_the_paid_job(airflow, either_ledger, monkeypatch):
    """A retry needs no input file: one that cannot be read counts as unchanged, whatever the library raises."""
    request = EDIT | {"assets": {"image_file_paths": [str(PHOTO)]}}
    ti, operator = TaskInstance(), airflow.operator("ai-image-editor", request, output_path="")
    made = airflow.attempt(operator, ti)

    def away(path):
        raise RuntimeError("the token has expired")

    monkeypatch.setattr(sources, "checksum", away)
    assert airflow.attempt(operator, ti)["id"] == made["id"]
    assert airflow.creates() == 1


def test_known_credits_are_kept(airflow, either_ledger, monkeypatch):
    """A poll that does not say what was charged does not make it unknown."""
    real = MagicHourClient.get_job
    monkeypatch.setattr(
        MagicHourClient, "get_job", lambda *arguments: dataclasses.replace(real(*arguments), credits_charged=None)
    )
    ti = TaskInstance()
    airflow.attempt(airflow.operator(), ti)
    assert ti.record["credits_charged"] == 10
    assert airflow.creates() == 1


def test_a_mistyped_id_is_not_adopted(airflow, either_ledger):
    """It would take the record's place, and the job that is looked for would be forgotten."""
    ti, operator = TaskInstance(), airflow.operator()
    airflow.sim.inject_fault("close-after-accept")
    with pytest.raises(AirflowFailException, match="It is unknown whether"):
        airflow.attempt(operator, ti)
    before = ti.record
    ti.store.set("magic_hour.adopt", "mistyped1")
    ti.clear()
    started = airflow.clock.now()
    with pytest.raises(AirflowFailException, match=r"finds no image job of this id.*It is unknown whether") as caught:
        airflow.attempt(operator, ti)
    assert "magic_hour.adopt" in str(caught.value)
    assert airflow.clock.now() - started < 10
    assert ti.record == before
    ti.store.set("magic_hour.adopt", airflow.sim.jobs()[0]["id"])
    ti.clear()
    assert airflow.attempt(operator, ti)["id"] == airflow.sim.jobs()[0]["id"]
    assert airflow.creates() == 1


@pytest.mark.parametrize("own", ["intent", "generated name", "another task's"])
def test_adopting_a_job_with_another_tag_is_not_silent(airflow, either_ledger, capsys, caplog, own):
    """Its name says whose request it was: that of another one is adopted with a warning, the task's own without."""
    ti, operator = TaskInstance(), airflow.operator()
    if own == "another task's":
        airflow.attempt(operator, TaskInstance("other"))
    else:
        airflow.sim.inject_fault("close-after-accept")
        with pytest.raises(AirflowFailException):
            airflow.attempt(operator, ti)
    if own == "generated name":
        ti.store.delete("magic_hour.job")
    (job,) = airflow.sim.jobs()
    ti.store.set("magic_hour.adopt", job["id"])
    ti.clear()
    capsys.readouterr()
    assert airflow.attempt(operator, ti)["id"] == job["id"]
    said = capsys.readouterr().out + caplog.text
    assert ("the tag of another request" in said) == (own == "another task's")
    assert airflow.creates() == 1
