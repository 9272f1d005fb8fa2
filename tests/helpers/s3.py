"""S3 as S3 behaves: moto's server on loopback, behind an Airflow connection."""

from __future__ import annotations

import functools
import json
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CONN_ID = "aws_test"
_NOWHERE = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    # What names no address of its own meets a closed port, and never Amazon.
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}


def keep_on_loopback() -> None:
    """Replace whatever this machine knows of AWS, before anything reads it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(_NOWHERE)


@contextmanager
def serving(conditions: str = "kept") -> Iterator[str]:
    """Run an S3 in this process, whose buckets are those of all others here; give its address.

    :param conditions: whether conditional writes are ``kept``, ``refused`` as not implemented, or ``ignored``, as older
        stores do that speak S3.
    """
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        app = server._server.app  # type: ignore[union-attr]
        kept = conditions == "kept"
        server._server.app = _atomic(app) if kept else _unconditional(app, conditions)  # type: ignore[union-attr]
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _atomic(app: Any) -> Any:
    """Let one write at a time look whether its name is taken: moto looks and writes in two steps, S3 in one."""
    one_at_a_time = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if "HTTP_IF_NONE_MATCH" not in environ:
            return app(environ, start_response)
        with one_at_a_time:
            return app(environ, start_response)

    return answer


def _unconditional(app: Any, conditions: str) -> Any:
    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if environ.pop("HTTP_IF_NONE_MATCH", None) is not None and conditions == "refused":
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("501 Not Implemented", [("Content-Type", "application/xml")])
            return [b"<Error><Code>NotImplemented</Code><Message>A header is not implemented.</Message></Error>"]
        return app(environ, start_response)

    return answer


def connection(endpoint: str, **extra: Any) -> str:
    """Return the Airflow connection to it, as an ``AIRFLOW_CONN_...`` variable takes it."""
    whole = {"endpoint_url": endpoint, "region_name": "us-east-1"} | extra
    return json.dumps({"conn_type": "aws", "login": "testing", "password": "testing", "extra": whole})


@functools.cache
def _client(endpoint: str) -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")


class Bucket:
    """A bucket of its own, and what tests ask of it beside Airflow's back.

    :param endpoint: address of the server.
    :param conn_id: of the Airflow connection to it.
    """

    def __init__(self, endpoint: str, conn_id: str = CONN_ID) -> None:
        self.endpoint = endpoint
        self.name = f"media-{uuid.uuid4().hex[:12]}"
        self.uri = f"s3://{conn_id}@{self.name}"
        self.client = _client(endpoint)
        self.client.create_bucket(Bucket=self.name)

    def keys(self) -> list[str]:
        """Name the objects in it."""
        return [one["Key"] for one in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""
        body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body

    def write(self, key: str, data: bytes) -> str:
        """Put an object; return its URI."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data)
        return f"{self.uri}/{key}"

    def unfinished(self) -> list[str]:
        """Name the keys of multipart uploads that were neither completed nor aborted: users pay for them."""
        return [one["Key"] for one in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]

    def empty(self) -> None:
        """Remove all objects: the server keeps them in this process's memory."""
        while keys := self.keys():
            self.client.delete_objects(Bucket=self.name, Delete={"Objects": [{"Key": key} for key in keys]})
