"""The small file beside a job's files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from helpers.attempts import Connected, TaskInstance
from helpers.samples import KEY
from magic_hour_provider.operators.files import MagicHourDownloadOperator
from magic_hour_provider.sensors.job import MagicHourJobSensor
from magic_hour_provider.simulator import Simulator


def sidecar(airflow, result) -> Path:
    """Return its place."""
    return airflow.output / "out" / f"{result['tool']}-{result['id']}.json"


def test_it_says_what_the_files_are_and_what_was_asked_for(airflow):
    """The result as the task returns it, and the request without its secrets; it is no media itself."""
    request = {
        "assets": {"image_file_paths": ["https://s.example/a.png?X-Amz-Signature=hidden"]},
        "style": {"prompt": "ü"},
    }
    result = airflow.attempt(airflow.operator("ai-image-editor", request), TaskInstance())
    text = sidecar(airflow, result).read_text()
    said = json.loads(text)
    assert said["result"] == result
    assert said["request"]["style"] == {"prompt": "ü"}
    assert said["request"]["assets"]["image_file_paths"] == ["https://s.example/a.png?***"]
    assert "hidden" not in text
    assert not any(uri.endswith(".json") for uri in result["files"])
    assert airflow.creates() == 1


def test_it_can_be_switched_off(airflow):
    """Then there are the files alone."""
    airflow.setting("sidecar", "false")
    result = airflow.attempt(airflow.operator(), TaskInstance())
    assert not sidecar(airflow, result).exists()
    assert airflow.creates() == 1


@pytest.mark.parametrize("owner", [MagicHourDownloadOperator, MagicHourJobSensor])
def test_collecting_again_keeps_what_is_known(airflow, owner):
    """A task that does not know the request leaves it as it is, and no file comes twice."""
    result = airflow.attempt(airflow.operator(), TaskInstance())
    before, fetched = sidecar(airflow, result).read_bytes(), airflow.sim.stats()["downloads"]
    again = airflow.attempt(owner(task_id="make", job=result, output_path=str(airflow.output / "out")), TaskInstance())
    assert again == result
    assert sidecar(airflow, result).read_bytes() == before
    assert airflow.sim.stats()["downloads"] == fetched
    assert airflow.creates() == 1


def test_the_request_is_added_by_the_task_that_knows_it(airflow):
    """The other way round: collected first without its request, which comes later."""
    operator, ti = airflow.operator(), TaskInstance()
    first = airflow.attempt(airflow.operator(wait_for_completion=False, output_path=""), ti)
    elsewhere = MagicHourJobSensor(task_id="wait", job=first, output_path=str(airflow.output / "out"))
    result = airflow.attempt(elsewhere, TaskInstance("wait"))
    assert json.loads(sidecar(airflow, result).read_text())["request"] is None
    assert airflow.attempt(operator, ti) == result
    assert json.loads(sidecar(airflow, result).read_text())["request"]["style"] == {"prompt": "a lighthouse"}
    assert airflow.creates() == 1


@pytest.mark.parametrize("text", ["mine", "[]", "{}", '{"result": {"id": "another"}}', '{"result": []}'])
def test_anothers_file_of_its_name(airflow, caplog, text):
    """It stays as it is, a warning says so, and the task has its files."""
    first = airflow.attempt(airflow.operator(wait_for_completion=False, output_path=""), ti := TaskInstance())
    place = airflow.output / "out" / f"ai-image-generator-{first['id']}.json"
    place.parent.mkdir()
    place.write_text(text)
    result = airflow.attempt(airflow.operator(), ti)
    assert Path(result["file"]).exists()
    assert place.read_text() == text
    assert "another's file" in caplog.text
    assert airflow.creates() == 1


@pytest.mark.parametrize("media", [None, "x", ["x"], [{"index": 0}], [{"index": 0, "uri": "../x", "size": "y"}]])
def test_what_it_says_is_not_believed_blindly(airflow, media):
    """Somebody may have edited it: what cannot be the file is fetched."""
    result = airflow.attempt(airflow.operator(), ti := TaskInstance())
    Path(result["file"]).unlink()
    said = json.loads(sidecar(airflow, result).read_text())
    said["result"]["media"] = media
    sidecar(airflow, result).write_text(json.dumps(said))
    assert airflow.attempt(airflow.operator(), ti) == result
    assert Path(result["file"]).exists()
    assert json.loads(sidecar(airflow, result).read_text())["result"] == result
    assert airflow.creates() == 1


@contextmanager
def restarted(monkeypatch, folder, hours) -> Iterator[Connected]:
    """Attempts against a simulator that was started so many hours later: by its seed, its jobs have the same ids."""
    with Simulator(api_key=KEY, seed=7, clock=lambda: 1_800_000_000.0 + 3600 * hours) as sim:
        yield Connected(sim, monkeypatch, folder)


@pytest.mark.parametrize("tag_job_names", ["all", "none"])
@pytest.mark.parametrize("moved", [True, False], ids=["picture moved away", "picture still there"])
def test_an_old_sidecar_of_a_repeated_id(monkeypatch, tmp_path, caplog, tag_job_names, moved):
    """A job with the id of an earlier one has files of its own: the old picture is never taken for the new job's."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__TAG_JOB_NAMES", tag_job_names)
    with restarted(monkeypatch, tmp_path, 0) as airflow:
        first = airflow.attempt(airflow.operator(), TaskInstance("first"))
        assert airflow.creates() == 1
    picture = Path(first["file"].removeprefix("file://"))
    old, written = picture.read_bytes(), sidecar(airflow, first).read_bytes()
    if moved:
        picture.rename(tmp_path / "moved.png")
    with restarted(monkeypatch, tmp_path, 1) as airflow:
        operator = airflow.operator(request={"image_count": 1, "style": {"prompt": "a submarine"}})
        if moved:
            assert airflow.attempt(operator, TaskInstance("second"))["id"] == first["id"]
            assert "another's file" in caplog.text
        else:
            with pytest.raises(AirflowFailException, match="exists already and is another file"):
                airflow.attempt(operator, TaskInstance("second"))
        assert airflow.creates() == 1
    assert (picture.read_bytes() == old) is not moved
    assert sidecar(airflow, first).read_bytes() == written


@pytest.mark.parametrize("change", ["created_at", "tag", "name", "nothing"])
def test_files_that_turn_out_to_be_the_same(airflow, change):
    """What is written about another job costs a download; where the files are the same, so is the job."""
    result = airflow.attempt(airflow.operator(), TaskInstance())
    said = json.loads(sidecar(airflow, result).read_text())
    assert said["tag"] in said["result"]["name"]
    assert said["created_at"]
    whole = json.dumps(said)
    if change == "name":
        said["result"]["name"] = "renamed in the web app"
    elif change != "nothing":
        said[change] = "another"
    sidecar(airflow, result).write_text(json.dumps(said))
    fetched = airflow.sim.stats()["downloads"]
    collect = MagicHourDownloadOperator(task_id="get", job=result, output_path=str(airflow.output / "out"))
    assert airflow.attempt(collect, TaskInstance("get")) == result
    # A task that made no job knows no tag.
    assert airflow.sim.stats()["downloads"] == fetched + (change in ("created_at", "name"))
    after = json.loads(sidecar(airflow, result).read_text())
    assert after == json.loads(whole) | ({"tag": "another"} if change == "tag" else {})
    assert airflow.creates() == 1


@pytest.mark.parametrize("record_files", [True, False])
def test_a_cleared_task_that_reuses_its_job(airflow, record_files):
    """It reuses the files too, by its record or, where that has lost them, by the sidecar."""
    result = airflow.attempt(airflow.operator(), ti := TaskInstance())
    if not record_files:
        ti.store.set("magic_hour.job", ti.record | {"files": []}, retention=None)
    fetched = airflow.sim.stats()["downloads"]
    ti.clear()
    assert airflow.attempt(airflow.operator(on_clear="reuse"), ti) == result
    assert airflow.sim.stats()["downloads"] == fetched
    assert airflow.creates() == 1


def test_a_sidecar_that_cannot_be_written(airflow, monkeypatch, caplog):
    """The files are what was paid for: they are stored and returned, and a warning names the rest."""
    monkeypatch.setattr(
        "magic_hour_provider.outputs.sidecar.replace_file", lambda *_: (_ for _ in ()).throw(OSError("full"))
    )
    result = airflow.attempt(airflow.operator(), TaskInstance())
    assert Path(result["file"]).exists()
    assert "could not be written" in caplog.text
    assert airflow.creates() == 1


def test_in_every_place(airflow, place):
    """On disks, in memory and in buckets alike."""
    result = airflow.attempt(airflow.operator(output_path=place.uri), TaskInstance())
    name = f"ai-image-generator-{result['id']}.json"
    assert place.names() == [f"ai-image-generator-{result['id']}-1.png", name]
    assert json.loads(place.read(name))["result"] == result
    assert airflow.creates() == 1
