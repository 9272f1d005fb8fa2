"""The DAG that a queue starts: what it watches, and how it reads what a gateway has written."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace

import pytest

from helpers.queues import Queue, gateway_event, handler

AT = 1_800_000_000.5
BODY = '{"type": "video.completed", "payload": {"id": "job1", "name": "Wellen über Kiel"}}'.encode()
HEADERS = {"magic-hour-event-signature": "0" * 64, "magic-hour-event-timestamp": "1800000000"}
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/magic-hour"


def test_without_a_queue_nothing_is_watched(load_example, monkeypatch):
    """The DAG is there, and nothing starts it; the providers for queues need not be installed."""
    monkeypatch.delenv("MAGIC_HOUR_QUEUE", raising=False)
    example = load_example("webhooks_from_queue")
    assert example["MESSAGES"].watchers == []
    assert not example["dag"].timetable.can_be_scheduled


def test_with_a_queue_its_messages_start_the_dag(load_example, monkeypatch):
    """The watcher is Amazon's trigger on this queue, polling it often enough to be of use."""
    pytest.importorskip("airflow.providers.common.messaging")
    monkeypatch.setenv("MAGIC_HOUR_QUEUE", QUEUE)
    example = load_example("webhooks_from_queue")
    (watcher,) = example["MESSAGES"].watchers
    trigger = watcher.trigger
    classpath, options = trigger.serialize() if hasattr(trigger, "serialize") else trigger.values()
    assert classpath == "airflow.providers.amazon.aws.triggers.sqs.SqsSensorTrigger"
    assert (options["sqs_queue"], options["aws_conn_id"], options["waiter_delay"]) == (QUEUE, "aws_default", 5)


@pytest.mark.parametrize("encoded", [True, False])
def test_what_the_guides_function_writes_is_read(load_example, monkeypatch, s3_server, encoded):
    """Gateway, function and queue: the body comes out to the last byte, in base64 and as text."""
    queue = Queue(s3_server, f"magic-hour-{encoded}")
    assert handler(queue, monkeypatch)(gateway_event(BODY, HEADERS, AT, encoded), None) == {"statusCode": 202}
    (message,) = queue.client.receive_message(QueueUrl=queue.url)["Messages"]
    assert load_example("webhooks_from_queue")["read_message"](message) == (BODY, HEADERS, AT)


def test_what_a_rest_api_writes_is_read(load_example):
    """Its time has another name."""
    request = {"body": base64.b64encode(BODY).decode(), "isBase64Encoded": True, "headers": HEADERS}
    message = {"Body": json.dumps(request | {"requestContext": {"requestTimeEpoch": round(AT * 1000)}})}
    assert load_example("webhooks_from_queue")["read_message"](message) == (BODY, HEADERS, AT)


class TriggeringEvents:
    """Gives the events of one asset, as Airflow does: before 3.2 an asset with watchers cannot be the key of a dict."""

    def __init__(self, asset, events):
        self._asset, self._events = asset, events

    def __getitem__(self, asset):
        assert asset is self._asset
        return self._events


def test_each_message_is_forwarded(load_example, monkeypatch):
    """All of all events that started the run, in their order, with the connection and the time of the gateway."""
    example = load_example("webhooks_from_queue")
    task = example["dag"].get_task("hand_over")
    calls = []
    monkeypatch.setitem(
        task.python_callable.__globals__, "forward", lambda *given, **named: calls.append((given, named))
    )
    messages = [{"Body": json.dumps(gateway_event(BODY + b" " * n, HEADERS, AT + n))} for n in range(3)]
    batches = [messages[:2], messages[2:]]
    events = [SimpleNamespace(extra={"from_trigger": True, "payload": {"message_batch": batch}}) for batch in batches]
    task.python_callable(triggering_asset_events=TriggeringEvents(example["MESSAGES"], events))
    assert calls == [((BODY + b" " * n, HEADERS, "magic_hour_default"), {"received_at": AT + n}) for n in range(3)]
