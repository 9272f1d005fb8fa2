"""The DAGs of the waiting test."""

from __future__ import annotations

from airflow.sdk import DAG

from magic_hour_provider.operators.magic_hour import MagicHourOperator

VIDEO = {"style": {"prompt": "waves [[seconds:3600]]"}, "end_seconds": 3}

# Its task instances are put into the database as deferred. Nobody starts what is paused, so what their triggers resume
# stays there to be counted.
with DAG("crowd", schedule=None, is_paused_upon_creation=True):
    MagicHourOperator(task_id="make", tool="text-to-video", request=VIDEO)

# These are real from the first to the last step.
with DAG("among_the_crowd", schedule=None):
    MagicHourOperator.partial(task_id="make", tool="text-to-video", output_path="").expand(request=[VIDEO] * 4)
