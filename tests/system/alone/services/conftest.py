"""The Airflow of these tests: its lineage goes to a file, it reads a queue, and inputs are in a bucket of S3."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import s3
from helpers.queues import Queue
from helpers.samples import KEY, PHOTO
from helpers.strict_s3 import StrictS3
from helpers.system import World, running_world
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.webhooks.registration import DEFAULT_SECRET

HERE = Path(__file__).parent


@pytest.fixture(scope="package")
def queue(s3_server: str) -> Queue:
    """The queue."""
    return Queue(s3_server, "magic-hour")


@pytest.fixture(scope="package")
def inputs() -> Iterator[StrictS3]:
    """The bucket of inputs, which takes only links as today's buckets do."""
    with StrictS3() as one:
        yield one


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory, queue: Queue, s3_server: str, inputs: StrictS3) -> Iterator[World]:
    """Start it once; its Magic Hour fetches links of this machine that it gets as inputs."""
    home = tmp_path_factory.mktemp("airflow-services")
    given = home / "given"
    given.mkdir()
    shutil.copy(PHOTO, given / "photo.png")
    rows = [{"sku": f"shoe-{number}", "style": {"prompt": f"shoe {number} [[seconds:12]]"}} for number in range(2)]
    (given / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    shutil.copytree(HERE / "dags", home / "dags")
    shutil.copy(HERE.parents[3] / "dags_examples" / "webhooks_from_queue.py", home / "dags")
    file = {"type": "file", "log_file_path": str(home / "events.jsonl"), "append": True}
    environment = {
        "GIVEN": str(given),
        "MAGIC_HOUR_QUEUE": queue.url,
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(file),
    }
    with Simulator(api_key=KEY, behavior=Behavior(input_links="fetched")) as sim:
        secret = {"webhook_secret": DEFAULT_SECRET}
        connections: dict[str, Any] = {
            "magic_hour_unlisted": {"conn_type": "magic_hour", "host": sim.url, "password": KEY, "extra": secret},
            "aws_default": json.loads(s3.connection(s3_server)),
            inputs.conn_id: json.loads(inputs.connection()),
        }
        with running_world(home, sim, connections=connections, environment=environment) as world:
            yield world
