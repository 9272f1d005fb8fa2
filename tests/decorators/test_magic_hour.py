"""``@task.magic_hour``: a function makes the request, and the rest is the operator's."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.sdk import DAG, task, task_group
from airflow.sdk.definitions._internal.contextmanager import DagContext

from helpers.attempts import Connected, Given, TaskInstance
from helpers.mapped import attempt_index
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.decorators import magic_hour_task

IMAGE = "ai-image-generator"
TEMPLATE = "{{ run_id }} {% raw %}"


def image(prompt: Any) -> dict[str, Any]:
    """Return a request."""
    return {"image_count": 1, "style": {"prompt": prompt}}


def run(airflow: Connected, ti: TaskInstance, function: Callable[..., Any], *given: Any, **options: Any) -> Any:
    """Run an attempt of a task made of the function."""
    tool = options.pop("tool", IMAGE)
    return attempt_index(airflow, ti, lambda: task.magic_hour(tool=tool, **options)(function)(*given).operator)


def requests(airflow: Connected) -> list[Any]:
    """Return the requests that were paid for, without their names."""
    return [{name: value for name, value in job["request"].items() if name != "name"} for job in airflow.sim.jobs()]


def test_what_it_returns_is_sent_as_it_is(airflow):
    """Text that looks like a template is data; the arguments of the function are rendered; the result is whole."""

    def make(subject: str, run_id: str, ti: Any) -> dict[str, Any]:
        assert ti.task_id == "make"
        return image(f"{TEMPLATE} {subject} {run_id}")

    ti = TaskInstance()
    with DAG(ti.dag_id, schedule=None, user_defined_macros={"what": "a lighthouse", "run_id": "ignored"}):
        operator = task.magic_hour(tool=IMAGE, output_path=str(airflow.output))(make)("{{ what }}").operator
    ti.next_attempt()
    context = ti.context(operator) | {"run_id": "weekly", "params": {}}
    operator.render_template_fields(context)
    result = operator.execute(context)
    assert requests(airflow) == [image(f"{TEMPLATE} a lighthouse weekly")]
    assert Path(result["file"]).is_file()
    assert airflow.creates() == 1


def test_an_earlier_result_as_an_argument(airflow):
    """It is resolved, and the function gives it on as a file."""
    first = run(airflow, TaskInstance("first"), lambda: image("x"), task_id="first", output_path="")

    def animate(picture: dict[str, Any]) -> dict[str, Any]:
        return {"assets": {"image_file_path": picture}, "end_seconds": 3}

    made = run(airflow, TaskInstance(), animate, Given(first), tool="image-to-video", output_path="", task_id="make")
    assert made["kind"] == "video"
    assert requests(airflow)[1]["assets"]["image_file_path"] == first["library_url"]
    assert airflow.creates() == 2


class Style(str, Enum):  # noqa: UP042 (StrEnum has no such trouble)
    """What users write who share their prompts."""

    DAWN = "at dawn"


def test_arguments_stay_what_they_are(airflow):
    """None and an enum reach the function as in every @task; in the request an enum is its value."""
    seen: list[Any] = []

    def make(*given: Any) -> dict[str, Any]:
        seen.extend(given)
        return image(Style.DAWN)

    run(airflow, TaskInstance(), make, None, Style.DAWN, {"a": [None]}, output_path="", task_id="make")
    assert seen == [None, Style.DAWN, {"a": [None]}]
    assert isinstance(seen[1], Style)
    assert requests(airflow) == [image("at dawn")]
    assert airflow.creates() == 1


def test_not_called_again_after_a_deferral(airflow, tmp_path):
    """Once per attempt; what it returned is in the sidecar all the same, and a retry after a crash pays nothing."""
    calls: list[int] = []

    def make() -> dict[str, Any]:
        calls.append(1)
        return {"end_seconds": 3, "style": {"prompt": f"waves {len(calls)}"}}

    options = {"tool": "text-to-video", "task_id": "make", "output_path": str(tmp_path / "out")}
    ti = TaskInstance()
    result = run(airflow, ti, make, **options)
    assert airflow.events
    assert calls == [1]
    sidecar = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    assert sidecar["request"]["style"] == {"prompt": "waves 1"}
    assert run(airflow, ti, make, **options)["id"] == result["id"]  # a retry: its request is another one
    assert calls == [1, 1]
    assert airflow.creates() == 1


def test_its_request_is_the_fingerprint(airflow):
    """A clear resumes the job where the function returns the same request, and makes a new one where it does not."""
    prompts = iter(["a", "a", "b"])
    made: list[str] = []
    ti = TaskInstance()
    for _ in range(3):
        made.append(run(airflow, ti, lambda: image(next(prompts)), output_path="", task_id="make")["id"])
        ti.clear()
    assert (made[0] == made[1], made[1] == made[2]) == (True, False)
    assert airflow.creates() == 2


def test_mapped(airflow):
    """Each index has a job of its own, and a retry that is given another item buys nothing and says so."""
    mapped = magic_hour_task(tool=IMAGE, output_path="")(lambda subject, size: image(f"{subject} {size}"))
    mapped = mapped.override(task_id="make").partial(size="large")
    indexes = [TaskInstance(map_index=index) for index in range(2)]

    def attempt(index: int, subjects: list[str]) -> Any:
        return attempt_index(airflow, indexes[index], lambda: mapped.expand(subject=subjects).operator)

    results = [attempt(index, ["cat", "dog"]) for index in range(2)]
    assert [one["style"]["prompt"] for one in requests(airflow)] == ["cat large", "dog large"]
    assert attempt(1, ["cat", "dog"])["id"] == results[1]["id"]
    with pytest.raises(AirflowFailException, match=r"style\.prompt"):
        attempt(1, ["dog", "cat"])
    assert airflow.creates() == 2


@pytest.mark.parametrize("kind", ["expand", "expand_kwargs", "group"])
def test_a_mapped_function_that_never_returns_the_same(airflow, caplog, kind):
    """A retry resumes the job that its index has paid for, as the arguments are its item; a clear makes a new one."""
    made = itertools.count()
    function = magic_hour_task(tool=IMAGE, output_path="")(lambda subject, when: image(f"{subject} {next(made)}"))
    function = function.override(task_id="make")

    def map_over(subjects: list[str]) -> Any:
        if kind == "expand":
            return function.partial(when="now").expand(subject=subjects).operator
        if kind == "expand_kwargs":
            return function.expand_kwargs([{"subject": one, "when": "now"} for one in subjects]).operator

        @task_group
        def group(subject: str) -> None:
            function(subject, when="now")

        group.expand(subject=subjects)
        return DagContext.get_current_dag().get_task("group.make"), {}

    ti = TaskInstance("group.make" if kind == "group" else "make", map_index=0)

    def attempt(subjects: list[str]) -> Any:
        return attempt_index(airflow, ti, lambda: map_over(subjects))

    first = attempt(["cat", "dog"])["id"]
    assert attempt(["cat", "dog"])["id"] == first
    assert airflow.creates() == 1
    if kind != "group":  # there the helper gives no index of a group another item
        with pytest.raises(AirflowFailException, match="was given another item"):
            attempt(["dog", "cat"])
        assert airflow.creates() == 1
    ti.clear()
    assert attempt(["cat", "dog"])["id"] != first
    assert airflow.creates() == 2


def emptied(item: Any) -> dict[str, Any]:
    """Take the prompt out of what it is given."""
    return image(item.pop("prompt"))


class Opaque:
    """Shows nothing of what it holds."""

    def __init__(self, prompt: str) -> None:
        self.prompt = prompt

    def __repr__(self) -> str:
        return "Opaque(...)"


@pytest.mark.parametrize(
    ("function", "give"),
    [
        (emptied, lambda prompt: {"prompt": prompt}),
        (lambda item: image(item["prompt"]), lambda prompt: {"prompt": prompt, 1: "keys of two types are no JSON"}),
        (lambda item: image(item.prompt), Opaque),
    ],
    ids=["changed by the function", "no JSON", "an object"],
)
def test_a_mapped_function_whose_arguments_look_the_same(airflow, function, give):
    """An index that was given another item than its job was paid for never takes that job for its own."""
    ti = TaskInstance("make", map_index=0)

    def attempt(*prompts: str) -> Any:
        made = magic_hour_task(tool=IMAGE, output_path="")(function).override(task_id="make")
        return attempt_index(airflow, ti, lambda: made.expand(item=[give(one) for one in prompts]).operator)

    first = attempt("cat", "dog")["id"]
    assert attempt("cat", "dog")["id"] == first
    with pytest.raises(AirflowFailException, match="was given another item"):
        attempt("dog", "cat")
    assert airflow.creates() == 1


@pytest.mark.parametrize("returned", [None, "a lighthouse", [image("x")], {}, image(None), {"image_count": "x"}])
def test_no_request(airflow, returned):
    """It fails for good, before anything is sent, and says what is missing."""
    with pytest.raises(AirflowFailException, match=r"must return the request|image_count|style"):
        run(airflow, TaskInstance(), lambda: returned, output_path="", task_id="make")
    assert airflow.creates() == 0


def test_a_function_that_fails_or_skips(airflow):
    """What it raises is Airflow's to judge; a job that an earlier attempt paid for stays, and is resumed."""

    def fail() -> dict[str, Any]:
        raise ZeroDivisionError

    def skip() -> dict[str, Any]:
        raise AirflowSkipException

    options = {"tool": "text-to-video", "task_id": "make", "output_path": ""}
    ti = TaskInstance()
    with pytest.raises(ZeroDivisionError):
        run(airflow, ti, fail, **options)
    with pytest.raises(AirflowSkipException):
        run(airflow, ti, skip, **options)
    assert airflow.creates() == 0
    with DAG("teaser", schedule=None):
        operator = task.magic_hour(**options)(lambda: {"end_seconds": 3, "style": {"prompt": "x"}})().operator
    ti.next_attempt()
    assert isinstance(airflow.start(operator, ti), TaskDeferred)  # and its worker is gone
    paid = ti.record["job_id"]
    for function, error in ((fail, ZeroDivisionError), (skip, AirflowSkipException)):
        with pytest.raises(error):
            run(airflow, ti, function, **options)
        # Airflow has removed the XComs by which people, other tasks of the run and the next attempt know of the job.
        job = ti.xcoms["magic_hour_job"]
        assert (job["id"], job["charge"], job["run_credits"]["paid"]) == (paid, "kept", 72)
        assert f"magic_hour.job.{paid}" in ti.xcoms
        assert error.__name__ in job["error"]
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_a_function_that_fails_before_anything_was_paid(airflow):
    """The other tasks of its run read that it has paid nothing."""
    ti = TaskInstance()
    with pytest.raises(ZeroDivisionError):
        run(airflow, ti, lambda: 1 // 0, output_path="", task_id="make")
    job = ti.xcoms["magic_hour_job"]
    assert (job["charge"], job["error_code"]) == ("none", "no_request")
    assert job["run_credits"] == {"paid": 0, "reserved": 0, "is_known": True, "map_index": -1}
    assert airflow.creates() == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tool": "text-to-vido"}, "text-to-video"),
        ({"tool": IMAGE, "on_clear": "never"}, "on_clear"),
        ({"tool": IMAGE, "output_path": "relative"}, "relative"),
    ],
)
def test_what_cannot_work_is_said_while_parsing(options, words):
    """Where the decorator stands: also where the task is mapped, which Airflow makes only when it runs."""
    with pytest.raises(InvalidInputError, match=words):
        task.magic_hour(**options)
    with DAG("teaser", schedule=None), pytest.raises((InvalidInputError, TypeError)):
        task.magic_hour(lambda: image("x"))
    with DAG("teaser", schedule=None), pytest.raises(InvalidInputError, match="asynchronous"):

        async def make() -> dict[str, Any]:
            return image("x")

        task.magic_hour(tool=IMAGE)(make)()


def test_in_a_dag():
    """Airflow finds the decorator; keys of the result, override, and how the task is shown are as with its own."""
    with DAG("teaser", schedule=None, default_args={"retries": 3}) as dag:

        @task.magic_hour(tool=IMAGE, output_path="")
        def picture(subject: str) -> dict[str, Any]:
            """Draws something."""
            return image(subject)

        made = picture("cat")
        picture.override(task_id="other", retries=1)(made["file"])
    shown = dag.task_dict["picture"]
    assert (shown.operator_name, shown.retries, shown.doc_md) == ("@task.magic_hour", 3, "Draws something.")
    assert shown.multiple_outputs
    assert dag.task_dict["other"].retries == 1
    assert shown.downstream_task_ids == {"other"}
    assert "request" not in shown.template_fields
    assert {"op_args", "op_kwargs", "output_path", "extra_request", "magic_hour_conn_id"} <= set(shown.template_fields)
