"""Webhooks for an Airflow that nothing outside can reach: a gateway puts them into a queue, which starts this DAG."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from airflow.sdk import DAG, Asset, AssetAlias, AssetWatcher, task

from magic_hour_provider.api.webhooks import ForwardResult, forward

CONN_ID = "magic_hour_default"  # its webhook_secret signs the deliveries
# Such as https://sqs.eu-west-1.amazonaws.com/123456789012/magic-hour; without it nothing is watched.
QUEUE = os.environ.get("MAGIC_HOUR_QUEUE")


def watchers() -> list[AssetWatcher]:
    """Watch the queue, in the triggerer."""
    if not QUEUE:
        return []
    # pip install apache-airflow-providers-common-messaging 'apache-airflow-providers-amazon[aiobotocore]'
    from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger

    queue = MessageQueueTrigger(scheme="sqs", sqs_queue=QUEUE, aws_conn_id="aws_default", waiter_delay=5)
    return [AssetWatcher(name="magic-hour-queue", trigger=queue)]


def read_message(message: dict[str, Any]) -> tuple[bytes, dict[str, str], float]:
    """Return the body and the headers of a request as Amazon's API Gateway had it, and when that received it."""
    request = json.loads(message["Body"])
    body = base64.b64decode(request["body"]) if request["isBase64Encoded"] else request["body"].encode()
    times = request["requestContext"]  # the name differs between HTTP APIs and REST APIs; both are milliseconds
    return body, request["headers"], (times.get("timeEpoch") or times["requestTimeEpoch"]) / 1000


MESSAGES = Asset("magic-hour-messages", watchers=watchers())

with DAG(
    dag_id="webhooks_from_queue",
    schedule=[MESSAGES] if QUEUE else None,
    catchup=False,
    max_active_runs=1,
    tags=["magic-hour", "example"],
    default_args={"retries": 3},  # the API server takes each delivery only once
    doc_md="""
### Webhooks through a queue

gateway → queue → this DAG → the API server's webhook route, which workers reach from inside. Tasks that wait for a job
resume within seconds of its end, and DAGs scheduled on `magic-hour://video/completed` run, as with an open route.

Needs the environment variable `MAGIC_HOUR_QUEUE` where DAG files are parsed, the connections `magic_hour_default` with
its webhook secret and `aws_default`, and Airflow's providers for common messaging and Amazon.
""",
) as dag:
    # Where the API server does not accept a delivery, its asset event goes out through this task's own outlet.
    @task(outlets=[AssetAlias("magic-hour-deliveries")])
    def hand_over(triggering_asset_events: Any = None) -> list[ForwardResult]:
        """Hand each delivery to the API server; the result says what became of it."""
        batches = [event.extra["payload"]["message_batch"] for event in triggering_asset_events[MESSAGES]]
        requests = [read_message(message) for batch in batches for message in batch]
        return [forward(body, headers, CONN_ID, received_at=at) for body, headers, at in requests]

    hand_over()
