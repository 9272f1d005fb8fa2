"""Right and wrong uses of the decorators: read by mypy in a test, never run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import XComArg

from magic_hour_provider.decorators import magic_hour_batch_task, magic_hour_task


@magic_hour_task(tool="ai-image-generator", output_path="s3://b/c", retries=2, timeout=timedelta(hours=1))
def picture(subject: str, size: int = 1) -> dict[str, Any]:
    """Return a request."""
    return {"image_count": size, "style": {"prompt": subject}}


@magic_hour_batch_task(tool="ai-image-editor", output_path="s3://b/c", item_id="sku", input_transfer="presign")
def campaign(count: int) -> Iterator[dict[str, Any]]:
    """Yield rows."""
    for number in range(count):
        yield {"sku": number}


def right() -> XComArg:
    """Everything here is accepted."""
    campaign(count=5)
    picture.expand(subject=["cat", "dog"])
    picture.partial(size=2).expand(subject=["cat"])
    picture.override(task_id="other", retries=1)("cat")
    return picture("cat", size=2)


def wrong() -> None:
    """Every marked line is refused."""
    picture(5)  # wrong
    picture("cat", sise=2)  # wrong
    picture.expnd(subject=["cat"])  # wrong
    magic_hour_task()  # wrong
    magic_hour_task(tool=5)  # wrong
    magic_hour_task(tool="ai-image-generator", on_clear="never")  # wrong
    magic_hour_task(tool="ai-image-generator", input_transfer="sign")  # wrong
    magic_hour_task(tool="ai-image-generator", output_pth="x")  # wrong
    magic_hour_task(tool="ai-image-generator")(lambda: "no request")  # wrong
    campaign("five")  # wrong
    magic_hour_batch_task(tool="ai-image-editor")  # wrong
    magic_hour_batch_task(tool="ai-image-editor", output_path="s3://b/c", on_clear="reuse")  # wrong
    magic_hour_batch_task(tool="ai-image-editor", output_path="s3://b/c")(lambda: 5)  # wrong


def mapping(subject: str) -> Mapping[str, Any]:
    """Return a request."""
    return {"style": {"prompt": subject}}


magic_hour_task(tool="ai-image-generator")(mapping)("cat")
