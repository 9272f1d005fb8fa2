"""A gateway before a queue: what Amazon's API Gateway, a function behind it and SQS make of Magic Hour's requests."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "webhooks-queue.md"


class Queue:
    """A queue of its own in moto's server.

    :param endpoint: of that server.
    """

    def __init__(self, endpoint: str, name: str) -> None:
        self.client = boto3.client("sqs", endpoint_url=endpoint, region_name="us-east-1")
        created = self.client.create_queue(QueueName=name)["QueueUrl"]
        self.url = f"{endpoint}/{created.split('/', 3)[3]}"

    def waiting(self) -> int:
        """Count the messages that nobody has taken yet."""
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(found["Attributes"]["ApproximateNumberOfMessages"])


def handler(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any], Any], Any]:
    """Return the function of the guide that writes into a queue."""
    (text,) = re.findall(r"```python\n(import json\n.+?def handler.+?)```", GUIDE.read_text(), re.S)
    monkeypatch.setenv("QUEUE_URL", queue.url)
    with monkeypatch.context() as patch:
        patch.setattr(boto3, "client", lambda service: queue.client)
        names: dict[str, Any] = {}
        exec(text, names)
    return names["handler"]


def gateway_event(body: bytes, headers: dict[str, str], received_at: float, encoded: bool = True) -> dict[str, Any]:
    """Return what an HTTP API of Amazon's API Gateway gives a function (payload format 2.0).

    :param received_at: in seconds since 1970.
    :param encoded: whether the body is in base64.
    """
    return {
        "version": "2.0",
        "headers": {name.lower(): value for name, value in headers.items()},
        "requestContext": {"timeEpoch": round(received_at * 1000), "http": {"method": "POST"}},
        "body": base64.b64encode(body).decode() if encoded else body.decode(),
        "isBase64Encoded": encoded,
    }


@contextmanager
def gateway(
    handle: Callable[[dict[str, Any], Any], Any], received_at: Callable[[dict[str, str]], float]
) -> Iterator[str]:
    """Serve a gateway before a function; give its address.

    :param received_at: when it received a request with these headers, in seconds since 1970.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = handle(gateway_event(body, headers, received_at(headers)), None)
            self.send_response(answer["statusCode"])
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/magic-hour"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
