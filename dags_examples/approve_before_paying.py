"""A campaign whose estimated total a person approves in Airflow's UI before anything is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, ObjectStoragePath, Param, task

from magic_hour_provider.operators.batch import MagicHourBatchOperator

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
TOOL = "ai-image-editor"
# With model and resolution named there is a published price; what is left to a default that moves has none.
REQUEST = {
    "model": "qwen-edit",
    "resolution": "640px",
    "image_count": 1,
    "style": {"prompt": "On a beach at sunset, warm light"},
}

with DAG(
    dag_id="approve_before_paying",
    schedule=None,  # started by hand: every row is paid for
    tags=["magic-hour", "example"],
    params={
        "photos": Param(str(Path(__file__).parent / "media"), type="string", title="Photos"),
        "results": Param(str(Path.home() / "magic-hour-approved"), type="string", title="Results"),
    },
    doc_md="""
### Approve before paying

list the photos → estimate what a picture of each costs → somebody approves the total under *Required Actions* → one
task makes them, and pays no more than was approved. Rejected, nothing is paid for.
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

    @task
    def total(rows: list[dict[str, Any]]) -> int:
        """Add up what the rows will probably cost. Nothing is asked of Magic Hour, and nothing is paid."""
        from magic_hour_provider.api.prices import estimate

        estimates = [estimate(TOOL, REQUEST | row) for row in rows]
        if unknown := sum(one.credits is None for one in estimates):
            raise ValueError(
                f"Nobody knows what {unknown} of {len(rows)} pictures cost: name a model that has a price."
            )
        return sum(one.credits or 0 for one in estimates)

    listed = rows()
    credits = total(listed)

    # No worker and no trigger slot is held while the person makes up their mind.
    approve = ApprovalOperator(
        task_id="approve",
        subject="May this campaign be paid for?",
        body="{{ ti.xcom_pull('rows') | length }} pictures are estimated at **{{ ti.xcom_pull('total') }} credits**. "
        "Approved, no more than that is paid; rejected, nothing is.",
    )

    pictures = MagicHourBatchOperator(
        task_id="pictures",
        tool=TOOL,
        requests=listed,
        request=REQUEST,
        item_id="name",
        output_path="{{ params.results }}",
        max_active_jobs=4,
        max_credits=credits,  # what was approved
        retries=2,  # an accepted job is resumed, not paid for again
    )
    credits >> approve >> pictures
