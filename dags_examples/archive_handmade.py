"""Keeps what people make by hand in Magic Hour's web app, as soon as it is finished."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, task

from magic_hour_provider.ledger.tag import find_tag
from magic_hour_provider.operators.files import MagicHourDownloadOperator

CONN_ID = "magic_hour_default"
FINISHED = [Asset(f"magic-hour://{kind}/completed") for kind in ("video", "image", "audio")]

with DAG(
    dag_id="archive_handmade",
    # Webhooks make these events, of every job in the account: see docs/guides/webhooks.md.
    schedule=FINISHED[0] | FINISHED[1] | FINISHED[2],
    catchup=False,
    max_active_runs=1,  # what finishes while a run is under way is in the next one
    tags=["magic-hour", "example"],
    default_args={"retries": 3},  # storing a file again costs nothing
    doc_md="""
### Archive what was made by hand

Runs whenever anybody in the account finishes a video, an image or a sound, and stores its files. Needs webhooks, the
connection `magic_hour_default`, and a folder: `[magic_hour] output_path`, or `output_path=` on the operator.

Jobs of this or another Airflow are left out where their names end with the tag that our operators put there: not
those of tools that take no name (`ai-ugc-ad`), and not with `[magic_hour] tag_job_names` at `none`.
""",
) as dag:

    @task
    def made_by_hand(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
        """Return the jobs that the events of this run are about; each event of a webhook names one."""
        events = [event.extra or {} for of_asset in triggering_asset_events.values() for event in of_asset]
        jobs = {
            extra["id"]: {"kind": extra["kind"], "id": extra["id"]}
            for extra in events
            if extra.get("conn_id") == CONN_ID and not find_tag(extra["name"])
        }
        return list(jobs.values())

    MagicHourDownloadOperator.partial(task_id="store", magic_hour_conn_id=CONN_ID).expand(job=made_by_hand())
