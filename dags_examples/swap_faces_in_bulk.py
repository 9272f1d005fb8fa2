"""One face into every photo of a folder, as one task; a second run makes only the photos that are new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import DAG, ObjectStoragePath, Param, task

from magic_hour_provider.operators.batch import MagicHourBatchOperator

MEDIA = Path(__file__).parent / "media"
PICTURES = (".jpg", ".jpeg", ".png", ".webp")

with DAG(
    dag_id="swap_faces_in_bulk",
    schedule=None,  # started by hand: every photo is paid for
    tags=["magic-hour", "example"],
    # A bucket is s3://connection@bucket/folder; without one, folders do.
    params={
        "face": Param(str(MEDIA / "astronaut.png"), type="string", title="The face to put in"),
        "photos": Param(str(MEDIA), type="string", title="Photos"),
        "results": Param(str(Path.home() / "magic-hour-faces"), type="string", title="Results"),
    },
    doc_md="""
### One face, many photos

list the photos → one task that swaps the faces of each → the photos in which no face was found.

Have the consent of the person whose face it is, and of those in the photos. Needs the connection `magic_hour_default`.
""",
) as dag:

    @task
    def rows(params: dict[str, Any]) -> list[dict[str, Any]]:
        """List the photos: what is different in the request for each."""
        photos = sorted(ObjectStoragePath(params["photos"]).iterdir(), key=str)
        return [
            {"name": photo.name, "assets": {"target_file_path": str(photo)}}
            for photo in photos
            if photo.suffix.lower() in PICTURES
        ]

    swapped = MagicHourBatchOperator(
        task_id="swapped",
        tool="face-swap-photo",
        requests=rows(),
        # Each row is merged over it. The face is uploaded once, however many photos there are.
        request={"assets": {"face_swap_mode": "all-faces", "source_file_path": "{{ params.face }}"}},
        item_id="name",  # a photo is paid for once under its name
        output_path="{{ params.results }}",
        max_active_jobs=4,
        max_credits=1_000,
        max_failed_items=0.2,  # photos without a face are no reason to fail
        retries=2,
    )

    @task
    def without_a_face(batch: dict[str, Any]) -> list[str]:
        """Name the photos that have failed. Magic Hour refunds them."""
        from magic_hour_provider.batch.run.results import read_results

        return [item["item_id"] for item in read_results(batch) if item["status"] == "failed"]

    without_a_face(swapped.output)
