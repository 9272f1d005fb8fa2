"""The DAG of the recovery's tests: the response to one paid request is lost, and what comes after it waits for that."""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from magic_hour_provider.operators.magic_hour import MagicHourOperator

with DAG("lost_response", schedule=None):
    lost = MagicHourOperator(
        task_id="lost",
        tool="ai-image-generator",
        request={"image_count": 1, "style": {"prompt": "a lighthouse in the fog [[lost-response]]"}},
    )
    made = MagicHourOperator(
        task_id="made",
        tool="ai-image-generator",
        request={"image_count": 1, "style": {"prompt": "a lighthouse in the sun"}},
    )
    [lost, made] >> EmptyOperator(task_id="publish")
