"""The operator against the simulator: what it takes, what it sends, and what it returns."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from PIL import Image

from helpers.attempts import TaskInstance
from helpers.samples import KEY, PHOTO
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.operators.magic_hour import MagicHourOperator

both_ledgers = pytest.mark.usefixtures("either_ledger")

VIDEO = {"style": {"prompt": "waves"}, "end_seconds": 3}


EDIT = {"style": {"prompt": "x"}}


def edit(path: object) -> dict:
    """Return a request of the image editor."""
    return {"assets": {"image_file_paths": [path]}, **EDIT}


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
def test_the_name_carries_the_tag(airflow, tag_job_names, given, sent):
    """Only its name leads back to a job whose response was lost; ``tag_job_names`` says whose names carry the tag."""
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
        ({"timeout": float("inf")}, "timeout must be above 0 seconds, and at most a year"),
        ({"timeout": float("nan")}, "timeout must be above 0 seconds, and at most a year"),
        ({"prompt": "x"}, r"`prompt` \(did you mean `style\.prompt`\?\)\. No job was created"),
        ({"end_second": 3}, "`end_second` .did you mean `end_seconds`"),
        ({"timeout": 1e18}, "timeout must be above 0 seconds, and at most a year"),
        ({"deferrable": "false"}, "deferrable must be True or False; it is the text 'false'"),
        ({"wait_for_completion": "no"}, "wait_for_completion must be True or False"),
    ],
)
def test_what_can_never_work_is_refused_when_the_dag_is_parsed(options, words):
    """A mistake in the DAG file is an import error that names it."""
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
