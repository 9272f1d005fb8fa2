"""A campaign picture from every photo of a bucket, as one task; a second run makes only those that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import DAG, ObjectStoragePath, Param, task

from magic_hour_provider.operators.batch import MagicHourBatchOperator

PICTURES = (".jpg", ".jpeg", ".png", ".webp")

with DAG(
    dag_id="campaign_from_bucket",
    schedule=None,  # started by hand: every row is paid for
    tags=["magic-hour", "example"],
    # What you see when you trigger it. A bucket is s3://connection@bucket/folder; without one, folders do.
    params={
        "photos": Param(str(Path(__file__).parent / "media"), type="string", title="Photos"),
        "results": Param(str(Path.home() / "magic-hour-campaign"), type="string", title="Results"),
        "prompt": Param("On a beach at sunset, warm light", type="string", title="What to make of each"),
    },
    doc_md="""
### A campaign from a bucket

list the photos → one task that makes a picture of each → report.

Photos that fail leave the others alone. Run the DAG again with the same results folder: only what is new, or worth
another try, is made and paid for. With another prompt all of them are made again, beside the old pictures.
""",
) as dag:

    @task
    def rows(params: dict[str, Any]) -> list[dict[str, Any]]:
        """List the photos: what is different in the request for each."""
        photos = sorted(ObjectStoragePath(params["photos"]).iterdir(), key=str)
        return [
            {"name": photo.name, "assets": {"image_file_paths": [str(photo)]}}
            for photo in photos
            if photo.suffix.lower() in PICTURES
        ]

    pictures = MagicHourBatchOperator(
        task_id="pictures",
        tool="ai-image-editor",
        # Rows are data: a file's name with {{ }} in it, from whoever fills the bucket, is sent as it is. What they have
        # in common is a template, and what comes out of it is not rendered again.
        requests=rows(),
        request={"style": {"prompt": "{{ params.prompt }}"}},
        item_id="name",  # a photo is paid for once under its name, whatever its place in the list
        output_path="{{ params.results }}",  # the records of what is paid for are here too
        max_active_jobs=4,  # a plan of Magic Hour's runs so many jobs at once
        max_credits=2_000,  # no more than that is paid in one run
        max_failed_items=0.5,  # more of them, and the task fails, and with it the run
        retries=2,  # an accepted job is resumed, not paid for again
    )

    @task
    def report(batch: dict[str, Any]) -> dict[str, Any]:
        """Name what was made and what is missing, in the order of the photos."""
        from magic_hour_provider.batch.run.results import read_results

        items = list(read_results(batch))
        made = {item["item_id"]: item["files"][0] for item in items if item["status"] == "complete"}
        missing = {item["item_id"]: item["message"] for item in items if item["status"] != "complete"}
        return {"made": made, "missing": missing, "credits": batch["credits_charged"]}

    report(pictures.output)
