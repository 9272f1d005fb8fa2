"""New pictures start another DAG: one makes them, the other one runs on each, whoever made it."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, AssetAlias, task

from magic_hour_provider.operators.magic_hour import MagicHourOperator

# What the two DAGs share. The files are known only when they are made: an alias is the name for what is still to come.
NEW_PICTURES = AssetAlias("magic-hour-new-pictures")

with DAG(
    dag_id="new_picture",
    schedule=None,  # started by hand: every run is paid for
    tags=["magic-hour", "example"],
    doc_md="Needs the connection `magic_hour_default`, and `[magic_hour] output_path`: a folder, or a bucket.",
) as producer:
    MagicHourOperator(
        task_id="picture",
        tool="ai-image-generator",
        request={"image_count": 2, "style": {"prompt": "A ceramic cup on a plain table, product photograph"}},
        outlets=[NEW_PICTURES],  # Airflow learns of each file, with the task's result beside it
    )

with DAG(
    dag_id="on_new_picture",
    schedule=[NEW_PICTURES],
    tags=["magic-hour", "example"],
) as consumer:

    @task
    def requests(triggering_asset_events: Any) -> list[dict[str, Any]]:
        """Make a request of each new picture; one run may stand for several."""
        events = triggering_asset_events[NEW_PICTURES]
        # "extra" is the result of the task that made the file, with the file's index: given where a file is expected,
        # it goes by reference, as Magic Hour already has these bytes. "uri" in it is where the file was stored.
        return [{"assets": {"image_file_path": event.extra}} for event in events]

    MagicHourOperator.partial(task_id="cutout", tool="image-background-remover").expand(request=requests())
