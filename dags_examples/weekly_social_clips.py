"""Every Monday: an upright clip for each topic of the week, with a limit on what a week may cost."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import DAG, Param, task, task_group

from magic_hour_provider.operators.magic_hour import MagicHourOperator

FOLDER = "{{ params.results }}/{{ run_id }}"  # a folder for each week; ds would need a logical date

with DAG(
    dag_id="weekly_social_clips",
    schedule="@weekly",
    start_date=pendulum.datetime(2026, 1, 5, tz="UTC"),
    catchup=False,  # or every week since then is paid for
    is_paused_upon_creation=True,
    tags=["magic-hour", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "topics": Param(["a lighthouse in a storm", "a harbor at dawn"], type="array", title="Topics"),
        "results": Param(str(Path.home() / "magic-hour-clips"), type="string", title="Results"),
        # What all tasks of one run may pay together.
        "max_credits_per_run": Param(1_000, type="integer", minimum=0, title="Credits of a week"),
    },
    doc_md="""
### Social clips every week

for each topic: a picture → a clip of it → a line in the week's list.

Needs the connection `magic_hour_default`. What the runs have paid is in the *Spend* tab of this DAG.
""",
) as dag:

    @task
    def topics(params: dict[str, Any]) -> list[str]:
        """Return the topics of the week; here those of the run's form."""
        return list(params["topics"])

    # A group is mapped as a whole: the clip of a topic begins when the picture of that topic is there.
    @task_group
    def clip_of(topic: str) -> Any:
        """Make a picture of a topic, and a clip of the picture."""

        # Data, in which no text is a template; with model and resolution named there is a published price.
        @task.magic_hour(tool="ai-image-generator", output_path=FOLDER, max_active_tis_per_dag=2)
        def picture(topic: str) -> dict[str, Any]:
            return {
                "name": topic[:60],
                "image_count": 1,
                "aspect_ratio": "9:16",
                "model": "flux-schnell",
                "resolution": "640px",
                "style": {"prompt": f"{topic}, travel poster, bold colors"},
            }

        clip = MagicHourOperator(
            task_id="clip",
            tool="image-to-video",
            request={
                "assets": {"image_file_path": picture(topic)},
                "end_seconds": 5,
                "model": "ltx-2.3",
                "resolution": "480p",
                "style": {"prompt": "The scene comes alive, slow push in"},
            },
            output_path=FOLDER,
            # One after another: each sees what those before it have paid, and stays within the week's limit.
            max_active_tis_per_dagrun=1,
        )
        return clip.output

    @task
    def list_clips(clips: list[dict[str, Any]]) -> list[str]:
        """Return the files of the week, for whatever posts them."""
        return [clip["file"] for clip in clips]

    list_clips(clip_of.expand(topic=topics()))
