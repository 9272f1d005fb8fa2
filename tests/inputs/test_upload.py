"""What becomes of a request's files: earlier jobs by reference, the rest by upload, all of it before the payment."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.sdk import Asset

from helpers.attempts import Connected, TaskInstance
from helpers.samples import KEY, PHOTO
from helpers.strict_s3 import StrictS3
from helpers.uploads import resolve_request, stored
from magic_hour_provider.api.catalog import MAX_UPLOAD_BYTES, get_tool
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError, TransferError
from magic_hour_provider.api.models import library_url
from magic_hour_provider.api.transport.uploads import RETRY_DELAYS_S
from magic_hour_provider.operators.files import MagicHourUploadOperator
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.behavior import Behavior

EDIT = {"style": {"prompt": "warmer"}}


def editing(*files: object) -> dict:
    """Return a request that takes files in a list."""
    return {"assets": {"image_file_paths": list(files)}, **EDIT}


@pytest.fixture
def client(sim):
    """A client of the simulator."""
    with MagicHourClient(api_key=KEY, base_url=sim.url) as one:
        yield one


def made(sim: Simulator, client: MagicHourClient, *, count: int = 1, wait: float = 60) -> dict:
    """Return what tells a new image job, as a result object does."""
    job = client.create("ai-image-generator", {"image_count": count, "style": {"prompt": "x"}})
    sim.advance(wait)
    return {"kind": "image", "id": job.id}


def test_a_job_of_one_file_goes_by_its_library_address(sim, client):
    """One poll for all its uses, no byte; the user's own spelling of the address is kept."""
    result = made(sim, client)
    page = library_url("image", result["id"])
    own = page.replace("https://", "https://www.")
    sent = resolve_request(client, get_tool("ai-image-editor"), editing(result, page, own, {**result, "index": 0}))
    assert sent["assets"]["image_file_paths"] == [page, page, own, page]
    assert (sim.stats()["polls"], sim.stats()["uploads"], sim.stats()["downloads"]) == (1, 0, 0)


def test_a_job_of_several_files_goes_by_a_link_of_the_one_that_is_meant(sim, client, caplog):
    """Without an index it is the first, which is said; the index also tells requests apart."""
    result = made(sim, client, count=4)
    with caplog.at_level(logging.INFO, "magic_hour_provider"):
        sent = resolve_request(
            client, get_tool("ai-image-editor"), editing(result, *({**result, "index": n} for n in (0, 3)))
        )
    first, same, last = sent["assets"]["image_file_paths"]
    assert (first, "/1/" in first, "/4/" in last) == (same, True, True)
    assert caplog.text.count("has 4 files, and the first is used") == 1
    assert "signature" not in caplog.text
    with pytest.raises(InvalidInputError, match=r"has 4 files, so there is none of index 4"):
        resolve_request(client, get_tool("ai-image-editor"), editing({**result, "index": 4}))


@pytest.mark.parametrize("deleted_job", ["not_found", "disabled"])
def test_a_job_that_is_gone_is_named_before_anything_is_paid(deleted_job):
    """Deleted, or another account's: the message says so, and what can be given instead."""
    with (
        Simulator(api_key=KEY, manual_clock=True, behavior=Behavior(deleted_job=deleted_job)) as sim,
        MagicHourClient(api_key=KEY, base_url=sim.url) as client,
    ):
        result = made(sim, client)
        client.delete_job("image", result["id"])
        for given, words in (
            (result, "does not find: it was deleted, is another account"),
            (library_url("image", result["id"]), "does not find"),
            ({**result, "file": "s3://b/k.png", "media": []}, "can be uploaded: give 's3://b/k.png'"),
        ):
            with pytest.raises(InvalidInputError, match=words):
                resolve_request(client, get_tool("ai-image-editor"), editing(given, str(PHOTO)))
        assert sim.stats()["uploads"] == 0
        assert sim.stats()["creates"]["accepted"] == 1


@pytest.mark.parametrize("outcome", [{"status": "error", "code": "no_source_face"}, {"status": "canceled"}])
def test_a_job_that_ended_badly_has_no_file(sim, client, outcome):
    """The message says how it ended."""
    sim.inject_fault("job-outcome", **outcome)
    result = made(sim, client)
    with pytest.raises(InvalidInputError, match=rf"ended as {outcome['status']}.*nothing was charged"):
        resolve_request(client, get_tool("ai-image-editor"), editing(result))


def test_a_job_that_is_still_active_may_be_there_at_the_next_attempt(sim, client):
    """The error is one that a retry may fix, and names the sensor."""
    result = made(sim, client, wait=0)
    with pytest.raises(TransferError, match="MagicHourJobSensor"):
        resolve_request(client, get_tool("ai-image-editor"), editing(result))
    sim.advance(60)
    assert resolve_request(client, get_tool("ai-image-editor"), editing(result))


def test_a_clip_of_an_image_tool_goes_where_clips_go(sim, client):
    """The GIF maker is an image tool, and its file tells what it is; a picture is refused."""
    gif = client.create("ai-gif-generator", {"style": {"prompt": "x"}, "output_format": "gif"})
    result = made(sim, client)
    assets = {"image_file_path": str(PHOTO), "video_file_path": {"kind": "image", "id": gif.id}, "video_source": "file"}
    body = {"assets": assets, "start_seconds": 0, "end_seconds": 1}
    sent = resolve_request(client, get_tool("face-swap"), body)
    assert sent["assets"]["video_file_path"] == library_url("image", gif.id)
    with pytest.raises(InvalidInputError, match=r"takes video or gif files .*made none"):
        resolve_request(client, get_tool("face-swap"), {**body, "assets": {**assets, "video_file_path": result}})


def test_files_deep_in_lists_are_handed_over(sim, client):
    """Faces of a mapping and references of a prompt: a path, a result and a reference, each in its place."""
    result = made(sim, client)
    faces = [{"original_face": "api-assets/x/0-0.png", "new_face": face} for face in (str(PHOTO), result, "image/1")]
    sent = resolve_request(client, get_tool("face-swap-photo"), {"assets": {"face_mappings": faces}})
    first, second, third = (face["new_face"] for face in sent["assets"]["face_mappings"])
    assert stored(sim, first) == PHOTO.read_bytes()
    assert (second, third) == (library_url("image", result["id"]), "image/1")
    references = {"references": [{"file_path": str(PHOTO)}, {"file_path": result}]}
    sent = resolve_request(client, get_tool("text-to-video"), references)
    assert stored(sim, sent["references"][0]["file_path"]) == PHOTO.read_bytes()
    assert sent["references"][1]["file_path"] == second


@pytest.mark.parametrize(("tier", "limit"), MAX_UPLOAD_BYTES.items())
def test_what_is_larger_than_the_plan_takes_is_not_sent(sim, client, tmp_path, tier, limit):
    """Refused with both sizes, before any request leaves."""
    clip = tmp_path / "clip.mp4"
    with clip.open("wb") as file:
        file.truncate(limit + 1)  # takes no room on the disk
    body = {"assets": {"video_file_path": str(clip)}}
    with pytest.raises(
        InvalidInputError, match=rf"plan '{tier}' takes {limit / 1e6:,.1f} MB at most.*nothing was charged"
    ):
        resolve_request(client, get_tool("ai-video-upscaler"), body, tier)
    assert sim.stats()["requests"] == {}


def test_no_plan_is_no_limit(sim, client, tmp_path):
    """What cannot be known is not held against the user."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x")
    for tier in (None, "enterprise", "FREE"):
        assert resolve_request(client, get_tool("ai-video-upscaler"), {"assets": {"video_file_path": str(clip)}}, tier)


def test_a_poll_is_tried_again(sim, airflow):
    """A hiccup of the service costs no attempt; one that lasts does, and nothing is paid."""
    first = airflow.attempt(airflow.operator(), TaskInstance())
    sim.inject_fault("status", endpoint="get-job", status=503, count=2)
    operator = airflow.operator("ai-image-editor", editing(first))
    assert airflow.attempt(operator, TaskInstance())["status"] == "complete"
    assert [wait for wait in airflow.clock.waits if wait in RETRY_DELAYS_S] == list(RETRY_DELAYS_S[:2])
    sim.inject_fault("status", endpoint="get-job", status=503, count=4)
    with pytest.raises(AirflowException, match="HTTP 503") as caught:
        airflow.attempt(operator, TaskInstance())
    assert not isinstance(caught.value, AirflowFailException)
    assert airflow.creates() == 2


def test_an_upload_that_fails_costs_nothing_and_the_next_attempt_uploads_again(airflow):
    """No intent was written: the second attempt starts from the beginning and pays once."""
    ti, operator = TaskInstance(), airflow.operator("ai-image-editor", editing(str(PHOTO)))
    airflow.sim.inject_fault("close-before-read", endpoint="upload", count=4)
    with pytest.raises(AirflowException, match=r"assets\.image_file_paths\[0\].*nothing was charged") as caught:
        airflow.attempt(operator, ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert (ti.record, airflow.creates()) == (None, 0)
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert (airflow.sim.stats()["uploads"], airflow.creates()) == (1, 1)


class Killed(BaseException):
    """What ends a task in the middle of anything."""


def test_a_kill_in_the_middle_of_uploads_costs_nothing(airflow, monkeypatch, tmp_path):
    """Nothing is written before all files have arrived; no thread of ours outlives the task."""
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    ti, operator = TaskInstance(), airflow.operator("ai-image-editor", editing(*(f"{tmp_path}/{n}.png" for n in "abc")))
    sleep = airflow.clock.sleep

    def killed(seconds: float) -> None:
        raise Killed

    airflow.sim.inject_fault("status", endpoint="upload", status=500)
    monkeypatch.setattr(airflow.clock, "sleep", killed)
    with pytest.raises(Killed):
        airflow.attempt(operator, ti)
    assert (ti.record, airflow.creates()) == (None, 0)
    monkeypatch.setattr(airflow.clock, "sleep", sleep)
    result = airflow.attempt(operator, ti)
    (job,) = airflow.sim.jobs()
    assert [stored(airflow.sim, one) for one in job["request"]["assets"]["image_file_paths"]] == [b"a", b"b", b"c"]
    assert (result["id"], airflow.creates()) == (job["id"], 1)


def test_two_accounts_with_a_file_of_the_same_name(airflow, strict_s3, monkeypatch):
    """What a storage URI names is a file of its connection: each is uploaded, and goes where it was asked for."""
    with StrictS3() as other:
        monkeypatch.setenv(f"AIRFLOW_CONN_{other.conn_id.upper()}", other.connection())
        request = editing(strict_s3.put("a.png", 100), other.put("a.png", 200), strict_s3.put("a.png", 100))
        assert airflow.attempt(airflow.operator("ai-image-editor", request), TaskInstance())["status"] == "complete"
    (job,) = airflow.sim.jobs()
    sent = [len(stored(airflow.sim, one)) for one in job["request"]["assets"]["image_file_paths"]]
    assert (sent, airflow.sim.stats()["uploads"], airflow.creates()) == ([100, 200, 100], 2, 1)


def test_the_operator_asks_the_plan_and_takes_assets_and_paths(airflow, tmp_path):
    """A path, an Asset and an entry of a result's ``media`` list all are files to the operator; the plan is asked."""
    first = airflow.attempt(airflow.operator(), TaskInstance())
    request = editing(PHOTO, Asset(f"file://{PHOTO}"), first["media"][0])
    assert airflow.attempt(airflow.operator("ai-image-editor", request), TaskInstance())["status"] == "complete"
    sent = [stored(airflow.sim, one) for one in airflow.sim.jobs()[1]["request"]["assets"]["image_file_paths"]]
    assert sent[0] == sent[1] == PHOTO.read_bytes()
    assert len(sent[2]) == first["media"][0]["size"]
    assert airflow.creates() == 2


def test_the_limits_of_a_free_account(monkeypatch, tmp_path):
    """The plan comes from the account: nothing is sent but that question."""
    with (tmp_path / "clip.mp4").open("wb") as file:
        file.truncate(MAX_UPLOAD_BYTES["free"] + 1)
    with Simulator(api_key=KEY, manual_clock=True, tier="free") as sim:
        airflow = Connected(sim, monkeypatch, tmp_path)
        request = {"assets": {"video_file_path": tmp_path / "clip.mp4"}, "end_seconds": 1, "resolution": "4k"}
        operator = airflow.operator("ai-video-upscaler", request)
        upload = MagicHourUploadOperator(task_id="make", source=tmp_path / "clip.mp4")
        for one in (operator, upload):
            with pytest.raises(AirflowFailException, match=r"200\.0 MB, and the account's plan 'free' takes 200\.0 MB"):
                airflow.attempt(one, TaskInstance())
        assert sim.stats()["requests"] == {"account": 2}
        assert airflow.creates() == 0


@pytest.mark.parametrize("name", ["a*b.png", "[x].png", "a?b.png", "{a}.png", "**.png", "a#b 100%.png"])
def test_files_whose_names_are_patterns(airflow, place, name):
    """Signs that patterns are made of are signs: the file of this very name is sent, from wherever it is."""
    content = PHOTO.read_bytes()
    for other in ("aab.png", "x.png", "a.png"):
        place.write(other, b"another")
    place.write(name, content)
    operator = airflow.operator("ai-image-editor", editing(f"{place.uri}/{name}"))
    assert airflow.attempt(operator, TaskInstance())["status"] == "complete"
    uploads = [path.read_bytes() for path in Path(airflow.sim._temporary.name, "uploads").rglob("*") if path.is_file()]
    assert uploads == [content]
    assert airflow.creates() == 1
