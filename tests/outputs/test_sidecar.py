"""The small file beside a job's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.attempts import TaskInstance
from magic_hour_provider.operators.files import MagicHourDownloadOperator
from magic_hour_provider.sensors.job import MagicHourJobSensor


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
