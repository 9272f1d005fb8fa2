"""A campaign picture from every photo of a bucket; a second run makes only those that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import DAG, ObjectStoragePath, Param, task

from magic_hour_provider.operators.magic_hour import MagicHourOperator

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

list the photos → one task for each that has no result yet, four at a time → report.

Rows that fail leave the others alone: run the DAG again, and only those are made and paid for.
""",
) as dag:

    @task
    def to_do(params: dict[str, Any]) -> list[dict[str, Any]]:
        """List the photos that have no result yet: the request of one task each."""
        requests = []
        for photo in sorted(ObjectStoragePath(params["photos"]).iterdir(), key=str):
            # A folder for each photo: the files in it are named after Magic Hour's job.
            folder = ObjectStoragePath(params["results"]) / photo.name
            there = folder.iterdir() if folder.exists() else ()
            if photo.suffix.lower() in PICTURES and not any(file.suffix in PICTURES for file in there):
                request = {"assets": {"image_file_paths": [str(photo)]}, "style": {"prompt": params["prompt"]}}
                requests.append({"name": photo.name, **request})
        return requests

    requests = to_do()

    pictures = MagicHourOperator.partial(
        task_id="picture",
        tool="ai-image-editor",
        output_path="{{ params.results }}/{{ task.request['name'] }}",
        max_active_tis_per_dag=4,  # all runs together: a plan of Magic Hour's runs so many jobs at once
        map_index_template="{{ task.request['name'] }}",
        retries=2,  # an accepted job is resumed, not paid for again
        # `expand` takes its values as they are. `expand_kwargs` renders a dict in its rows as templates: there a name
        # or a prompt with {{ }} in it, from whoever fills the bucket or starts a run, could read your connections.
    ).expand(request=requests)

    # "all_done": when every row has ended, well or not. A failed row would take the report away with "all_success", the
    # default, and with "none_failed_min_one_success"; with "one_success" it would not wait for the others.
    @task(trigger_rule="all_done")
    def report(requests: list[dict[str, Any]], results: Any) -> dict[str, Any]:
        """Name what was made and what is missing. As the last task it decides what becomes of the run."""
        made = {result["file"].split("/")[-2]: result["file"] for result in results}
        missing = [request["name"] for request in requests if request["name"] not in made]
        if missing and not made:
            raise ValueError(f"Nothing was made of {', '.join(missing)}: see the log of each.")
        return {"made": made, "missing": missing}

    report(requests, pictures.output)
