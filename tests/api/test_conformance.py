"""What our client sends beside what the official SDK sends, for the same request."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import httpx
import magic_hour
import pytest

from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.validation import check_request, normalize_request
from magic_hour_provider.operators import audio, image, video
from operator_source import class_name

EXAMPLES = json.loads((Path(__file__).parent.parent / "data" / "sdk_examples.json").read_text())["examples"]
RANDOM_EACH = 20


def value_of(schema: dict[str, Any], rng: random.Random) -> Any:
    """Make a random valid value, with the SDK's own names for fields."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = next(one for one in kinds if one != "null")
    if kind == "object":
        needed = schema.get("required", [])
        return {
            inner.get("x-sdk-name", name): value_of(inner, rng)
            for name, inner in schema["properties"].items()
            if name in needed or rng.random() < 0.5
        }
    if kind == "array":
        return [value_of(schema["items"], rng) for _ in range(rng.randint(1, min(3, schema.get("maxItems", 3))))]
    low, high = schema.get("minimum", 0), schema.get("maximum", 60)
    if kind == "integer":
        return rng.randint(int(low), max(int(low), int(high)))
    if kind == "number":
        return round(rng.uniform(low, max(low, high)), 2)
    if kind == "boolean":
        return rng.random() < 0.5
    return rng.choice(["a lighthouse", "ünïcode ✓", "https://example.com/a.png", "line\nbreak", '"quoted"'])


def requests_of(slug: str) -> list[dict[str, Any]]:
    """Return the documentation's example and random requests, as keyword arguments of the SDK."""
    rng = random.Random(slug)
    return [EXAMPLES[slug]["kwargs"], *(value_of(dict(TOOLS[slug].schema), rng) for _ in range(RANDOM_EACH))]


class Wire:
    """Records the requests that reach the network."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Any]] = []
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append((request.method, request.url.path, json.loads(request.content)))
        body = {"id": "job1", "credits_charged": 1, "frame_cost": 1, "estimated_frame_cost": 1}
        return httpx.Response(200, json=body)


@pytest.mark.parametrize("slug", TOOLS)
def test_requests_are_those_of_the_official_sdk(slug):
    """Method, path and JSON body are equal for the documentation's example and 20 random requests of every tool."""
    tool, theirs, ours = TOOLS[slug], Wire(), Wire()
    sdk = magic_hour.Client(token="x", httpx_client=httpx.Client(transport=theirs.transport))
    create = getattr(sdk.v1, slug.replace("-", "_")).create
    operator = getattr({"video": video, "audio": audio}.get(tool.kind, image), class_name(slug))
    given = requests_of(slug)
    with MagicHourClient(api_key="x", transport=ours.transport) as client:
        for number, kwargs in enumerate(given):
            create(**kwargs)
            findings = check_request(tool, kwargs, rendered=True)
            assert findings.errors == (), (kwargs, findings)
            typed = operator(task_id=f"t{number}", **kwargs)
            made = client.create(tool, normalize_request(tool, typed.request))
            assert (made.id, made.kind) == ("job1", tool.kind)
    assert len(ours.sent) == len(given) == RANDOM_EACH + 1
    assert ours.sent == theirs.sent


def test_every_tool_has_an_example():
    """32 tools, none left out of the comparison: 672 requests in all."""
    assert set(EXAMPLES) >= set(TOOLS)
    assert len(TOOLS) * (RANDOM_EACH + 1) == 672
