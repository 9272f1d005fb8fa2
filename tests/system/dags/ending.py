"""Tasks that their trigger ends, and the same task that a worker ends."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.sensors.job import MagicHourJobSensor


def video(words: str) -> dict[str, Any]:
    """Return the request of a video that a test lets end."""
    return {"style": {"prompt": f"waves {words} [[seconds:3600]]"}, "end_seconds": 3}


def announce(context: Any) -> None:
    """Be what only a worker does at a task's end."""


with DAG("ends_in_the_triggerer", schedule=None):
    made = MagicHourOperator(task_id="by_trigger", tool="text-to-video", request=video("alike"), output_path="")
    MagicHourOperator(
        task_id="by_worker",
        tool="text-to-video",
        request=video("alike"),
        output_path="",
        on_success_callback=announce,
    )

    @task
    def use(result: Any, job_id: Any) -> dict[str, Any]:
        """Return what a later task gets."""
        return {"result": result, "job_id": job_id}

    use(made.output, made.output["id"])
    MagicHourJobSensor(task_id="sensor", job=made.output, output_path="", mode="poke")

with DAG("ends_by_webhook", schedule=None):
    MagicHourOperator(task_id="make", tool="text-to-video", request=video("hooked"), output_path="")
