"""The DAGs of the soak: single jobs in mapped tasks, and a batch. Each request says in its prompt which one it is."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG

from magic_hour_provider.operators.batch import MagicHourBatchOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from soak_parts.work import BATCH_DAG, BATCH_TASK, JOBS_DAG, TOOLS, mapped, row, single

MEDIA = os.environ["SOAK_MEDIA"]
# Two retries, as the guide on production says. Airflow's delay between them is five minutes.
RETRIES = {"retries": int(os.environ["SOAK_RETRIES"]), "retry_delay": timedelta(seconds=30)}
WAVE = mapped(int(os.environ["SOAK_WAVE"]))

with DAG(JOBS_DAG, schedule=None, max_active_runs=100, max_active_tasks=100, default_args=RETRIES):
    for task_id, tool in TOOLS.items():
        numbers = [number for (name, _), number in WAVE.items() if name == task_id]
        MagicHourOperator.partial(
            task_id=task_id, tool=tool, output_path="" if task_id == "preview" else f"{MEDIA}/{{{{ run_id }}}}"
        ).expand(request=[single(number, "{{ run_id }}")[1] for number in numbers])

with DAG(BATCH_DAG, schedule=None, default_args=RETRIES):
    MagicHourBatchOperator(
        task_id=BATCH_TASK,
        tool="ai-image-generator",
        requests=[row(number) for number in range(int(os.environ["SOAK_ROWS"]))],
        item_id="sku",
        output_path=f"{MEDIA}/{BATCH_TASK}",
        max_active_jobs=int(os.environ["SOAK_WINDOW"]),
    )
