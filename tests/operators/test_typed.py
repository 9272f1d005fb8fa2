"""Every typed operator: its names, its template fields, and XComArgs in all the places where people put them."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import magic_hour
import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from helpers.attempts import TaskInstance
from helpers.wheel import ROOT, install_wheel
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.operators import audio, image, video
from operator_source import class_name

try:
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # its name before Airflow 3.2
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

EXAMPLES = json.loads((Path(__file__).parent.parent / "data" / "sdk_examples.json").read_text())["examples"]
SDK = magic_hour.Client(token="x").v1


def class_of(slug: str) -> Any:
    """Return a tool's operator."""
    return getattr({"video": video, "audio": audio}.get(TOOLS[slug].kind, image), class_name(slug))


def example(slug: str) -> dict[str, Any]:
    """Return the documentation's example of a tool."""
    return EXAMPLES[slug]["kwargs"]


@pytest.mark.parametrize("slug", TOOLS)
def test_arguments_are_the_sdks(slug):
    """The keyword arguments are those of the SDK's ``create()``, each documented, each a template field of its own."""
    operator = class_of(slug)
    theirs = set(inspect.signature(getattr(SDK, slug.replace("-", "_")).create).parameters)
    # Options of the SDK's own: the second, of two tools, is what extra_request is here.
    theirs -= {"request_options", "additional_properties"}
    ours = set(inspect.signature(operator.__init__).parameters) - {"self", "kwargs"}
    assert ours == theirs == set(operator.request_fields)
    assert set(operator.template_fields) == theirs | {"output_path", "extra_request", "magic_hour_conn_id"}
    for name in theirs:
        assert f":param {name}:" in operator.__doc__
    assert operator.__module__ == f"magic_hour_provider.operators.{operator.__module__.rpartition('.')[2]}"


def nested_with(request: dict[str, Any], value: Any) -> dict[str, Any] | None:
    """Return the request with a value inside its first nested dict, or None if it has none."""
    for name, inner in request.items():
        if isinstance(inner, dict) and inner:
            return request | {name: inner | {next(iter(inner)): value}}
    return None


@pytest.mark.parametrize("slug", TOOLS)
def test_an_xcomarg_makes_the_upstream_edge_wherever_it_stands(slug):
    """Plain, nested in a dict, in ``.partial()`` and in ``.expand()``: Airflow knows what the task waits for."""
    operator, request = class_of(slug), example(slug)
    first, *others = request
    rest = {name: request[name] for name in others}
    with DAG("edges", schedule=None) as dag:
        before = EmptyOperator(task_id="before")
        made = ["plain", "partial"]
        operator(task_id="plain", **{first: before.output}, **rest)
        nested = nested_with(request, before.output)
        if nested is not None:
            operator(task_id="nested", **nested)
            made.append("nested")
        mapped = others[-1] if others else "output_path"
        others_ = {name: value for name, value in rest.items() if name != mapped}
        values = [request.get(mapped, "a")] * 2
        operator.partial(task_id="partial", **{first: before.output}, **others_).expand(**{mapped: values})
        operator.partial(task_id="expand", **rest).expand(**{first: before.output})
        made.append("expand")
    for task_id in made:
        assert dag.get_task(task_id).upstream_task_ids == {"before"}, task_id
    assert json.loads(json.dumps(DagSerialization.serialize_dag(dag)))
    again = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    for task_id in made:
        assert again.get_task(task_id).upstream_task_ids == {"before"}


@pytest.mark.parametrize("slug", TOOLS)
def test_templates_in_nested_fields_render(slug):
    """A template stands wherever a text may stand; the request is put together from what was rendered."""
    request = example(slug)
    nested = nested_with(request, "{{ word }}") or request | {next(iter(request)): "{{ word }}"}
    with DAG("render", schedule=None):
        operator = class_of(slug)(task_id="t", **nested)
    operator.render_template_fields({"word": "rendered"})
    assert "{{" not in json.dumps(operator.request)
    assert "rendered" in json.dumps(operator.request)


class Upstream(TaskInstance):
    """A task instance that finds values of the task ``before``."""

    def __init__(self, value: Any, map_index: int = -1) -> None:
        super().__init__("t", map_index)
        self.value = value

    def xcom_pull(self, task_ids: Any, key: str, **options: Any) -> Any:
        """Return the value, or one of its keys."""
        return self.value if key == "return_value" else self.value[key]


@pytest.mark.parametrize("how", ["plain", "nested"])
def test_an_earlier_tasks_output_arrives_rendered(airflow, how):
    """The simulator sees the value, not the promise of one: as a whole argument and inside a dict."""
    with DAG("arrive", schedule=None):
        before = EmptyOperator(task_id="before")
        style = before.output if how == "plain" else {"prompt": before.output["prompt"]}
        operator = image.MagicHourAIImageGeneratorOperator(
            task_id="t", image_count=1, style=style, output_path=str(airflow.output)
        )
    ti = Upstream({"prompt": "from upstream"})
    operator.render_template_fields(ti.context(operator))
    assert airflow.attempt(operator, ti)["tool"] == "ai-image-generator"
    assert airflow.sim.jobs()[0]["request"]["style"] == {"prompt": "from upstream"}
    assert airflow.creates() == 1


def test_a_mapped_task_sends_its_own_value(airflow):
    """Each mapped task instance is a task of its own, with the value of its index and a job of its own."""
    with DAG("mapped", schedule=None):
        before = EmptyOperator(task_id="before")
        mapped = video.MagicHourTextToVideoOperator.partial(
            task_id="t", style={"prompt": before.output}, output_path=""
        ).expand(end_seconds=[3, 4])
    for index in (0, 1):
        ti = Upstream("from upstream", map_index=index)
        operator = mapped.unmap({"end_seconds": [3, 4][index]})
        operator.render_template_fields(ti.context(operator))
        airflow.attempt(operator, ti)
    sent = [job["request"] for job in airflow.sim.jobs()]
    assert [(one["end_seconds"], one["style"]["prompt"]) for one in sent] == [
        (3, "from upstream"),
        (4, "from upstream"),
    ]
    assert [f".t[{index}] " in one["name"] for index, one in enumerate(sent)] == [True, True]
    assert airflow.creates() == 2


def calls_of_every_class() -> str:
    """Return the source of a right and two wrong calls of each class: the documentation's example, and two mistakes."""
    lines = []
    for slug in TOOLS:
        name, request = class_name(slug), example(slug)
        right = ", ".join(f"{key}={value!r}" for key, value in request.items())
        needed = next(iter(TOOLS[slug].schema["required"]))
        short = ", ".join(f"{key}={value!r}" for key, value in request.items() if key != needed)
        lines.append(f"from {class_of(slug).__module__} import {name}")
        lines.append(f'{name}(task_id="right", {right})')
        lines.append(f'{name}(task_id="unknown", {right}, nonsense=1)  # wrong')
        lines.append(f'{name}(task_id="missing", {short})  # wrong')
    return "\n".join(lines)


def test_type_checkers_see_wrong_arguments(tmp_path):
    """With the wheel installed, mypy accepts each class's documented example, and refuses exactly the marked calls."""
    every = tmp_path / "calls_of_every_class.py"
    every.write_text(calls_of_every_class())
    decorators = Path(__file__).parent.parent / "decorators" / "typed_decorators.py"
    files = [Path(__file__).with_name("typed_calls.py"), decorators, every]
    # Our own settings, for what "make check" has read of Airflow counts for them; but the package is the wheel's.
    settings = tmp_path / "pyproject.toml"
    settings.write_text(re.sub(r"^(files|mypy_path) = .*\n", "", (ROOT / "pyproject.toml").read_text(), flags=re.M))
    mypy = [sys.executable, "-m", "mypy", "--no-error-summary", "--config-file", str(settings)]
    mypy += ["--cache-dir", str(ROOT / ".mypy_cache")]
    done = subprocess.run(
        [*mypy, "--python-executable", str(install_wheel(tmp_path)), *map(str, files)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    errors = [line.split(":")[:2] for line in done.stdout.splitlines() if ": error:" in line]
    found = {(Path(name).name, int(line)) for name, line in errors}
    marked = {
        (file.name, number)
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if line.endswith("# wrong")
    }
    assert found == marked, done.stdout + done.stderr
    assert len(marked) == 11 + 13 + 2 * len(TOOLS)
