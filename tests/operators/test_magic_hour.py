"""The operator against the simulator: what it returns, what it pays for, what it says."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path

import av
import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, TaskDeferred
from PIL import Image

from helpers.attempts import TaskInstance
from helpers.samples import KEY, PHOTO
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.operators.magic_hour import MagicHourOperator

both_ledgers = pytest.mark.usefixtures("either_ledger")

VIDEO = {"style": {"prompt": "waves"}, "end_seconds": 3}


def test_a_result_is_one_json_object(airflow):
    """The result has the documented fields, its file decodes, and one job was paid for."""
    ti = TaskInstance()
    result = airflow.attempt(airflow.operator(), ti)
    job_id = result["id"]
    assert set(result) == {
        "id", "kind", "tool", "name", "status", "credits_charged", "library_url", "file", "files", "media",
    }  # fmt: skip
    assert result["file"] == result["files"][0] == result["media"][0]["uri"]
    assert Path(result["file"]).name == f"ai-image-generator-{job_id}-1.png"
    assert result["library_url"] == f"https://magichour.ai/my-library?imageId={job_id}"
    with Image.open(result["file"]) as picture:
        picture.load()
    assert result["media"][0]["size"] == Path(result["file"]).stat().st_size
    assert json.loads(json.dumps(result)) == result
    assert "signature" not in json.dumps([result, ti.xcoms, ti.store.rows])
    assert airflow.creates() == 1


def test_every_file_of_a_job_is_stored(airflow):
    """Four images are four files, in order, with nothing half-written beside them."""
    ti = TaskInstance()
    result = airflow.attempt(airflow.operator(request={"image_count": 4, "style": {"prompt": "x"}}), ti)
    names = [Path(uri).name for uri in result["files"]]
    assert names == [f"ai-image-generator-{result['id']}-{n}.png" for n in (1, 2, 3, 4)]
    sidecar = f"ai-image-generator-{result['id']}.json"
    assert sorted(p.name for p in (airflow.output / "out").iterdir()) == sorted([*names, sidecar])
    assert airflow.creates() == 1


def test_the_folder_is_a_template_over_the_run(airflow):
    """Each run and task has a folder of its own."""
    operator = airflow.operator(output_path=f"file://{airflow.output}/{{{{ ds }}}}/{{{{ task.task_id }}}}/")
    ti = TaskInstance()
    operator.render_template_fields({**ti.context(operator), "ds": "2026-11-25"})
    result = airflow.attempt(operator, ti)
    name = f"ai-image-generator-{result['id']}-1.png"
    assert result["file"] == f"file://{airflow.output}/2026-11-25/make/{name}"
    assert (airflow.output / "2026-11-25" / "make" / name).exists()
    assert airflow.creates() == 1


@pytest.mark.parametrize("value", ["../../etc", ".."])
def test_no_template_leads_out_of_the_folder(airflow, value):
    """A param of somebody's making that climbs is refused before anything is paid."""
    operator = airflow.operator(output_path=f"{airflow.output}/out/{{{{ params.customer }}}}")
    ti = TaskInstance()
    operator.render_template_fields({**ti.context(operator), "params": {"customer": value}})
    with pytest.raises(AirflowFailException, match=r"has '\.\.' in it"):
        airflow.attempt(operator, ti)
    assert not (airflow.output / "out").exists()
    assert airflow.creates() == 0


def test_without_output_path_nothing_is_downloaded(airflow):
    """The result then names the job and no files."""
    result = airflow.attempt(airflow.operator(output_path=""), TaskInstance())
    assert (result["file"], result["files"], result["media"]) == (None, [], [])
    assert airflow.sim.stats()["downloads"] == 0
    assert airflow.creates() == 1


def test_the_configured_output_path_is_the_default(airflow):
    """``[magic_hour] output_path`` serves tasks that name none."""
    airflow.setting("output_path", str(airflow.output / "configured"))
    result = airflow.attempt(airflow.operator(output_path=None), TaskInstance())
    assert Path(result["file"]).parent == airflow.output / "configured"
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


def test_submit_and_return(airflow):
    """``wait_for_completion=False`` returns the same object at once, queued and without files."""
    ti = TaskInstance()
    operator = airflow.operator("text-to-video", VIDEO, wait_for_completion=False)
    result = airflow.attempt(operator, ti)
    assert (result["status"], result["files"], result["kind"]) == ("queued", [], "video")
    assert airflow.attempt(operator, ti)["id"] == result["id"]
    assert airflow.creates() == 1


def test_a_photo_is_uploaded_and_chained_by_reference(airflow):
    """A local file is uploaded once; a result object is handed on by its library address, no byte through us."""
    edited = airflow.attempt(
        airflow.operator(
            "ai-image-editor", {"assets": {"image_file_paths": [str(PHOTO), str(PHOTO)]}, "style": {"prompt": "x"}}
        ),
        TaskInstance("edit"),
    )
    clip = airflow.attempt(
        airflow.operator("image-to-video", {"assets": {"image_file_path": edited}, "end_seconds": 3}),
        TaskInstance("animate"),
    )
    first, second = airflow.sim.jobs()
    assert len(set(first["request"]["assets"]["image_file_paths"])) == 1
    assert second["request"]["assets"]["image_file_path"] == edited["library_url"]
    assert clip["status"] == "complete"
    assert airflow.sim.stats()["uploads"] == 1
    assert airflow.creates() == 2


def test_one_of_several_files_goes_by_a_link_of_its_own(airflow):
    """A library address names a job, not one of its four files, so a fresh link is used; it is kept nowhere."""
    several = airflow.attempt(
        airflow.operator(request={"image_count": 4, "style": {"prompt": "x"}}), TaskInstance("make")
    )
    ti = TaskInstance("animate")
    airflow.attempt(airflow.operator("image-to-video", {"assets": {"image_file_path": several}, "end_seconds": 3}), ti)
    assert "/_files/" in airflow.sim.jobs()[1]["request"]["assets"]["image_file_path"]
    assert "/_files/" not in json.dumps([ti.xcoms, ti.store.rows])
    assert airflow.creates() == 2


def test_faces_are_returned_and_there_is_no_file(airflow):
    """Face detection returns the faces' paths in order and takes no name."""
    result = airflow.attempt(
        airflow.operator("face-detection", {"assets": {"target_file_path": str(PHOTO)}}), TaskInstance()
    )
    assert len(result["faces"]) == 2
    assert result["files"] == []
    assert "name" not in airflow.sim.jobs()[0]["request"]
    assert airflow.creates() == 1


@pytest.mark.parametrize(
    ("tag_job_names", "given", "sent"),
    [
        ("all", None, r"teaser\.make manual__2026-11-23T00:00:00\+00:00 #[A-Z2-7]{8}"),
        ("all", "Monday", r"Monday #[A-Z2-7]{8}"),
        ("all", "x" * 200, r"x{90} #[A-Z2-7]{8}"),
        ("generated", "Monday", "Monday"),
        ("generated", None, r"teaser.* #[A-Z2-7]{8}"),
        ("none", "Monday", "Monday"),
        ("none", None, None),
    ],
)
def test_the_name_carries_the_key(airflow, tag_job_names, given, sent):
    """The job's name is the only thread back to a lost answer; ``tag_job_names`` says whose names carry it."""
    airflow.setting("tag_job_names", tag_job_names)
    request = {"image_count": 1, "style": {"prompt": "x"}} | ({"name": given} if given else {})
    airflow.attempt(airflow.operator(request=request), TaskInstance())
    name = airflow.sim.jobs()[0]["request"].get("name")
    assert name is None if sent is None else __import__("re").fullmatch(sent, name)
    assert name is None or len(name) <= 100
    assert airflow.creates() == 1


def test_extra_request_is_merged_deeply(airflow):
    """Fields newer than this package get through, beside the request's own."""
    airflow.attempt(airflow.operator(extra_request={"style": {"brand_new": 1}, "seed": 3}), TaskInstance())
    sent = airflow.sim.jobs()[0]["request"]
    assert sent["style"] == {"prompt": "a lighthouse", "brand_new": 1}
    assert sent["seed"] == 3
    assert airflow.creates() == 1


# -- bad input: one clear error before any create -----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tool": "text-to-vidoe"}, "did you mean"),
        ({"tool": 5}, "is not a Magic Hour tool"),
        ({"request": []}, "must be a dict"),
        ({"request": "text"}, "must be a dict"),
        ({"extra_request": ["x"]}, "must be a dict"),
        ({"on_clear": "never"}, "on_clear must be one of"),
        ({"on_unknown_submission": "maybe"}, "on_unknown_submission must be one of"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"timeout": timedelta(seconds=-1)}, "timeout must be above 0"),
    ],
)
def test_what_can_never_work_is_refused_when_the_dag_is_parsed(options, words):
    """A slip in the DAG file is an import error that names it."""
    options = {"task_id": "t", "tool": "text-to-video", "request": {}} | options
    with pytest.raises(InvalidInputError, match=words):
        MagicHourOperator(**options)


def test_a_rendered_request_must_be_a_dict_too(airflow):
    """A template that renders to text is refused before anything is sent."""
    operator = airflow.operator(request="{{ params.body }}")
    operator.request = "still text"
    with pytest.raises(AirflowFailException, match=r"must be a dict.*nothing was charged"):
        airflow.attempt(operator, TaskInstance())
    assert airflow.creates() == 0


EDIT = {"style": {"prompt": "x"}}


def edit(path: object) -> dict:
    """Return a request of the image editor."""
    return {"assets": {"image_file_paths": [path]}, **EDIT}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nowhere/photo.png", r"image_file_paths\[0\].*cannot be read"),
        ("/etc", "has no extension"),
        ("photo", "has no extension"),
        ("notes.txt", "takes image files"),
        ("clip.mp4", "takes image files"),
        ("nosuch://bucket/photo.png", "cannot be read"),
        (5, "takes a public URL"),
        ({"kind": "face-detection", "id": "abc"}, "has no file to use"),
        ({"kind": "image", "id": "../x"}, "is not a Magic Hour job id"),
    ],
)
def test_an_input_that_cannot_work(airflow, path, words):
    """Unreadable files, missing extensions and wrong kinds are named with their field; nothing is charged."""
    with pytest.raises(AirflowFailException, match=words):
        airflow.attempt(airflow.operator("ai-image-editor", edit(path)), TaskInstance())
    assert airflow.creates() == 0


def test_a_folder_in_place_of_a_photo(airflow, tmp_path):
    """A folder that is named like a picture cannot be read."""
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(AirflowFailException, match="cannot be read"):
        airflow.attempt(airflow.operator("ai-image-editor", edit(str(tmp_path / "folder.png"))), TaskInstance())
    assert airflow.creates() == 0


def test_an_output_folder_that_cannot_be_written(airflow, tmp_path):
    """The folder is tried before anything is paid for."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AirflowFailException, match=r"cannot be written.*nothing was charged"):
        airflow.attempt(airflow.operator(output_path=str(tmp_path / "file" / "out")), TaskInstance())
    assert airflow.creates() == 0


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        ({"password": ""}, "API key is empty"),
        ({"password": None}, "API key is empty"),
        ({"password": "mhk live"}, "has a blank"),
        ({"password": "mhk_live_wrong"}, "does not accept the API key"),
        ({"host": "ftp://x"}, "is not an address"),
        ({"extra": '{"timeout": "soon"}'}, "'timeout' must be a number"),
        ({"extra": '{"verify": "/no/such/file"}'}, "does not exist"),
    ],
)
def test_a_connection_that_cannot_work(airflow, connection, words):
    """A wrong key or address fails the first attempt for good, before any create, and shows no key."""
    airflow.connect(**connection)
    with pytest.raises(AirflowFailException, match=words) as caught:
        airflow.attempt(airflow.operator(), TaskInstance())
    assert not connection.get("password") or connection["password"] not in str(caught.value)
    assert airflow.creates() == 0


def test_a_missing_connection(airflow):
    """Without connection and without key in the environment the error says what to make."""
    airflow.disconnect()
    with pytest.raises(AirflowFailException, match=r"no Airflow connection 'magic_hour_default'.*MAGIC_HOUR_API_KEY"):
        airflow.attempt(airflow.operator(), TaskInstance())
    assert airflow.creates() == 0


def test_a_wrong_host(airflow):
    """Nobody listens there: the error is retryable, as networks heal, and nothing was recorded or charged."""
    airflow.connect(host="http://127.0.0.1:9")
    ti = TaskInstance()
    with pytest.raises(AirflowException, match=r"could not be reached.*nothing was charged") as caught:
        airflow.attempt(airflow.operator(), ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert ti.record is None
    assert airflow.creates() == 0


# -- pay once ------------------------------------------------------------------------------------------------


@both_ledgers
def test_a_retry_goes_on_with_the_paid_job(airflow):
    """An attempt lost after the answer was recorded costs nothing: the next one waits for the same job."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.next_attempt()
    assert isinstance(airflow.start(operator, ti), TaskDeferred)
    result = airflow.attempt(operator, ti)
    assert result["status"] == "complete"
    assert ti.xcoms["magic_hour_job"]["id"] == result["id"]
    assert f"magic_hour.job.{result['id']}" in ti.xcoms
    assert airflow.creates() == 1


@both_ledgers
def test_a_lost_answer_is_never_sent_again(airflow):
    """Accepted, but the connection closed before the answer: one create, and every later attempt says so."""
    airflow.sim.inject_fault("close-after-accept")
    ti, operator = TaskInstance(), airflow.operator(retries=3)
    for _ in range(3):
        with pytest.raises(AirflowFailException, match=r"It is unknown.*my-library.*magic_hour\.adopt") as caught:
            airflow.attempt(operator, ti)
        assert ti.record["state"] == "intent"
        assert f"#{ti.record['key']}" in str(caught.value)
    assert "before was 100000 credits, now it is 99990" in str(caught.value)
    told = ti.xcoms["magic_hour_job"]
    assert (told["status"], told["charge"]) == ("unknown", "unknown")
    assert told["next_step"].startswith("Nothing is sent again by itself.")
    assert airflow.sim.jobs()[0]["name"].endswith(f"#{ti.record['key']}")
    assert airflow.creates() == 1


@both_ledgers
def test_a_lost_answer_can_be_adopted(airflow):
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
def test_a_lost_answer_can_be_resubmitted_at_ones_own_risk(airflow):
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
def test_the_answer_table(airflow, fault, final, accepted, state):
    """What each answer to the create means for the record, the retry and the money."""
    airflow.sim.inject_fault(**fault)
    ti = TaskInstance()
    with pytest.raises(AirflowException) as caught:
        airflow.attempt(airflow.operator(), ti)
    assert isinstance(caught.value, AirflowFailException) is final
    assert (ti.record or {}).get("state") == state
    told = ti.xcoms["magic_hour_job"]
    assert told["error"] == str(caught.value)
    assert told["charge"] == ("unknown" if state == "intent" else "none")
    assert airflow.creates() == accepted


@both_ledgers
@pytest.mark.parametrize(("count", "status"), [(1, 429), (3, 429), (1, 502), (2, 502)])
def test_refused_for_now_is_sent_again(airflow, count, status):
    """429 is obeyed and a 502 with an unchanged balance repeated: one create in the end."""
    airflow.sim.inject_fault("status", status=status, count=count)
    assert airflow.attempt(airflow.operator(), TaskInstance())["status"] == "complete"
    assert airflow.creates() == 1


@both_ledgers
def test_a_502_is_repeated_twice_at_most(airflow):
    """After the second repetition the submission counts as unknown."""
    airflow.sim.inject_fault("status", status=502, count=9)
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="It is unknown whether"):
        airflow.attempt(airflow.operator(), ti)
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
def test_a_failed_job_worth_another_try(airflow, deferrable):
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
    told = []
    for _ in range(2):
        with pytest.raises(AirflowFailException, match=airflow_id(airflow)):
            airflow.attempt(operator, ti)
        told.append(ti.xcoms["magic_hour_job"])
    assert told[0]["status"] == outcome["status"]
    assert [report["charge"] for report in told] == ["kept" if outcome["status"] == "gone" else "refunded", "none"]
    assert (told[0]["credits_charged"] == 0) is (outcome["status"] != "gone")
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


@both_ledgers
@pytest.mark.parametrize("deferrable", [True, False])
def test_the_timeout_ends_the_waiting_not_the_job(airflow, deferrable):
    """After a timeout a retry goes on waiting for the same job and pays nothing."""
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
    """Airflow's API in trouble looks like a missing connection: with a paid job that is retryable and names it."""
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
def test_a_broken_connection_does_not_hide_a_lost_answer(airflow, either_ledger):
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


@pytest.mark.parametrize("extra", [{"seed": float("nan")}, {"when": timedelta(1)}])
def test_extra_request_must_be_json(airflow, extra):
    """It is never checked for meaning, but what is no JSON is said before anything is sent."""
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="cannot be sent"):
        airflow.attempt(airflow.operator(extra_request=extra), ti)
    assert ti.record is None
    assert airflow.creates() == 0


@both_ledgers
def test_a_link_signed_anew_is_the_same_input(airflow):
    """After a clear the same object with a fresh signature is the same request, and not paid again."""
    ti = TaskInstance()
    for signature in ("a", "b"):
        link = f"https://s3.example/p.png?X-Amz-Date={signature}&X-Amz-Signature={signature}"
        airflow.attempt(airflow.operator("ai-image-editor", edit(link)), ti)
        ti.clear()
    assert "X-Amz-Signature" not in json.dumps([ti.xcoms, ti.store.rows])
    assert airflow.creates() == 1


@both_ledgers
def test_a_job_that_does_not_wait_is_looked_at_once_on_resume(airflow):
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
    """A definite no is taken back before the pause: an attempt that ends in it has bought nothing, and says so."""
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


def test_failing_looks_do_not_end_the_wait(airflow):
    """Server faults and lost connections while waiting are only failing looks."""
    airflow.sim.inject_fault("status", endpoint="get-job", status=503, count=4)
    airflow.sim.inject_fault("status", endpoint="get-job", status=429, retry_after=20)
    assert airflow.attempt(airflow.operator("text-to-video", VIDEO), TaskInstance())["status"] == "complete"
    assert airflow.creates() == 1


@both_ledgers
def test_a_revoked_key_while_waiting(airflow):
    """The job is paid for and goes on: the error says so, and with the right key a clear collects it."""
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


@both_ledgers
def test_a_failing_download_is_collected_by_a_retry(airflow):
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
    """A store that comes back in time gets the id; the task goes on."""
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


def test_a_tool_newer_than_this_package(airflow):
    """A hand-made tool is sent to its path with everything the others have."""
    newer = Tool("newer", "image", "/v1/ai-image-generator", accepts_name=True)
    result = airflow.attempt(airflow.operator(newer), TaskInstance())
    assert result["tool"] == "newer"
    assert airflow.creates() == 1


def test_no_secret_is_logged(airflow, caplog, capsys):
    """Neither the key nor a signed link is in any log line, and httpx's own lines are not there."""
    caplog.set_level(logging.DEBUG)
    operator = airflow.operator("ai-image-editor", edit(str(PHOTO)))
    airflow.attempt(operator, TaskInstance())
    # Airflow's task log goes through structlog, which writes to stdout here.
    text = caplog.text + capsys.readouterr().out
    assert "Submitted Magic Hour job" in text
    assert KEY not in text
    assert "signature=" not in text
    assert "HTTP Request" not in text
    assert airflow.creates() == 1


def test_stopping_says_that_the_job_goes_on(airflow, capsys):
    """There is no cancel API, and nothing is deleted."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.next_attempt()
    airflow.start(operator, ti)
    operator.on_kill()
    assert "It keeps running and may still be charged" in capsys.readouterr().out
    assert airflow.sim.stats()["deletes"] == 0
    assert airflow.creates() == 1
