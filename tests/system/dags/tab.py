"""The DAG of the Media tab's tests: what made a film, what fails, what is still under way, and what is hostile."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from magic_hour_provider.operators.magic_hour import MagicHourOperator


def film(prompt: str) -> dict[str, Any]:
    """Return the request of a short film."""
    return {"style": {"prompt": prompt}, "end_seconds": 4}


with DAG("tab", schedule=None, max_active_tasks=16):
    MagicHourOperator(task_id="film", tool="text-to-video", request=film("a lighthouse at dawn"), deferrable=False)
    MagicHourOperator(
        task_id="pictures",
        tool="ai-image-generator",
        request={"image_count": 4, "style": {"prompt": "a <b>bold</b> lighthouse <img src=x onerror=alert(1)>"}},
    )
    MagicHourOperator(
        task_id="fails",
        tool="text-to-video",
        request=film("waves [[error:content_policy_violation]]"),
        deferrable=False,
    )

    @task
    def not_ours() -> dict[str, Any]:
        """Pretend to be one of ours."""
        return {"tool": "ai-image-generator", "media": [{"uri": "/etc/passwd"}], "files": ["/etc/passwd"]}

    not_ours()

with DAG("tab_slow", schedule=None):
    MagicHourOperator(task_id="slow", tool="text-to-video", request=film("a slow river [[seconds:20]]"))
