"""Fixtures: a simulator whose clock only the test moves, and a client with its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from helpers.simulator import IMAGE_REQUEST, NOW, connect
from magic_hour_provider.simulator import Simulator


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(clock=lambda: NOW) as simulator:
        yield simulator


@pytest.fixture
def client(sim: Simulator) -> Iterator[httpx.Client]:
    with connect(sim) as http:
        yield http


@pytest.fixture
def create(client: httpx.Client) -> Callable[..., str]:
    """Creates a job and returns its id."""

    def post(slug: str = "ai-image-generator", request: dict[str, Any] | None = None) -> str:
        answer = client.post(f"/v1/{slug}", json=IMAGE_REQUEST if request is None else request)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    return post


@pytest.fixture
def poll(client: httpx.Client) -> Callable[..., dict[str, Any]]:
    """Polls a job and returns its details."""

    def get(job_id: str, kind: str = "image") -> dict[str, Any]:
        part = "face-detection" if kind == "face-detection" else f"{kind}-projects"
        answer = client.get(f"/v1/{part}/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return get


@pytest.fixture
def upload(client: httpx.Client) -> Callable[..., str]:
    """Uploads bytes and returns the path by which requests name them."""

    def put(data: bytes, kind: str, extension: str) -> str:
        answer = client.post("/v1/files/upload-urls", json={"items": [{"type": kind, "extension": extension}]})
        (item,) = answer.json()["items"]
        assert httpx.put(item["upload_url"], content=data).status_code == 200
        return str(item["file_path"])

    return put
