"""A photo behind a signed link becomes a picture, the picture a clip, and rows of a file a batch."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG

from magic_hour_provider.operators.batch import MagicHourBatchOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator

GIVEN = Path(os.environ.get("GIVEN", ""))
LINK = "https://bucket.s3.amazonaws.com/in/logo.png?X-Amz-Signature=5ec7e75ec7e7&X-Amz-Credential=AKIAEXAMPLE"

with DAG("traced", schedule=None):
    picture = MagicHourOperator(
        task_id="picture",
        tool="ai-image-editor",
        request={
            "assets": {"image_file_paths": [str(GIVEN / "photo.png"), LINK]},
            "style": {"prompt": "at dawn [[seconds:1]]"},
            "model": "seedream-v4",
        },
    )
    clip = MagicHourOperator(
        task_id="clip",
        tool="image-to-video",
        request={
            "assets": {"image_file_path": picture.output},
            "style": {"prompt": "waves [[seconds:12]]"},
            "end_seconds": 3,
            "model": "kling-2.5",
        },
        output_path="",
    )
    campaign = MagicHourBatchOperator(
        task_id="campaign",
        tool="ai-image-generator",
        requests=str(GIVEN / "rows.jsonl"),
        request={"image_count": 1},
        item_id="sku",
        output_path=str(GIVEN / "campaign"),
    )
    clip >> campaign
