"""A prompt that a content policy refuses is replaced by a milder one; any other failure stays a failure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, Param, task

from magic_hour_provider.operators.magic_hour import MagicHourOperator

REFUSED = "content_policy_violation"
REQUEST = {"image_count": 1, "aspect_ratio": "16:9"}

with DAG(
    dag_id="fallback_prompt",
    schedule=None,  # started by hand: every run is paid for
    tags=["magic-hour", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "prompt": Param("A knight fights a dragon, oil painting", type="string", title="Prompt"),
        "milder": Param("A knight stands before a dragon, oil painting", type="string", title="If it is refused"),
    },
    doc_md="""
### A second prompt for what a policy refuses

try the prompt → is there a picture, or was it refused? → if refused, try the milder one → use the picture.

A job that a policy refuses is refunded, so a run pays for one picture. Needs the connection `magic_hour_default`, and a
folder for the files: `[magic_hour] output_path`.
""",
) as dag:
    # A refusal fails the task for good: the same prompt would be refused again, so that no retry sends it.
    first = MagicHourOperator(
        task_id="first",
        tool="ai-image-generator",
        request={**REQUEST, "style": {"prompt": "{{ params.prompt }}"}},
    )

    @task.branch(trigger_rule="all_done")
    def judge(ti: Any) -> str:
        """Choose what follows: the picture is there, or its prompt was refused."""
        report = ti.xcom_pull(task_ids="first", key="magic_hour_job") or {}  # it is there after a failure, too
        if report.get("status") == "complete":
            return "use"
        if report.get("error_code") == REFUSED:
            return "second"
        raise AirflowFailException(report.get("error") or "The first task has not run.")

    second = MagicHourOperator(
        task_id="second",
        tool="ai-image-generator",
        request={**REQUEST, "style": {"prompt": "{{ params.milder }}"}},
    )

    @task(trigger_rule="none_failed_min_one_success")
    def use(ti: Any) -> dict[str, Any]:
        """Say which prompt it was, and where the picture is stored."""
        made = {name: ti.xcom_pull(task_ids=name) for name in ("second", "first")}
        name, result = next((name, result) for name, result in made.items() if result)
        return {"prompt": name, "file": result["file"], "credits": result["credits_charged"]}

    judged = judge()
    first >> judged >> second
    [judged, second] >> use()
