"""The DAG that the documentation's pictures show: a campaign with whatever a run can have in it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import DAG, task

from magic_hour_provider.operators.batch import MagicHourBatchOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator

PLACES = ("a lighthouse", "a harbour", "a pine forest", "a mountain lake", "an old bridge", "a vineyard")
LIGHTS = ("at dawn", "in morning fog", "in autumn sun", "at dusk")
PRODUCTS = ("mug", "scarf", "candle", "blanket", "teapot", "lantern", "basket", "jacket", "boots", "umbrella")


def picture(prompt: str) -> dict[str, Any]:
    """Return the request of one picture."""
    return {"image_count": 1, "aspect_ratio": "16:9", "style": {"prompt": prompt}}


with DAG("autumn_campaign", schedule=None, max_active_tasks=16, default_args={"retries": 0}):
    key_visuals = MagicHourOperator(
        task_id="key_visuals",
        tool="ai-image-generator",
        request=picture("A red lighthouse above a calm sea, long exposure, soft light") | {"image_count": 4},
    )
    variants = MagicHourOperator.partial(task_id="variants", tool="ai-image-generator").expand(
        request=[picture(f"{place} {light}, wide shot".capitalize()) for place in PLACES for light in LIGHTS[:2]]
    )
    clip = MagicHourOperator(
        task_id="clip",
        tool="image-to-video",
        request={
            "assets": {"image_file_path": key_visuals.output["file"]},
            "end_seconds": 5,
            "style": {"prompt": "The light turns slowly, small waves, the camera rises"},
        },
    )
    refused = MagicHourOperator(
        task_id="portrait",
        tool="text-to-video",
        request={"end_seconds": 5, "style": {"prompt": "A famous person waves from the bridge"}},
    )
    lost = MagicHourOperator(
        task_id="poster",
        tool="ai-image-generator",
        request=picture("A poster of a lighthouse, flat colours, large type"),
    )
    teaser = MagicHourOperator(
        task_id="teaser",
        tool="text-to-video",
        request={"end_seconds": 10, "style": {"prompt": "Leaves fall along a quiet street, slow camera"}},
    )
    catalogue = MagicHourBatchOperator(
        task_id="catalogue",
        tool="ai-image-generator",
        requests=[
            {"name": f"{product} {light}", **picture(f"A {product} on a wooden table {light}")}
            for product in PRODUCTS
            for light in LIGHTS
        ],
        item_id="name",
        output_path=conf.get("magic_hour", "output_path", fallback="") or str(Path.home() / "magic-hour-pictures"),
        max_active_jobs=16,
        item_retries=0,
        max_failed_items=0.1,
        max_credits=1_000,
    )

    @task(execution_timeout=timedelta(minutes=1))
    def publish(file: str) -> str:
        """Hand over what was made."""
        return file

    publish(lost.output["file"])
