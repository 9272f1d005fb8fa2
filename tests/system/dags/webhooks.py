"""DAGs whose tasks are resumed by webhooks, or not, and that note when that was."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.sensors.job import MagicHourJobSensor

TASKS = 10
IDENTIFIED_BY = timedelta(seconds=30)
"""When a webhook has named the job: it is sent in the first second."""


class NotedOperator(MagicHourOperator):
    """Writes down when it is resumed."""

    def execute_complete(self, context: Any, event: Any, deadline: float | None = None) -> Any:
        """Note the time, and continue."""
        line = {"task_id": self.task_id, "run_id": context["run_id"], "id": event["id"], "at": time.time()}
        with Path(os.environ["AIRFLOW_HOME"], "resumed.jsonl").open("a") as notes:
            notes.write(json.dumps(line) + "\n")
        return super().execute_complete(context, event, deadline)


def video(words: str) -> dict[str, Any]:
    """Return the request of a short video."""
    return {"style": {"prompt": f"waves {words}"}, "end_seconds": 3}


with DAG("hooked", schedule=None):
    for number in range(TASKS):
        NotedOperator(
            task_id=f"make_{number}", tool="text-to-video", request=video(f"[[seconds:{16 + 2 * number}]]"), retries=2
        )
    submit = MagicHourOperator(
        task_id="submit", tool="text-to-video", request=video("[[seconds:30]]"), wait_for_completion=False
    )
    MagicHourJobSensor(task_id="sensor", job=submit.output)
    NotedOperator(task_id="failing", tool="text-to-video", request=video("[[seconds:20]] [[error:no_source_face]]"))

with DAG("answer_lost", schedule=None):
    # The first attempt knows at once that the response is lost; by the second one a webhook has identified the job.
    MagicHourOperator(
        task_id="make",
        tool="image-to-video",
        request=video("[[seconds:8]] [[lost-response]]") | {"assets": {"image_file_path": "https://example.com/a.png"}},
        retries=1,
        retry_delay=IDENTIFIED_BY,
    )

with DAG("worker_lost_with_the_answer", schedule=None):
    MagicHourOperator(
        task_id="make",
        tool="audio-to-video",
        request={"assets": {"audio_file_path": "https://example.com/a.mp3"}, "end_seconds": 3},
        retries=1,
        retry_delay=IDENTIFIED_BY,
    )
