"""The DAGs of the system tests, two with the decorator: a tool for each, so that counters tell them apart."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.sensors.job import MagicHourJobSensor

RETRY = {"retries": 1, "retry_delay": timedelta(seconds=1)}

with DAG("worker_killed_after_the_answer", schedule=None):

    @task.magic_hour(tool="text-to-video", deferrable=False, **RETRY)
    def make(ti: Any) -> dict[str, Any]:
        """Ask for another clip in each attempt: the second one resumes the first one's job."""
        return {"style": {"prompt": f"waves, attempt {ti.try_number}"}, "end_seconds": 3}

    make()

with DAG("triggerer_killed", schedule=None):

    @task.magic_hour(tool="face-swap", **RETRY)
    def make(video: str) -> dict[str, Any]:
        """Say so when it is called: once, before the task is deferred."""
        print("the request is made")  # noqa: T201 (the task's log has it)
        assets = {"video_source": "file", "video_file_path": video, "image_file_path": "https://example.com/a.png"}
        return {"assets": assets, "start_seconds": 0, "end_seconds": 3}

    make("https://example.com/{{ 'a.mp4' }}")

with DAG("worker_killed_during_the_post", schedule=None):
    MagicHourOperator(
        task_id="make",
        tool="ai-qr-code-generator",
        request={"content": "https://example.com", "style": {"art_style": "ink"}},
        **RETRY,
    )

with DAG("wrong_key", schedule=None):
    MagicHourOperator(
        task_id="make",
        tool="ai-image-generator",
        request={"image_count": 1, "style": {"prompt": "x"}},
        magic_hour_conn_id="magic_hour_wrong",
        **RETRY,
    )

with DAG("sensors", schedule=None):
    submitted = MagicHourOperator(
        task_id="submit",
        tool="image-to-video",
        request={
            "assets": {"image_file_path": "https://example.com/a.png"},
            "style": {"prompt": "waves [[seconds:30]]"},
            "end_seconds": 3,
        },
        wait_for_completion=False,
    )
    for how in (
        MagicHourJobSensor(task_id="deferred", job=submitted.output),
        MagicHourJobSensor(task_id="poke", job=submitted.output["library_url"], mode="poke", poke_interval=3),
        MagicHourJobSensor(
            task_id="reschedule",
            job={"kind": "video", "id": submitted.output["id"]},
            mode="reschedule",
            poke_interval=5,
            output_path="",
        ),
    ):
        submitted >> how
