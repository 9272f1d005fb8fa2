"""Right and wrong calls of typed operators: read by mypy in a test, never run."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import XComArg

from magic_hour_provider.operators.audio import MagicHourAIVoiceGeneratorOperator
from magic_hour_provider.operators.image import MagicHourAIImageGeneratorOperator, MagicHourFaceSwapPhotoOperator
from magic_hour_provider.operators.video import MagicHourLipSyncOperator, MagicHourTextToVideoOperator


def right(xcom: XComArg) -> None:
    """Everything here is accepted."""
    image = MagicHourAIImageGeneratorOperator(
        task_id="a", image_count=1, style={"prompt": "x"}, output_path="s3://b/c", retries=2, timeout=timedelta(hours=1)
    )
    MagicHourAIImageGeneratorOperator(task_id="b", image_count=xcom, style=xcom, model="a-new-model")
    MagicHourTextToVideoOperator(task_id="c", end_seconds=5, style={"prompt": xcom}, extra_request={"x": 1})
    MagicHourTextToVideoOperator(
        task_id="d", end_seconds=5.5, style=xcom, references=[{"file_path": image.output, "name": "x"}]
    )
    MagicHourLipSyncOperator(
        task_id="e",
        assets={"video_source": "file", "video_file_path": {"kind": "video", "id": "x"}, "audio_file_path": xcom},
        start_seconds=0,
        end_seconds=5,
        style={"generation_mode": "pro"},
        on_clear="regenerate",
        input_transfer="presign",
    )


def wrong(xcom: XComArg) -> None:
    """Every marked line is refused."""
    MagicHourAIImageGeneratorOperator(task_id="a", image_count="one", style={"prompt": "x"})  # wrong
    MagicHourAIImageGeneratorOperator(task_id="b", style={"prompt": "x"})  # wrong
    MagicHourAIImageGeneratorOperator(task_id="c", image_count=1, style={"promt": "x"})  # wrong
    MagicHourTextToVideoOperator(task_id="d", style=xcom, end_seconds=1, end_second=5)  # wrong
    MagicHourTextToVideoOperator(task_id="e", style=xcom, end_seconds=5, on_clear="never")  # wrong
    MagicHourTextToVideoOperator(task_id="g", style=xcom, end_seconds=5, input_transfer="sign")  # wrong
    MagicHourTextToVideoOperator(task_id="f", style=xcom, end_seconds=5, output_path=3)  # wrong
    MagicHourTextToVideoOperator(task_id=6, style=xcom, end_seconds=5)  # wrong
    MagicHourAIVoiceGeneratorOperator(task_id="g", style="Hello")  # wrong
    MagicHourFaceSwapPhotoOperator(task_id="h", assets={"target_file_path": 5})  # wrong
    MagicHourLipSyncOperator(task_id="i", assets=xcom, start_seconds=0, end_seconds=5, style={"mode": "x"})  # wrong
