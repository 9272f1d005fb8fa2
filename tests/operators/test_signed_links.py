"""The user's own signed links: Airflow shows rendered fields to people, so their signatures are hidden."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import redact
from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

from helpers.attempts import Given, TaskInstance
from magic_hour_provider.operators.image import MagicHourAIImageUpscalerOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator


def link(number: int) -> str:
    """Return a link of S3 with a signature of its own."""
    return f"https://b.s3.example/{number}.png?X-Amz-Expires=60&X-Amz-Signature={number:x}fdeadbeef{number:x}&x-id=GetObject"


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (11, link(11)),
        (12, "{{ ti.start }}" + link(12)),
        (13, Given(link(13))),
        (14, Given({"uri": link(14), "index": 0})),
    ],
)
@pytest.mark.parametrize("typed", [False, True])
def test_a_signature_is_in_no_rendered_field(number, value, typed):
    """However the link got into the request; what is sent is whole."""
    assets = {"image_file_path": value}
    operator = (
        MagicHourAIImageUpscalerOperator(task_id="make", assets=assets, scale_factor=2)
        if typed
        else MagicHourOperator(task_id="make", tool="ai-image-upscaler", request={"assets": assets, "scale_factor": 2})
    )
    ti = TaskInstance()
    ti.start = ""
    operator.render_template_fields(ti.context(operator))
    shown = str(_serialize_rendered_fields(operator))
    assert f"https://b.s3.example/{number}.png?X-Amz-Expires=60&X-Amz-Signature=***" in shown
    assert "deadbeef" not in shown
    assert "deadbeef" not in redact(f"asked {link(number)} in vain")
    assert link(number) in str(operator.request)
