"""A file of a bucket goes to Magic Hour as a link."""

from __future__ import annotations

from airflow.sdk import DAG

from magic_hour_provider.operators.magic_hour import MagicHourOperator

with DAG("presigned", schedule=None):
    MagicHourOperator(
        task_id="upscale",
        tool="ai-image-upscaler",
        request={"assets": {"image_file_path": "{{ dag_run.conf.photo }}"}, "scale_factor": 2},
        input_transfer="presign",
    )
