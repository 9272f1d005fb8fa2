"""The JSON of the pages: a job at every stage, its charge, and values that are not to be trusted."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from helpers.airflow_rows import put_record
from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.api.errors import Charge, MagicHourError
from magic_hour_provider.api.models import Job
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.api.responses import job_error
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.plugin.media_tab.charges import describe_reason
from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot
from magic_hour_provider.plugin.media_tab.task_details import error_of, job_of
from magic_hour_provider.plugin.state_store import get_state_store_model
from magic_hour_provider.plugin.web.sanitize import flatten_request, to_safe_json

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"
REQUEST = {"image_count": 1, "model": "flux", "style": {"prompt": "a lighthouse"}, "aspect_ratio": "16:9"}


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def job(**more) -> dict:
    """Return what an operator reports."""
    shown = {"tool": "ai-image-generator", "request": REQUEST, "polls": 2, "id": "abc123", "kind": "image"}
    times = {"submitted_at": iso(1_800_000_000), "ended_at": iso(1_800_000_017)}
    return shown | times | {"name": "n #K", "credits_charged": 5, "status": "complete"} | more


def test_a_finished_task(tab):
    """Tool, prompt, model, credits, times, polls, id and library address, and the file with its size."""
    tab.put("make", "success", return_value=tab.result("a-abc123-1.png"), magic_hour_job=job())
    page = tab.details()
    assert (page["stage"], page["live"], page["error"], page["empty_reason"]) == ("succeeded", False, None, None)
    shown = page["job"]
    assert (shown["title"], shown["prompt"], shown["model"]) == ("AI Image Generator", "a lighthouse", "flux")
    assert (shown["credits"], shown["polls"], shown["id"]) == (5, 2, "abc123")
    assert shown["ended_at"] - shown["submitted_at"] == 17
    assert shown["library_url"] == "https://magichour.ai/my-library?imageId=abc123"
    assert {"name": "aspect_ratio", "value": "16:9"} in shown["fields"]
    (file,) = page["files"]
    assert (file["name"], file["kind"], file["size"], file["problem"]) == ("a-abc123-1.png", "image", 9, None)


def test_a_job_under_way():
    """Its expected end is the order and the tool's published median; none where the job has ended."""
    running = TaskSnapshot("make", -1, "deferred", xcoms={"magic_hour_job": job(status="rendering", ended_at=None)})
    shown = job_of(running)
    assert shown["expected_at"] == 1_800_000_000 + get_tool("ai-image-generator").median_s
    assert running.live
    no_median = job(tool="ai-ugc-ad", kind="video", status="queued", ended_at=None)
    shown = job_of(TaskSnapshot("make", -1, "deferred", xcoms={"magic_hour_job": no_median}))
    assert shown["expected_at"] == 1_800_000_000 + get_tool("ai-ugc-ad").polling_class().median_s
    assert job_of(TaskSnapshot("make", -1, "success", xcoms={"magic_hour_job": job()}))["expected_at"] is None


def test_before_the_first_submission(tab):
    """A task of an active run that has nothing to show says so, and is polled again."""
    assert tab.details()["empty_reason"] == "Nothing to see yet."
    assert tab.details()["live"]
    tab.put("make", "skipped")
    assert (tab.details()["live"], tab.details()["empty_reason"]) == (
        False,
        "This task was skipped, so it made nothing.",
    )


@pytest.mark.parametrize("state", ["failed", "up_for_retry"])
@pytest.mark.parametrize(
    ("charge", "more", "shown"),
    [
        (Charge.NONE, {"id": None}, "No job was created and nothing was charged."),
        (Charge.REFUNDED, {"status": "error", "credits_charged": 0}, "Magic Hour refunds the job."),
        (Charge.KEPT, {"status": "rendering"}, "The job was paid for and stays charged. 5 credits."),
        (Charge.KEPT, {"credits_charged": None}, "The job was paid for and stays charged."),
        (Charge.UNKNOWN, {"id": None}, "It is unknown whether a job was created and charged."),
    ],
)
def test_a_failure(charge, more, shown, state):
    """Message, charge and next step are those that the operator reported, each once, whatever the job's status is."""
    error = MagicHourError("Magic Hour job abc123 failed.", charge=charge, next_step="Change it and clear the task.")
    report = job(**more, error=str(error), charge=charge.value, next_step=error.next_step)
    assert error_of(TaskSnapshot("make", -1, state, xcoms={"magic_hour_job": report})) == {
        "message": "Magic Hour job abc123 failed.",
        "charge": shown,
        "next_step": "Change it and clear the task.",
    }


def test_a_failure_without_a_report():
    """A process that was killed reported no error: the page does not claim to know more than the log."""
    shown = error_of(TaskSnapshot("make", -1, "failed"))
    assert "Its log says why, and what it means for the charge." in shown["message"]
    assert (shown["charge"], shown["next_step"]) == (None, None)
    assert error_of(TaskSnapshot("make", -1, "upstream_failed"))["message"].startswith("This task did not run")
    assert error_of(TaskSnapshot("make", -1, "running", xcoms={"magic_hour_job": job()})) is None


def test_a_job_whose_attempt_was_ended_from_outside():
    """After execution_timeout, or marked as failed, the paid job is named as what it is: charged, and resumable."""
    report = job(status="rendering", credits_charged=120)
    shown = error_of(TaskSnapshot("make", -1, "failed", xcoms={"magic_hour_job": report}))
    assert shown["message"].endswith("Its log says why.")
    assert shown["charge"] == "The job was paid for, and is refunded if it fails. 120 credits."
    assert shown["next_step"].startswith("Clear the task: it resumes this job")


def recorded(**fields) -> Record:
    """Return a record as Airflow has it."""
    times = {"written_at": iso(1_800_000_000), "submitted_at": 1_800_000_002.0}
    values = {"state": "submitted", "name": "teaser.make #ABCDEFGH", "job_id": "abc123", "credits_charged": 120}
    return replace(Record("submitted", "text-to-video", "video", "ABCDEFGH", {}), **(times | values | fields))


@pytest.mark.parametrize("state", ["failed", "up_for_retry"])
@pytest.mark.parametrize("xcoms", [{}, {"magic_hour_job": "s3://xcoms/5c6f.json"}], ids=["removed", "elsewhere"])
def test_an_attempt_without_a_report_whose_job_is_in_the_record(state, xcoms):
    """Ended from outside before it could report, or its XComs are elsewhere: job, charge and next step are known."""
    task = TaskSnapshot("make", -1, state, xcoms=xcoms, record=recorded())
    shown, error = job_of(task), error_of(task)
    assert (shown["id"], shown["credits"], shown["title"]) == ("abc123", 120, "Text to Video")
    assert shown["submitted_at"] == 1_800_000_002
    assert shown["library_url"] == "https://magichour.ai/my-library?videoId=abc123"
    assert error["message"].endswith("log says why.")
    assert error["charge"] == "The job was paid for, and is refunded if it fails. 120 credits."
    assert error["next_step"].startswith("Clear the task: it resumes this job")


def test_a_cleared_task_that_runs_again():
    """Until it has reported a job, the one before and its files are of the past."""
    record = recorded(state="delivered", files=[{"uri": "/media/a-abc123-1.png", "size": 9}])
    again = TaskSnapshot("make", -1, "running", record=record)
    assert (job_of(again), again.media, error_of(again)) == (None, [], None)
    for state in ("success", "failed", "up_for_retry"):
        task = TaskSnapshot("make", -1, state, record=record)
        assert (job_of(task)["id"], task.media) == ("abc123", [("/media/a-abc123-1.png", 9)])


def test_a_report_comes_before_the_record():
    """The record completes it, where it is about the same job; of another job it says nothing."""
    same = TaskSnapshot("make", -1, "deferred", xcoms={"magic_hour_job": job(name=None)}, record=recorded())
    assert (job_of(same)["credits"], job_of(same)["name"]) == (5, "teaser.make #ABCDEFGH")
    other = TaskSnapshot("make", -1, "deferred", xcoms={"magic_hour_job": job(id="new", name=None)}, record=recorded())
    assert (job_of(other)["id"], job_of(other)["name"], job_of(other)["kind"]) == ("new", None, "image")
    early = {"tool": "text-to-video", "error": "There is no connection.", "charge": "kept", "next_step": None}
    task = TaskSnapshot("make", -1, "failed", xcoms={"magic_hour_job": early}, record=recorded())
    assert job_of(task)["id"] == "abc123"
    assert error_of(task)["charge"] == "The job was paid for and stays charged. 120 credits."


@pytest.mark.parametrize(
    ("end", "charge"),
    [
        (
            Job("abc123", "video", "error", credits_charged=0, error_code="x", error_message="No face was found"),
            "refunds",
        ),
        (Job("abc123", "video", "canceled"), "refunds"),
        (Job.gone("video", "abc123"), "stays charged"),
    ],
    ids=lambda value: getattr(value, "status", None),
)
def test_a_job_that_has_ended_by_its_record(end, charge):
    """Its reason, charge and next step are told apart; while the next attempt is under way they are of the past."""
    error = job_error(end, tool="text-to-video")
    record = recorded(state="failed" if error.retryable else "ended", reason=str(error))
    elsewhere = {"magic_hour_job": "s3://xcoms/5c6f.json"}
    shown = error_of(TaskSnapshot("make", -1, "failed", xcoms=elsewhere, record=record))
    assert (shown["message"], shown["next_step"]) == (error.message, error.next_step)
    assert charge in shown["charge"]
    task = TaskSnapshot("make", -1, "running", record=record)
    assert (error_of(task), job_of(task)) == (None, None)
    early = {"tool": "text-to-video", "error": "There is no connection.", "charge": "none", "next_step": None}
    task = TaskSnapshot("make", -1, "failed", xcoms={"magic_hour_job": early}, record=record)
    assert (job_of(task)["id"], error_of(task)["message"]) == (None, "There is no connection.")


@pytest.mark.parametrize("where", ["record", "XCom"])
@pytest.mark.parametrize("report", ["none", "unknown"])
def test_a_job_whose_response_was_lost(where, report):
    """Its name, its tag and when the request was sent: by these a person finds it."""
    record, xcoms = recorded(state="intent", job_id=None, submitted_at=None, credits_charged=None), {}
    if where == "XCom":
        sent = {"tool": "text-to-video", "name": record.name, "written_at": record.written_at}
        record, xcoms = None, {"magic_hour.intent.ABCDEFGH": sent}
    if report == "unknown":
        told = {"tool": "text-to-video", "error": "The response was lost.", "charge": "unknown", "next_step": "Look."}
        xcoms["magic_hour_job"] = told
    task = TaskSnapshot("make", -1, "failed", xcoms=xcoms, record=record)
    shown, error = job_of(task), error_of(task)
    assert (shown["name"], shown["tag"], shown["written_at"]) == ("teaser.make #ABCDEFGH", "ABCDEFGH", 1_800_000_000)
    assert (shown["id"], shown["credits"]) == (None, None)
    assert error["charge"] == "It is unknown whether a job was created and charged."
    assert error["next_step"] == "Look." if report == "unknown" else "tag #ABCDEFGH" in error["next_step"]
    running = TaskSnapshot("make", -1, "running", record=record)
    assert error_of(running) is None


def test_a_request_that_was_refused_leaves_no_lost_job():
    """Where only XComs tell, the tag of a request that made no job is not shown."""
    told = {"tool": "text-to-video", "error": "No credits.", "charge": "none", "next_step": None}
    xcoms = {"magic_hour.intent.ABCDEFGH": {"tool": "text-to-video", "name": "n"}, "magic_hour_job": told}
    task = TaskSnapshot("make", -1, "failed", xcoms=xcoms)
    assert job_of(task)["tag"] is None
    assert error_of(task)["charge"] == "No job was created and nothing was charged."


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Magic Hour job abc123 (lip-sync) failed with no_source_face: No face was found.", "No face was found."),
        ("Magic Hour job abc123 (video) was canceled in the web app.", "Canceled in the web app."),
        ("Magic Hour job abc123 is gone: it was deleted.", "Gone: it was deleted."),
        ("Magic Hour job abc123 (a) keeps running, but it could not be polled: no.", "Keeps running, but it could not"),
        ("There is no Airflow connection 'x'.", "There is no Airflow connection 'x'."),
        ("Magic Hour job ", "Magic Hour job "),
        ("", ""),
    ],
)
def test_a_card_begins_with_the_reason(message, reason):
    """It has room for a few words, and shows the job's tool anyway."""
    assert describe_reason(message).startswith(reason)


@pytest.mark.parametrize("odd", [None, [], {}, 10**400, float("nan"), "x" * 100_000, "\ud800", True, [{"uri": 5}, 7]])
def test_any_field_of_a_record_may_hold_anything(tab, odd):
    """Who may edit a task's state breaks one tile at the most: the pages answer."""
    if get_state_store_model() is None:
        pytest.skip("Airflow before 3.3 has no task state store")
    names = [name for name in Record.__dataclass_fields__ if name not in ("state", "version", "tag")]
    for state in ("intent", "submitted", "delivered", "failed"):
        whole = {"state": state, "job_id": "abc123", "reason": "It failed."}
        for changed in (dict.fromkeys(names[start::4], odd) for start in range(4)):
            put_record("campaign", "make", whole | changed)
            for task_state in ("success", "failed"):
                tab.put("make", task_state)
                assert tab.get(f"{tab.path()}/details").status_code == 200, (state, changed, task_state)
        assert tab.get(f"{tab.path(None)}/details").status_code == 200
        assert tab.file().status_code < 500


@pytest.mark.parametrize("charge", [None, 5, "much", ["none"], {"a": 1}, "x" * 10_000])
def test_a_charge_that_is_none_of_ours(charge):
    """A value that no operator reports says nothing."""
    report = {"charge": charge, "next_step": ["a"], "error": "It failed."}
    shown = error_of(TaskSnapshot("make", -1, "failed", xcoms={"magic_hour_job": report}))
    assert shown == {"message": "It failed.", "charge": None, "next_step": None}


@pytest.mark.parametrize(
    ("result", "shown", "empty_reason"),
    [
        ({}, job(), "They are in Magic Hour's library."),
        ({"kind": "face-detection", "faces": ["a", "b"]}, job(tool="face-detection"), "2 faces found."),
        ({"status": "queued"}, job(status="queued", ended_at=None), "did not wait for its job"),
    ],
)
def test_what_made_no_file(tab, result, shown, empty_reason):
    """Each reason for having no file is given in one sentence; no file is ever fetched from Magic Hour instead."""
    tab.put("make", "success", return_value=tab.result(**result), magic_hour_job=shown)
    assert empty_reason in tab.details()["empty_reason"]


def test_files_of_the_keys_alone(tab):
    """A task whose result is its own still shows the files that were pushed key by key."""
    uri = str(tab.files / "a-abc123-1.png")
    tab.put("make", "success", return_value="mine", files=[uri], magic_hour_job=job())
    assert [file["name"] for file in tab.details()["files"]] == ["a-abc123-1.png"]
    assert tab.file().status_code == 200


HOSTILE = {
    "prompt": job(request={"style": {"prompt": SCRIPT}}),
    "names": job(request={SCRIPT: {SCRIPT: SCRIPT}}, name=SCRIPT, tool=SCRIPT),
    "types": job(request=[1, 2], polls={"a": 1}, credits_charged="5", submitted_at=7, ended_at="noon", error=5),
    "numbers": job(polls=True, credits_charged=-1e308, submitted_at="9999-99-99", name=None),
    "kind": job(kind="../video", id="../../account"),
    "a list": [job()],
    "a text": SCRIPT,
    "deep": job(request=json.loads('{"a":' * 200 + "1" + "}" * 200)),
    "long": job(request={"style": {"prompt": "x" * 100_000}}),
    "wide": job(request={f"n{n}": n for n in range(5000)}),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("state", ["success", "failed", "deferred"])
def test_values_that_nobody_should_trust(tab, what, state):
    """Whatever stands in an XCom, both pages answer, small and as JSON that no browser takes for a page."""
    tab.put("make", state, return_value=HOSTILE[what], magic_hour_job=HOSTILE[what], media=[{"uri": SCRIPT}, 5])
    for path in (tab.path(), tab.path(None)):
        answer = tab.get(f"{path}/details")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert len(answer.content) < 64_000


def test_a_hostile_id_makes_no_address(tab):
    """The library address is made from a plain id and a known kind, never taken over."""
    shown = job(id="x'><script>", kind="image", library_url="javascript:alert(1)")
    tab.put("make", "success", return_value=tab.result("a-abc123-1.png", id="x y"), magic_hour_job=shown)
    assert (tab.details()["job"]["library_url"], tab.details()["job"]["id"]) == (None, None)


SIGNED = "https://videos.magichour.ai/id/a.mp4?X-Amz-Signature=abcdef&Expires=1"


def test_no_secret_reaches_a_page(tab):
    """Signed links, keys and passwords are cut wherever they stand in an XCom: in requests, sentences and addresses."""
    secret = f"see {SIGNED} with mhk_live_0123456789 and Bearer abc.def s3://key:password@bucket/x"
    shown = job(request={"style": {"prompt": secret}, "link": SIGNED}, name=secret, error=secret, status=secret)
    media = [{"uri": SIGNED}, {"uri": "s3://key:password@bucket/a-abc123-1.png"}]
    tab.put("make", "failed", return_value=tab.result() | {"media": media}, magic_hour_job=shown)
    for path in (tab.path(), tab.path(None)):
        text = tab.get(f"{path}/details").text
        assert "videos.magichour.ai" in text or path == tab.path(None)
        for word in ("abcdef", "Signature=a", "mhk_live_0", "abc.def", "password"):
            assert word not in text


# The contact sheet


def test_a_run(tab):
    """Tiles come by task, in the order in which tasks run, and by map index; each says what it is."""
    tab.put("make", "success", return_value=tab.result("a-abc123-1.png", "film-abc123-1.mp4"), magic_hour_job=job())
    tab.put("mapped", "deferred", 0, magic_hour_job=job(id="m0", kind="video", status="rendering", ended_at=None))
    tab.put("mapped", "failed", 1, magic_hour_job=job(id="m1", kind="video", status="error", error="It failed."))
    tab.put("mapped", "skipped", 2)
    tab.put("upload", "success", return_value={"file_path": "api-assets/x"})
    tab.put("delete", "success", return_value={"id": "x", "kind": "image", "deleted": True})
    tab.put("plain", "success", return_value=tab.result("a-abc123-1.png"))
    page = tab.details(None)
    seen = [(t["task_id"], t["map_index"], t["stage"], t["kind"], bool(t["file"])) for t in page["tiles"]]
    assert seen == [
        ("make", -1, "succeeded", "image", True),
        ("make", -1, "succeeded", "video", True),
        ("mapped", 0, "running", "video", False),
        ("mapped", 1, "failed", "video", False),
        ("mapped", 3, "queued", None, False),
        ("theirs", -1, "queued", None, False),
    ]
    assert page["tiles"][3]["message"] == "It failed."
    assert (page["kinds"], page["stages"]) == (
        {"image": 1, "video": 3},
        {"succeeded": 2, "running": 1, "failed": 1, "queued": 2},
    )
    assert page["live"]


def test_the_totals(tab):
    """Each file and each job counts once, also where a sensor reports it again; refunded jobs cost nothing."""
    tab.put("make", "success", return_value=tab.result("a-abc123-1.png"), magic_hour_job=job())
    tab.put(
        "theirs",
        "success",
        return_value=tab.result("a-abc123-1.png"),
        magic_hour_job=job(request={}, credits_charged=5),
    )
    tab.put("mapped", "failed", 0, magic_hour_job=job(id="m0", status="error", credits_charged=100, error="x"))
    tab.put("mapped", "success", 1, return_value=tab.result("film-abc123-1.mp4", id="m1"), magic_hour_job=job(id="m1"))
    totals = tab.details(None)["totals"]
    assert totals == {"files": 2, "credits": 10, "limit": None, "seconds": 51}


def test_a_run_whose_tasks_were_ended_from_outside(tab):
    """Cards and totals have the jobs of the records, where no XCom tells of them."""
    if get_state_store_model() is None:
        pytest.skip("Airflow before 3.3 has no task state store")
    paid = {"tool": "text-to-video", "kind": "video", "job_id": "m0", "credits_charged": 120}
    put_record("campaign", "mapped", paid, map_index=0)
    put_record("campaign", "mapped", paid | {"job_id": "m1", "credits_charged": 30}, map_index=1)
    tab.put("mapped", "failed", 0)
    tab.put("mapped", "deferred", 1)
    page = tab.details(None)
    tiles = {tile["map_index"]: tile for tile in page["tiles"] if tile["task_id"] == "mapped"}
    assert (tiles[0]["credits"], tiles[0]["kind"], tiles[1]["credits"]) == (120, "video", 30)
    assert tiles[0]["message"].startswith("The attempt ended before its operator could report an error.")
    assert page["totals"]["credits"] == 150


def test_filters_and_parts(tab):
    """Kind and state choose tiles, offset and limit a part of them; the sums stay those of the whole run."""
    names = ("a-abc123-1.png", "film-abc123-1.mp4", "film-abc123-1.mp4")
    tab.put(
        "make",
        "success",
        return_value=tab.result(*names),
        magic_hour_job=job(),
    )
    tab.put("mapped", "failed", 1, magic_hour_job=job(id="m1", kind="video", status="error", error="It failed."))
    films = tab.details(None, kind="video")
    assert (films["matching"], films["with_file"], films["totals"]["files"]) == (3, 2, 2)
    failed = tab.details(None, kind="video", stage="failed")
    assert [tile["message"] for tile in failed["tiles"]] == ["It failed."]
    part = tab.details(None, kind="video", offset=1, limit=1)
    assert [tile["file"]["index"] for tile in part["tiles"]] == [2]
    for wrong in ({"limit": 5000}, {"offset": -1}, {"limit": 0}):
        assert tab.api.get(f"{tab.path(None)}/details", headers=tab.headers, params=wrong).status_code == 422


def test_plain_is_redacted_json():
    """Numbers that JSON has no word for, and anything that is no JSON, are left out."""
    assert to_safe_json({"a": [float("nan"), float("inf"), 1.5, None, True, object()]}) == {
        "a": [None, None, 1.5, None, True, "…"]
    }
    assert to_safe_json(SIGNED) == redact(SIGNED)


def test_a_request_of_names_that_are_empty():
    """An object in an object in an object, without names: the other fields are shown all the same."""
    value: dict[str, object] = {"prompt": "a cat"}
    for _ in range(400):
        value = {"": value}
    assert flatten_request({"style": {"prompt": "a cat"}, "": value}) == [{"name": "style.prompt", "value": "a cat"}]
