"""Lineage as the OpenLineage provider's own extraction finds it: files in, files out, and the job."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.utils.state import TaskInstanceState

from helpers.attempts import TaskInstance
from helpers.batches import Batches, rows
from magic_hour_provider.operators.files import MagicHourDownloadOperator, MagicHourUploadOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.outputs.lineage import FACET, dataset_of
from magic_hour_provider.sensors.job import MagicHourJobSensor

managers = pytest.importorskip("airflow.providers.openlineage.extractors.manager")


def extract(operator: Any, state: str = "success") -> Any:
    """Return what the OpenLineage provider extracts when a task has ended."""
    run = SimpleNamespace(run_id="r")
    return managers.ExtractorManager().extract_metadata(run, operator, TaskInstanceState(state), TaskInstance())


def names(datasets: Any) -> list[str]:
    """Return datasets as one text each."""
    return [f"{one.namespace} {one.name}" for one in datasets]


@pytest.mark.parametrize(
    ("value", "dataset"),
    [
        ("s3://conn@bucket/a/b.png", "s3://bucket a/b.png"),
        ("gs://bucket", "gs://bucket /"),
        ("/data/a.png", "file /data/a.png"),
        ("file:///data/a.png", "file /data/a.png"),
        ("https://user:pass@host.example/a/b.png?X-Amz-Signature=SECRET#f", "https://host.example a/b.png"),
        ("https://magichour.ai/my-library?videoId=abc", "magic-hour://video abc"),
        ("api-assets/id/1.png?token=SECRET", "magic-hour://files api-assets/id/1.png"),
        ({"id": "abc", "kind": "video", "files": []}, "magic-hour://video abc"),
        ({"id": "abc", "kind": "image", "files": ["/a/1.png", "/a/2.png"], "index": 1}, "file /a/2.png"),
        ({"file_path": "api-assets/id/1.png", "sha256": "x"}, "magic-hour://files api-assets/id/1.png"),
        ({"saved_item": "Nori", "type": "character"}, "magic-hour://character Nori"),
        (None, None),
        (5, None),
        ({}, None),
    ],
)
def test_what_a_file_is_called(value, dataset):
    """As OpenLineage names datasets, without connection, user or signature."""
    found = dataset_of(value)
    assert (found and " ".join(found)) == dataset


def test_an_operator(airflow, tmp_path):
    """The photo that it was given, the clip that it stored, and the job with its credits; also after a deferral."""
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"x" * 10)
    request = {"assets": {"image_file_path": str(photo)}, "end_seconds": 3, "model": "kling-2.5"}
    operator = airflow.operator("image-to-video", request)
    result = airflow.attempt(operator, TaskInstance())
    found = extract(operator)
    assert names(found.inputs) == [f"file {photo}"]
    assert names(found.outputs) == [f"file {result['file']}"]
    facet = found.run_facets[FACET]
    assert (facet.tool, facet.model, facet.job_id, facet.credits, facet.library_url) == (
        "image-to-video",
        "kling-2.5",
        result["id"],
        result["credits_charged"],
        result["library_url"],
    )
    assert airflow.creates() == 1


def test_media_that_are_not_stored(airflow):
    """They are datasets of Magic Hour, and the next task's input is the same one."""
    first = airflow.operator(output_path="")
    result = airflow.attempt(first, TaskInstance("first"))
    (dataset,) = extract(first).outputs
    assert (dataset.namespace, dataset.name) == ("magic-hour://image", result["id"])
    next_one = airflow.operator("image-to-video", {"assets": {"image_file_path": result}, "end_seconds": 3})
    assert names(extract(next_one, "failed").inputs) == [f"magic-hour://image {result['id']}"]
    assert extract(next_one, "failed").outputs == []
    assert airflow.creates() == 1


def test_download_upload_and_sensor(airflow, tmp_path):
    """The job, the files that were stored, the upload."""
    job = airflow.attempt(airflow.operator(output_path=""), TaskInstance())
    for one in (MagicHourDownloadOperator, MagicHourJobSensor):
        with DAG("teaser", schedule=None):
            operator = one(task_id="store", job=job, output_path=str(tmp_path / one.__name__))
        result = operator.execute(TaskInstance("store").context(operator))
        found = extract(operator)
        assert names(found.inputs) == [f"magic-hour://image {job['id']}"]
        assert names(found.outputs) == [f"file {result['file']}"]
        assert found.run_facets[FACET].job_id == job["id"]
    with DAG("teaser", schedule=None):
        upload = MagicHourUploadOperator(task_id="upload", source=result["file"])
    reference = upload.execute(TaskInstance("upload").context(upload))
    found = extract(upload)
    assert names(found.inputs) == [f"file {result['file']}"]
    assert names(found.outputs) == [f"magic-hour://files {reference['file_path']}"]
    assert airflow.creates() == 1


def test_a_batch(airflow, tmp_path):
    """The file of rows, the folder, the results, and what all of it cost."""
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows(2))))
    batches = Batches(airflow)
    operator = batches.operator(str(file), item_id="sku")
    manifest = batches.attempt(operator, TaskInstance("campaign"))
    found = extract(operator)
    assert names(found.inputs) == [f"file {file}"]
    assert names(found.outputs) == [f"file {batches.folder}", f"file {manifest['results']}"]
    facet = found.run_facets[FACET]
    assert (facet.tool, facet.items, facet.credits) == ("ai-image-generator", 2, manifest["credits_charged"])
    assert airflow.creates() == 2


def test_nothing_secret(airflow):
    """A signed link as an input is named without what opens it."""
    link = "https://bucket.s3.amazonaws.com/a.png?X-Amz-Signature=5ec7e7&X-Amz-Credential=AKIA"
    operator = MagicHourOperator(
        task_id="make",
        tool="ai-image-editor",
        request={"assets": {"image_file_paths": [link]}, "style": {"prompt": "x"}},
    )
    shown = repr(extract(operator))
    assert "a.png" in shown
    assert "5ec7e7" not in shown
    assert "AKIA" not in shown
