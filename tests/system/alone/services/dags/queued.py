"""A job whose end is known through a queue alone, DAGs that run on new media, and a task that meets no route."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetAlias, task

from magic_hour_provider.api.webhooks import ForwardResult, forward
from magic_hour_provider.operators.magic_hour import MagicHourOperator

with DAG("queued", schedule=None):
    MagicHourOperator(
        task_id="make",
        tool="text-to-video",
        request={"style": {"prompt": "waves [[seconds:3600]]"}, "end_seconds": 3},
        retries=1,
    )

for kind in ("video", "image"):
    with DAG(f"on_{kind}", schedule=[Asset(f"magic-hour://{kind}/completed")]):

        @task
        def note(triggering_asset_events: Any = None) -> list[str]:
            """Name the jobs that started this run; an event of an alias is listed under its asset and its alias."""
            found = {event.extra["id"]: event for events in triggering_asset_events.values() for event in events}
            return list(found)

        note()

with DAG("not_listed", schedule=None):

    @task(outlets=[AssetAlias("not-listed-deliveries")])
    def hand_over(params: dict[str, Any]) -> ForwardResult:
        """Forward a delivery for a connection that the API server's webhook_conn_ids does not name."""
        return forward(params["body"], params["headers"], "magic_hour_unlisted")

    hand_over()
