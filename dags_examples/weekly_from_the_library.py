"""Every Monday: wait for the video that a colleague has started in Magic Hour's web app, and subtitle it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.sdk import DAG

from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.sensors.job import MagicHourJobSensor

with DAG(
    dag_id="weekly_from_the_library",
    schedule="@weekly",
    start_date=pendulum.datetime(2026, 1, 4, tz="UTC"),
    catchup=False,  # or every week since then is paid for
    is_paused_upon_creation=True,
    tags=["magic-hour", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={"results": str(Path.home() / "magic-hour-weekly")},  # or a bucket: s3://connection@bucket/folder
    doc_md="""
### The video of the week, with subtitles

Somebody starts the video in the web app and puts its address (`https://magichour.ai/my-library?videoId=...`) into the
Variable `magic_hour_video_of_the_week`. Needs the connection `magic_hour_default`.
""",
) as dag:
    # Waits in the triggerer, for days if need be, and holds no worker. It pays for nothing.
    video = MagicHourJobSensor(
        task_id="video",
        job="{{ var.value.magic_hour_video_of_the_week }}",
        timeout=timedelta(days=3).total_seconds(),
        output_path="",  # the finished video stays where it is: only the subtitled one is stored
    )

    # Pays once a run, retries included. If the Variable stays as it is, next week's run pays for the same video again.
    MagicHourOperator(
        task_id="subtitled",
        tool="auto-subtitle-generator",
        request={
            "assets": {"video_file_path": video.output},
            "start_seconds": 0,
            "end_seconds": 5,
            "style": {"template": "karaoke"},
        },
        output_path="{{ params.results }}/{{ run_id }}",  # a folder for each run; ds would need a logical date
    )
