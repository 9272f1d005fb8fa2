"""Every typed operator: an earlier task's output, wherever it stands, is what the simulator receives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from helpers.attempts import TaskInstance
from helpers.samples import KEY
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.validation import normalize_request
from magic_hour_provider.operators import audio, image, video
from operator_source import class_name

EXAMPLES = json.loads((Path(__file__).parent.parent / "data" / "sdk_examples.json").read_text())["examples"]


class Upstream(TaskInstance):
    """A task instance that finds one value wherever it asks for the task ``before``."""

    def __init__(self, value: Any) -> None:
        super().__init__("t", map_index=0)
        self.value = value

    def xcom_pull(self, task_ids: Any, key: str, **options: Any) -> Any:
        """Return the value."""
        return self.value


@pytest.mark.parametrize("slug", TOOLS)
def test_an_upstream_value_arrives_at_the_simulator(airflow, slug):
    """Plain, nested, in ``.partial()`` and in ``.expand()``: what the simulator receives is the value itself."""
    tool = TOOLS[slug]
    operator_class = getattr({"video": video, "audio": audio}.get(tool.kind, image), class_name(slug))
    request = normalize_request(tool, EXAMPLES[slug]["kwargs"])
    first, *others = request
    rest = {name: request[name] for name in others}
    key = next((name for name, inner in request.items() if isinstance(inner, dict) and inner), None)
    with DAG("arrive", schedule=None):
        before = EmptyOperator(task_id="before")
        plain = operator_class(task_id="plain", **{first: before.output}, **rest)
        partial = operator_class.partial(task_id="partial", **{first: before.output}, **rest)
        expand = operator_class.partial(task_id="expand", **rest).expand(**{first: before.output})
        ways = [
            (plain, request[first]),
            (partial.expand(output_path=["/a"]).unmap({"output_path": "/a"}), request[first]),
        ]
        ways.append((expand.unmap({first: request[first]}), None))
        if key is not None:
            inner = next(iter(request[key]))
            nested = request | {key: request[key] | {inner: before.output}}
            ways.append((operator_class(task_id="nested", **nested), request[key][inner]))
    with MagicHourClient(api_key=KEY, base_url=airflow.sim.url) as client:
        for operator, value in ways:
            operator.render_template_fields(Upstream(value).context(operator))
            client.create(tool, normalize_request(tool, operator.request))
    assert [job["request"] for job in airflow.sim.jobs()] == [request] * len(ways)
    assert airflow.creates() == len(ways)
