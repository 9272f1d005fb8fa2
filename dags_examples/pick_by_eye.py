"""Four variants are made, a person looks at them and picks one, and only that one becomes a clip."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import conf
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, ObjectStoragePath, task

from magic_hour_provider.operators.magic_hour import MagicHourOperator

# Where the four lie side by side: the Media tab of the task that made them.
AIRFLOW = conf.get("api", "base_url", fallback="").rstrip("/")
TAB = AIRFLOW + "/dags/{{ dag.dag_id }}/runs/{{ run_id | urlencode }}/tasks/variants/plugin/magic-hour-media"

with DAG(
    dag_id="pick_by_eye",
    schedule=None,  # started by hand: every run is paid for
    tags=["magic-hour", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md="""
### A person picks the best of four

four variants → somebody looks at them in the *Media* tab and picks one under *Required Actions* → only the pick is
animated → published.

Needs the connection `magic_hour_default`, and a folder for the files: `[magic_hour] output_path`. The API server shows
what lies below `[magic_hour] media_roots`, which by default is that folder.
""",
) as dag:
    variants = MagicHourOperator(
        task_id="variants",
        tool="ai-image-generator",
        request={
            "image_count": 4,
            "aspect_ratio": "16:9",
            "style": {"prompt": "A red lighthouse above a calm sea at dawn, long exposure, soft light"},
        },
    )

    # No worker and no trigger slot is held while the person makes up their mind.
    pick = HITLOperator(
        task_id="pick",
        subject="Which of the four shall become the clip?",
        body=f"Look at them in the [Media tab of the task variants]({TAB}): their numbers are the answers.",
        options=["1", "2", "3", "4"],
    )
    variants >> pick

    @task
    def picked(files: list[str], answer: dict[str, Any]) -> str:
        """Return where the chosen picture is stored."""
        return files[int(answer["chosen_options"][0]) - 1]

    animate = MagicHourOperator(
        task_id="animate",
        tool="image-to-video",
        request={
            "assets": {"image_file_path": picked(variants.output["files"], pick.output)},
            "end_seconds": 5,
            "style": {"prompt": "The light turns slowly, small waves, the camera rises"},
        },
    )

    @task
    def publish(clip: str) -> str:
        """Copy the clip to where the public looks for it: here a folder beside the others."""
        source = ObjectStoragePath(clip)
        target = source.parent / "published" / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        return str(target)

    publish(animate.output["file"])
