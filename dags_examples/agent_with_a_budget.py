"""An agent writes the prompts and looks for what fits; it may pay, within a limit, and never twice for one request."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, task

from magic_hour_provider.agents.operator import MagicHourAgentOperator

with DAG(
    dag_id="agent_with_a_budget",
    schedule=None,  # started by hand: every run is paid for
    tags=["magic-hour", "example"],
    params={
        "product": "a red canvas backpack",
        "results": str(Path.home() / "magic-hour-agent"),  # or a bucket: s3://connection@bucket/folder
    },
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    doc_md="""
### An agent with a budget

An agent is asked for three pictures of a product. It asks for the balance and the price, which is free, writes the
prompts and makes the pictures: each request is recorded in the folder of the run, so that a retry pays for none twice.

Needs `pip install airflow-provider-magic-hour[agents]`, a connection `pydanticai_default` to a model, the connection
`magic_hour_default`, and a folder: the param `results`.
""",
) as dag:
    pictures = MagicHourAgentOperator(
        task_id="pictures",
        llm_conn_id="pydanticai_default",
        system_prompt="You are the art director of a small shop. Answer with one sentence about the pictures.",
        prompt="Make three different pictures of {{ params.product }}, each in another season.",
        tools=["ai-image-generator"],
        output_path="{{ params.results }}/{{ run_id }}",
        max_credits=30,
        # What the agent may not choose: the price of each picture is known by it.
        extra_request={"image_count": 1, "model": "flux-schnell", "resolution": "640px"},
    )

    @task
    def report(sentence: str, batch: dict) -> str:
        """Say what was made, and what it has cost."""
        return f"{batch['complete']} pictures for {batch['credits_charged']} credits: {sentence}"

    report(pictures.output, pictures.output["magic_hour_batch"])
