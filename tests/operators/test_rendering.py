"""What is sent is what was written: templates render, everything else stays as it is."""

from __future__ import annotations

import copy
import datetime
import re
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, XComNotFound
from airflow.sdk import DAG

from helpers.attempts import Given, TaskInstance
from magic_hour_provider.operators.image import MagicHourAIImageGeneratorOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator


class Prompt(str, Enum):  # noqa: UP042 (StrEnum has no such trouble)
    """What users write who share their prompts."""

    DAWN = "A lighthouse at dawn"


class Count(Enum):
    """An enum that is no text."""

    ONE = 1


def sent(airflow: Any, operator: MagicHourOperator, **context: Any) -> dict[str, Any]:
    """Render an operator as Airflow does, run it, and return the one request that was paid for."""
    render(operator, **context)
    airflow.attempt(operator, TaskInstance())
    assert airflow.sim.stats()["creates"]["accepted"] == 1
    (job,) = airflow.sim.jobs()
    return job["request"]


def render(operator: MagicHourOperator, **context: Any) -> None:
    """Render the template fields as Airflow does."""
    operator.render_template_fields({**TaskInstance().context(operator), "params": {}, **context})


def make(prompt: Any = "x", *, native: bool | None = None, typed: bool = False, **more: Any) -> MagicHourOperator:
    """Return an operator in a DAG of its own."""
    with DAG("rendered", schedule=None, render_template_as_native_obj=bool(native)):
        body = {"image_count": 1, "style": {"prompt": prompt}, **more.pop("request", {})}
        if typed:
            return MagicHourAIImageGeneratorOperator(task_id="make", **body, **more)
        return MagicHourOperator(task_id="make", tool="ai-image-generator", request=body, **more)


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    ("written", "prompt"),
    [
        (Prompt.DAWN, "A lighthouse at dawn"),
        ("{{ params.prompt }}", "A lighthouse at dawn"),
        (Given(Prompt.DAWN), "A lighthouse at dawn"),
        ('"in quotes"', '"in quotes"'),
        ("2024", "2024"),
        ("{{ 2024 }}", "2024"),
        ("{{ '2024' }}", "2024"),
        ("{{ '\"in quotes\"' }}", '"in quotes"'),
        ("[1, 2] and {not a template}", "[1, 2] and {not a template}"),
        ("ends with a newline\n", "ends with a newline\n"),
        ("{{ '[1, 2]' }}", "[1, 2]"),
    ],
    ids=["enum", "param", "output", "quotes", "year", "number", "text", "quoted text", "braces", "newline", "list"],
)
def test_a_prompt_arrives_as_it_was_written(airflow, written, prompt, native, typed):
    """Also where Airflow renders to Python's objects: text is text."""
    request = sent(airflow, make(written, native=native, typed=typed), params={"prompt": Prompt.DAWN})
    assert request["style"]["prompt"] == prompt


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    "count",
    [Count.ONE, "{{ params.n }}", Decimal("1"), Decimal("1.0"), numpy.int64(1), Given(Count.ONE), Given(Decimal(1))],
)
def test_numbers_arrive_as_numbers(airflow, count, native):
    """Whatever a database, a data frame or an enum makes of them."""
    request = sent(airflow, make(native=native, request={"image_count": count}), params={"n": 1})
    assert (request["image_count"], type(request["image_count"])) == (1, int)


@pytest.mark.parametrize("native", [False, True])
def test_a_dict_from_a_template_is_a_dict(airflow, native):
    """Its text is read where the tool takes a dict."""
    operator = make(native=native, request={"style": "{{ params.style }}"})
    assert sent(airflow, operator, params={"style": {"prompt": "a [1]"}})["style"] == {"prompt": "a [1]"}


def test_enums_in_extra_request_and_in_names(airflow):
    """Everywhere in a request."""
    operator = make(Prompt.DAWN, extra_request={"note": [Prompt.DAWN]}, request={"name": Prompt.DAWN})
    request = sent(airflow, operator)
    assert request["note"] == ["A lighthouse at dawn"]
    assert request["name"].startswith("A lighthouse at dawn #")


def test_a_path_object_is_a_template_too(airflow):
    """``Path("/data/{{ run_id }}")`` is a folder for each run, as the same text is."""
    folder = Path(airflow.output) / "{{ run_id }}"
    operator = make(output_path=folder)
    render(operator, run_id="monday")
    assert operator.output_path == str(Path(airflow.output) / "monday")


def test_a_folder_from_an_enum_is_its_value(airflow):
    """As texts of the request are."""

    class Folder(str, Enum):  # noqa: UP042 (as users write it)
        MEDIA = "/media/{{ run_id }}"

    operator = make(output_path=Folder.MEDIA)
    render(operator, run_id="monday")
    assert operator.output_path == "/media/monday"
    assert make(output_path=Folder.MEDIA).output_template == "/media/{{ run_id }}"
    assert airflow.creates() == 0


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": "{{ ti.xcom_pull(task_ids='gone') }}"}, "style.prompt"),
        ({"prompt": "On {{ params.place }} at dawn"}, "style.prompt"),
        ({"prompt": "{{ params.place ~ ' at dawn' }}"}, "style.prompt"),
        ({"prompt": "{{ params.place | trim }}"}, "style.prompt"),
        ({"prompt": "{{ params.place | upper }} at dawn"}, "style.prompt"),
        ({"prompt": "{{ '%s at dawn' | format(params.place) }}"}, "style.prompt"),
        ({"prompt": "{{ ['dawn', params.place] | join(', ') }}"}, "style.prompt"),
        ({"request": {"name": "{{ params.place }}"}}, "name"),
        ({"output_path": "/tmp/{{ params.place }}"}, "output_path"),
        ({"extra_request": {"note": ["{{ params.place }}"]}}, "note[0]"),
    ],
)
def test_none_is_not_paid_for_as_text(airflow, fields, field, native, typed):
    """A template without a value is an error that names the field and the template, before anything is paid."""
    operator = make(**fields, native=native, typed=typed)
    ti = SimpleNamespace(xcom_pull=lambda **_: None)
    render(operator, params={"place": None}, ti=ti)
    with pytest.raises(AirflowFailException, match=rf"`{field}`.* is None, as its template .*{{{{".replace("[", r"\[")):
        airflow.attempt(operator, TaskInstance())
    assert airflow.sim.stats()["creates"]["accepted"] == 0


@pytest.mark.parametrize("native", [False, True])
def test_filters_and_joined_texts_work_as_in_jinja(airflow, native):
    """None that is only compared is no text, and what has a value is joined and filtered as ever."""
    prompt = (
        "{{ 'fancy' if params.style | lower == 'fancy' else 'plain' }} {{ params.place | trim | upper ~ 2 }} "
        "{{ ['a', 'b'] | join('-') }} {{ '%s' | format(params.place) | replace(' ', '') }}{{ params.style or '' }}"
    )
    request = sent(airflow, make(prompt, native=native), params={"style": None, "place": " sea "})
    assert request["style"]["prompt"] == "plain SEA2 a-b sea"


@pytest.mark.parametrize("typed", [False, True])
def test_an_earlier_tasks_result_without_that_name_fails_for_good(airflow, typed):
    """A key that an earlier task has not pushed is named with its field; a retry would not find it either."""
    gone = Given(None)
    gone.resolve = lambda *_: (_ for _ in ()).throw(XComNotFound("campaign", "plan", "prompt"))
    operator = make(gone, typed=typed)
    render(operator)
    with pytest.raises(AirflowFailException, match=r"`style.prompt` has no value.*'?plan.*prompt.* clear both"):
        airflow.attempt(operator, TaskInstance())
    assert airflow.creates() == 0


def test_a_run_without_a_value_does_not_fail_the_next_one(airflow):
    """Airflow copies a task shallowly for each run: what one run lacks says nothing of another."""
    operator = make("On {{ params.place }} at dawn")
    render(copy.copy(operator), params={"place": None})
    assert sent(airflow, operator, params={"place": "a beach"})["style"]["prompt"] == "On a beach at dawn"


def test_a_param_without_a_value_is_no_earlier_task(airflow):
    """``dag.param()`` that is None is named as what it is."""
    with DAG("rendered", schedule=None, params={"prompt": None}) as dag:
        operator = MagicHourOperator(
            task_id="make",
            tool="ai-image-generator",
            request={"image_count": 1, "style": {"prompt": dag.param("prompt")}},
        )
    render(operator, params={"prompt": None}, dag_run=SimpleNamespace(conf=None, clear_number=0))
    why = r"`style.prompt` is None, as the DAG's param 'prompt' has no value\. No job"
    with pytest.raises(AirflowFailException, match=why):  # and nothing more of that field
        airflow.attempt(operator, TaskInstance())
    assert airflow.sim.stats()["creates"]["accepted"] == 0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime.date(2026, 1, 2), "a date"),
        (b"bytes", "a bytes"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (Decimal("NaN"), "a Decimal"),
        ({1, 2}, "a set"),
        ("half \ud83d", "half of a character"),
        (object(), "an object"),
    ],
)
@pytest.mark.parametrize("place", ["request", "extra_request"])
def test_what_cannot_be_sent_is_named(airflow, value, shown, place):
    """With its field, before anything is paid, and for good: a retry would meet the same."""
    operator = make(Given(value)) if place == "request" else make(extra_request={"deep": [{"field": Given(value)}]})
    render(operator)
    field = r"style\.prompt" if place == "request" else r"deep\[0\]\.field"
    with pytest.raises(AirflowFailException, match=rf"`{field}` (is|holds) {shown}") as caught:
        airflow.attempt(operator, TaskInstance())
    assert len(re.findall(f"`{field}`", str(caught.value))) == 1
    assert airflow.sim.stats()["creates"]["accepted"] == 0


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(
    ("template", "field", "why"),
    [
        ({"prompt": "{{ nobody }}"}, "style.prompt", "'nobody' is undefined"),
        ({"prompt": "{{ params.nothing.more }}"}, "style.prompt", "has no attribute 'nothing'"),
        ({"prompt": "{{ unclosed"}, "style.prompt", "unexpected end"),
        ({"output_path": "/media/{{ nobody }}"}, "output_path", "'nobody' is undefined"),
        ({"prompt": "{{ 1 + ti.none }}"}, "style.prompt", "unsupported operand"),
    ],
    ids=["name", "attribute", "syntax", "folder", "arithmetic"],
)
def test_a_template_without_a_value_fails_for_good(airflow, template, field, why, native, typed):
    """With field, template and reason, also in what views read; a retry would fail too. Nothing is paid."""
    operator, ti = make(native=native, typed=typed, **template), TaskInstance()
    render(operator, ti=SimpleNamespace(none=None))
    with pytest.raises(AirflowFailException) as caught:
        airflow.attempt(operator, ti)
    message = str(caught.value)
    assert field in message
    assert why in message
    assert repr(next(iter(template.values()))) in message
    assert message == ti.xcoms["magic_hour_job"]["error"]
    assert airflow.creates() == 0


def test_a_template_without_a_value_does_not_hide_what_was_paid_for(airflow):
    """An earlier attempt's job is named, and stays the task's: nothing is stored where the template stands."""
    operator, ti = make(output_path=str(airflow.output / "{{ run_id }}")), TaskInstance()
    render(operator, run_id="run")
    ti.next_attempt()
    first = airflow.start(operator, ti)
    paid = ti.record["job_id"]
    assert paid
    broken = make(output_path=str(airflow.output / "{{ nobody }}"))
    render(broken)
    with pytest.raises(AirflowException, match=paid):
        airflow.attempt(broken, ti)
    assert not list(airflow.output.glob("*nobody*"))
    again = make(output_path=str(airflow.output / "{{ run_id }}"))
    render(again, run_id="run")
    assert airflow.attempt(again, ti)["id"] == paid
    assert first is not None
    assert airflow.creates() == 1
