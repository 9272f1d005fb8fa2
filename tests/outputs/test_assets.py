"""Assets: other DAGs run on new media."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import Asset, AssetAlias

from helpers.attempts import TaskInstance
from magic_hour_provider.operators.files import MagicHourDownloadOperator
from magic_hour_provider.outputs.assets import asset_uri, emit_outlet_events
from magic_hour_provider.sensors.job import MagicHourJobSensor

ALIAS, MADE = AssetAlias("new media"), Asset("made", uri="x-media://made")
VIDEO = {"end_seconds": 3, "style": {"prompt": "x"}}


def events(ti: TaskInstance) -> list[tuple[str, dict]]:
    """Return the assets that the alias was given, with their extras."""
    return [(event.dest_asset_key.uri, event.extra) for event in ti.outlet_events[ALIAS].asset_alias_events]


def test_every_file_becomes_an_asset_of_the_alias(airflow, place):
    """Each with the whole result, and with the URI that opens it; the connection is no part of an asset."""
    request = {"image_count": 2, "style": {"prompt": "x"}}
    ti = TaskInstance()
    result = airflow.attempt(airflow.operator(request=request, output_path=place.uri, outlets=[ALIAS]), ti)
    assert [uri for uri, _ in events(ti)] == [asset_uri(uri) for uri in result["files"]]
    assert all("@" not in uri and uri.endswith(".png") and "://" in uri for uri, _ in events(ti))
    for index, (_, extra) in enumerate(events(ti)):
        assert extra == {**result, "uri": result["files"][index], "index": index}
        assert json.loads(json.dumps(extra)) == extra
        assert "signature" not in json.dumps(extra)
    assert airflow.creates() == 1


def test_an_asset_has_the_result_as_its_extra(airflow):
    """What another task has put there stays."""
    operator, ti = airflow.operator(outlets=[MADE, "no asset"]), TaskInstance()
    ti.next_attempt()
    context = ti.context(operator)
    context["outlet_events"][MADE].extra = {"campaign": "autumn"}
    result = operator.execute(context)
    assert ti.outlet_events[MADE].extra == {"campaign": "autumn", **result}
    assert airflow.creates() == 1


def test_after_a_deferral(airflow):
    """The second half of the task tells, once."""
    ti = TaskInstance()
    result = airflow.attempt(airflow.operator("text-to-video", VIDEO, outlets=[ALIAS, MADE]), ti)
    assert airflow.events
    assert [uri for uri, _ in events(ti)] == [asset_uri(result["file"])]
    assert ti.outlet_events[MADE].extra == result
    assert airflow.creates() == 1


@pytest.mark.parametrize("owner", [MagicHourDownloadOperator, MagicHourJobSensor])
def test_files_of_a_job_made_elsewhere(airflow, owner):
    """The download operator and the sensor tell alike."""
    made = airflow.attempt(airflow.operator(output_path=""), TaskInstance())
    ti = TaskInstance()
    task = owner(task_id="make", job=made, output_path=str(airflow.output / "x"), outlets=[ALIAS, MADE])
    result = airflow.attempt(task, ti)
    assert [uri for uri, _ in events(ti)] == [f"file://{airflow.output}/x/{result['file'].rpartition('/')[2]}"]
    assert ti.outlet_events[MADE].extra == result
    assert airflow.creates() == 1


def test_a_failed_task_tells_nothing(airflow):
    """No file, no asset."""
    airflow.sim.inject_fault("job-outcome", status="error", code="no_source_face")
    ti = TaskInstance()
    with pytest.raises(Exception, match="no_source_face"):
        airflow.attempt(airflow.operator(outlets=[ALIAS]), ti)
    assert events(ti) == []
    assert airflow.creates() == 1


def test_a_task_that_does_not_wait(airflow):
    """It has no files yet: the alias gets none, and the asset's extra says that the job is queued."""
    ti = TaskInstance()
    airflow.attempt(airflow.operator(wait_for_completion=False, outlets=[ALIAS, MADE]), ti)
    assert events(ti) == []
    assert ti.outlet_events[MADE].extra["status"] == "queued"
    assert airflow.creates() == 1


@pytest.mark.parametrize(
    ("uri", "asset"),
    [
        ("s3://conn@bucket/a b/ü.png", "s3://bucket/a b/ü.png"),
        ("s3://bucket/a@b.png", "s3://bucket/a@b.png"),
        ("gs://conn@bucket/x.mp4", "gs://bucket/x.mp4"),
        ("file:///data/x.png", "file:///data/x.png"),
        ("/data/x.png", "file:///data/x.png"),
        ("/data/50%/q?.png", "file:///data/50%/q%3F.png"),
        ("s3://conn@bucket/#1.png", "s3://bucket/%231.png"),
    ],
)
def test_the_uri_of_an_asset(uri, asset):
    """It is absolute, names no connection, and Airflow keeps it as it is."""
    assert asset_uri(uri) == asset
    assert Asset(asset_uri(uri)).uri == asset


def test_a_relative_folder_is_made_absolute(monkeypatch, tmp_path):
    """An asset is the same from everywhere."""
    monkeypatch.chdir(tmp_path)
    assert asset_uri("out/x.png") == f"file://{tmp_path}/out/x.png"


def test_a_name_that_is_too_long_for_an_asset(caplog):
    """The file is stored and paid for: the task continues without that asset."""
    ti = TaskInstance()
    uri = f"s3://bucket/{'x' * 1600}.png"
    emit_outlet_events([ALIAS], ti.context(None), {"media": [{"uri": uri, "index": 0}]})
    assert events(ti) == []
    assert "makes no asset" in caplog.text
