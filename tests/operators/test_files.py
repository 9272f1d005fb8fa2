"""Upload, download and delete against the simulator: nothing of it is paid for."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from helpers.attempts import TaskInstance
from helpers.samples import KEY, PHOTO
from helpers.uploads import stored
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.operators.files import (
    MagicHourDeleteOperator,
    MagicHourDownloadOperator,
    MagicHourUploadOperator,
)

EDIT = {"style": {"prompt": "x"}}


def submit(sim, seconds: float = 0) -> str:
    """Submit an image job elsewhere; let its time pass."""
    with MagicHourClient(api_key=KEY, base_url=sim.url) as client:
        made = client.create("ai-image-generator", {"image_count": 2, "style": {"prompt": "x"}})
    sim.advance(seconds)
    return made.id


def test_one_upload_serves_many_tasks(airflow):
    """The reference, whole or by its key, is used by any number of tasks; the file is sent once."""
    uploaded = airflow.attempt(MagicHourUploadOperator(task_id="make", source=str(PHOTO)), TaskInstance())
    assert (uploaded["type"], uploaded["extension"], uploaded["size"]) == ("image", "png", PHOTO.stat().st_size)
    expires = datetime.fromisoformat(uploaded["expires_at"])
    assert expires == datetime.fromtimestamp(int(airflow.clock.now()), UTC) + timedelta(days=7)
    for given in (uploaded, uploaded["file_path"]):
        result = airflow.attempt(
            airflow.operator("ai-image-editor", {"assets": {"image_file_paths": [given]}, **EDIT}), TaskInstance()
        )
        assert result["status"] == "complete"
    assert airflow.sim.stats()["uploads"] == 1
    assert airflow.creates() == 2


def test_an_upload_that_was_sent_again_has_the_checksum_of_the_file(airflow):
    """It is made while the file is sent, and each try starts over."""
    airflow.sim.inject_fault("accept-then-status", endpoint="upload", status=500)
    uploaded = airflow.attempt(MagicHourUploadOperator(task_id="make", source=PHOTO), TaskInstance())
    assert uploaded["sha256"] == hashlib.sha256(PHOTO.read_bytes()).hexdigest()
    assert stored(airflow.sim, uploaded["file_path"]) == PHOTO.read_bytes()
    assert airflow.sim.stats()["requests"]["upload"] == 2
    assert airflow.creates() == 0


def test_an_expired_upload_is_named_before_anything_is_paid(airflow):
    """After 7 days the file is gone at Magic Hour: the error says to upload again."""
    uploaded = airflow.attempt(MagicHourUploadOperator(task_id="make", source=str(PHOTO)), TaskInstance())
    airflow.sim.advance(8 * 24 * 3600)
    operator = airflow.operator("ai-image-editor", {"assets": {"image_file_paths": [uploaded]}, **EDIT})
    with pytest.raises(AirflowFailException, match="Run the task that uploads it again"):
        airflow.attempt(operator, TaskInstance())
    assert airflow.creates() == 0


def test_an_expired_upload_does_not_matter_to_a_paid_job(airflow):
    """A retry that resumes a paid job needs no input any more."""
    uploaded = airflow.attempt(MagicHourUploadOperator(task_id="make", source=str(PHOTO)), TaskInstance())
    operator = airflow.operator("ai-image-editor", {"assets": {"image_file_paths": [uploaded]}, **EDIT})
    ti = TaskInstance()
    first = airflow.attempt(operator, ti)
    airflow.sim.advance(8 * 24 * 3600)
    assert airflow.attempt(operator, ti)["id"] == first["id"]
    assert airflow.creates() == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/nowhere/a.png", "cannot be read"),
        ("notes.txt", "takes image or video or audio or gif files"),
        ("photo", "no extension"),
        ("https://example.com/a.png", "needs no upload"),
        ("api-assets/x/1.png", "needs no upload"),
    ],
)
def test_what_cannot_be_uploaded(airflow, source, words):
    """Each wrong argument is one clear sentence, before any request."""
    with pytest.raises(AirflowFailException, match=words):
        airflow.attempt(MagicHourUploadOperator(task_id="make", source=source), TaskInstance())
    assert airflow.sim.stats()["uploads"] == 0
    assert airflow.creates() == 0


def test_the_type_of_an_upload(airflow, tmp_path):
    """webm is a video unless the user says audio; a type that does not exist is refused at once."""
    (tmp_path / "a.webm").write_bytes(b"x")
    kinds = [
        airflow.attempt(
            MagicHourUploadOperator(task_id="make", source=str(tmp_path / "a.webm"), type=kind), TaskInstance()
        )["type"]
        for kind in (None, "audio")
    ]
    assert kinds == ["video", "audio"]
    with pytest.raises(InvalidInputError, match="type must be"):
        MagicHourUploadOperator(task_id="make", source="a.webm", type="picture")
    assert airflow.creates() == 0


def test_download(airflow):
    """Every file of a job made elsewhere is stored; a second time nothing changes."""
    job_id, ti = submit(airflow.sim, 60), TaskInstance()
    operator = MagicHourDownloadOperator(
        task_id="make", job=f"https://magichour.ai/my-library?imageId={job_id}", output_path=str(airflow.output / "x")
    )
    result = airflow.attempt(operator, ti)
    assert [Path(uri).name for uri in result["files"]] == [f"image-{job_id}-1.png", f"image-{job_id}-2.png"]
    assert ti.xcoms["library_url"] == result["library_url"]
    assert airflow.attempt(operator, ti) == result
    assert airflow.creates() == 1


def test_download_too_early(airflow):
    """An active job is retryable, and the message names the sensor."""
    operator = MagicHourDownloadOperator(
        task_id="make", job={"kind": "image", "id": submit(airflow.sim)}, output_path=str(airflow.output)
    )
    with pytest.raises(AirflowException, match="MagicHourJobSensor") as caught:
        airflow.attempt(operator, TaskInstance())
    assert not isinstance(caught.value, AirflowFailException)
    assert airflow.creates() == 1


@pytest.mark.parametrize("output_path", ["", "/proc/nowhere"])
def test_download_without_a_folder(airflow, output_path):
    """No folder, or one that cannot be written, is refused before the job is polled."""
    operator = MagicHourDownloadOperator(task_id="make", job={"kind": "image", "id": "abc"}, output_path=output_path)
    with pytest.raises(AirflowFailException):
        airflow.attempt(operator, TaskInstance())
    assert airflow.sim.stats()["polls"] == 0
    assert airflow.creates() == 0


@pytest.mark.parametrize("outcome", [{"status": "error", "code": "unknown_error"}, {"status": "canceled"}])
def test_download_of_a_job_that_ended_badly(airflow, outcome):
    """Another poll would give the same: the task fails for good."""
    airflow.sim.inject_fault("job-outcome", **outcome)
    operator = MagicHourDownloadOperator(
        task_id="make", job={"kind": "image", "id": submit(airflow.sim, 60)}, output_path=str(airflow.output)
    )
    with pytest.raises(AirflowFailException):
        airflow.attempt(operator, TaskInstance())
    assert airflow.creates() == 1


def test_delete_is_final(airflow):
    """The output is gone; a second time is a success that says so."""
    operator = MagicHourDeleteOperator(task_id="make", job={"kind": "image", "id": submit(airflow.sim, 60)})
    assert airflow.attempt(operator, TaskInstance())["deleted"] is True
    assert airflow.attempt(operator, TaskInstance())["deleted"] is False
    assert airflow.sim.stats()["deletes"] == 1
    assert airflow.creates() == 1


def test_delete_refuses_an_active_job(airflow):
    """Deleting is no cancel: nothing is sent while the job runs."""
    operator = MagicHourDeleteOperator(task_id="make", job={"kind": "image", "id": submit(airflow.sim)})
    with pytest.raises(AirflowFailException, match="deleting is no cancel"):
        airflow.attempt(operator, TaskInstance())
    assert airflow.sim.stats()["deletes"] == 0
    assert airflow.creates() == 1


@pytest.mark.parametrize("job", ["abc", {"id": "abc"}, {"kind": "image", "id": "../x"}])
def test_what_names_no_job(airflow, job):
    """A bare id or a broken one is refused before anything is sent."""
    with pytest.raises(AirflowFailException):
        airflow.attempt(MagicHourDeleteOperator(task_id="make", job=job), TaskInstance())
    assert airflow.sim.stats()["polls"] == 0
    assert airflow.creates() == 0


@pytest.mark.parametrize("operator", [MagicHourUploadOperator, MagicHourDownloadOperator, MagicHourDeleteOperator])
def test_a_failure_is_reported(airflow, operator):
    """Without a connection, of a job that is not there, or of a file: people and views read why, and no log."""
    given = {"source": PHOTO} if operator is MagicHourUploadOperator else {"job": {"kind": "image", "id": "x1"}}
    given |= {"output_path": str(airflow.output)} if operator is MagicHourDownloadOperator else {}
    airflow.disconnect()
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="There is no Airflow connection") as caught:
        airflow.attempt(operator(task_id="make", **given), ti)
    report = ti.xcoms["magic_hour_job"]
    assert (report["error"], report["status"], report["charge"]) == (str(caught.value), "failed", "none")
    assert airflow.creates() == 0


def test_a_failed_download_is_reported_with_its_job(airflow):
    """Beside the reason stand the job and its tool, as far as the attempt knew them."""
    job_id, ti = submit(airflow.sim), TaskInstance()
    job = {"kind": "image", "id": job_id, "tool": "ai-image-generator"}
    with pytest.raises(AirflowException, match="has no files yet") as caught:
        airflow.attempt(MagicHourDownloadOperator(task_id="make", job=job, output_path=str(airflow.output)), ti)
    report = ti.xcoms["magic_hour_job"]
    assert (report["id"], report["tool"], report["kind"]) == (job_id, "ai-image-generator", "image")
    assert (report["error"], report["charge"]) == (str(caught.value), "kept")
    assert airflow.creates() == 1
