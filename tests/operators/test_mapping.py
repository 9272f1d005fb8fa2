"""Mapped tasks: mistakes show when the DAG is parsed, and what only shows when they run fails for good, unpaid."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup

from helpers.attempts import TaskInstance
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.operators.image import MagicHourAIImageGeneratorOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.operators.video import MagicHourTextToVideoOperator

STYLE = {"prompt": "a lighthouse"}


def typed_partial(**arguments: Any) -> Any:
    """Begin a mapped text-to-video."""
    return MagicHourTextToVideoOperator.partial(task_id="t", output_path="", **arguments)


def any_partial(**arguments: Any) -> Any:
    """Begin a mapped task of the operator that runs any tool."""
    return MagicHourOperator.partial(task_id="t", tool="text-to-video", output_path="", **arguments)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: typed_partial(style={"promt": "x"}, end_seconds=3), "`style.promt`.*did you mean `style.prompt`"),
        (lambda: typed_partial(style=STYLE, end_second=3), "`end_second` is not a field.*did you mean `end_seconds`"),
        (lambda: typed_partial(style=STYLE).expand(end_seconds=[3, "long"]), "`end_seconds` must be a number"),
        (lambda: typed_partial(end_seconds=3).expand(style=[STYLE, {"prompt": 5}]), "`style.prompt` must be text"),
        (lambda: typed_partial(style=STYLE).expand(resolution=["480p"]), "`end_seconds` is missing"),
        (lambda: typed_partial(style=STYLE).expand_kwargs([{"end_seconds": 3}, {}]), "`end_seconds` is missing"),
        (lambda: any_partial(request={"style": STYLE, "end_second": 3}), "did you mean `end_seconds`"),
        (lambda: any_partial().expand(request=[{"style": STYLE, "end_seconds": 3}, {"style": STYLE}]), "is missing"),
        (lambda: any_partial().expand_kwargs([{"request": {"style": STYLE}}]), "`end_seconds` is missing"),
        (lambda: MagicHourOperator.partial(task_id="t", tool="text-to-vdeo", request={}), "text-to-video"),
        (lambda: any_partial(request="x"), "must be a dict"),
        (lambda: typed_partial(style=STYLE).expand(end_second=[3]), "did you mean `end_seconds`"),
        (lambda: typed_partial(style=STYLE).expand_kwargs([{"end_second": 3}]), "did you mean `end_seconds`"),
        (lambda: typed_partial(style=STYLE, on_clear="regenrate"), "on_clear must be one of"),
        (lambda: typed_partial(style=STYLE, timeout=-1), "timeout must be above 0"),
        (lambda: typed_partial(style=STYLE, end_seconds=3).expand(timeout=["abc"]), "must be seconds or a timedelta"),
        (lambda: typed_partial(style=STYLE).expand(end_seconds=["1_0"]), "`end_seconds` must be a number"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*was never mapped")
def test_slips_are_import_errors(make, words):
    """What stands in the DAG file is checked when it is parsed, also where Airflow makes the task only later."""
    with DAG("mapped", schedule=None), pytest.raises(InvalidInputError, match=words):
        make()


def test_what_comes_later_is_passed_over():
    """Fields that an earlier task brings, templates, and required fields still to be expanded are no mistakes."""
    with DAG("mapped", schedule=None) as dag:
        before = EmptyOperator(task_id="before")
        typed_partial(style=before.output).expand(end_seconds=[3, "4", "{{ params.seconds }}"])
        MagicHourTextToVideoOperator.partial(task_id="u", end_seconds=3).expand(style=before.output)
        MagicHourTextToVideoOperator.partial(task_id="v").expand_kwargs(before.output)
        MagicHourTextToVideoOperator.partial(task_id="w", style=STYLE).expand(extra_request=[{"end_seconds": 3}])
        MagicHourOperator.partial(task_id="x", request=before.output).expand(tool=["text-to-video", "lip-sync"])
        MagicHourOperator.partial(task_id="y", tool="text-to-video").expand(request=before.output)
    for task_id in "tuvxy":
        assert dag.get_task(task_id).upstream_task_ids == {"before"}, task_id


def unmapped(mapped: Any, **values: Any) -> Any:
    """Make a mapped task as Airflow does on the worker."""
    operator = mapped.unmap(values)
    operator.render_template_fields({})
    return operator


def test_text_numbers_of_an_expanded_field_become_numbers(airflow):
    """A mapped task takes the text that a template or a file leaves where a number belongs, as any other task does."""
    with DAG("mapped", schedule=None):
        mapped = typed_partial(style=STYLE).expand(end_seconds=["3", "4.5"])
    for index, text in enumerate(["3", "4.5"]):
        airflow.attempt(unmapped(mapped, end_seconds=text), TaskInstance("t", index))
    assert [job["request"]["end_seconds"] for job in airflow.sim.jobs()] == [3, 4.5]
    assert airflow.creates() == 2


@pytest.mark.parametrize(
    ("make", "values", "words"),
    [
        (lambda before: typed_partial(style=STYLE).expand(end_seconds=before), {"end_seconds": "long"}, "a number"),
        (lambda before: typed_partial(style=STYLE).expand_kwargs(before), {}, "`end_seconds` is missing"),
        (lambda before: typed_partial(style=STYLE, end_seconds=3).expand(timeout=before), {"timeout": -1}, "timeout"),
        (
            lambda before: MagicHourOperator.partial(task_id="t", request={}).expand(tool=before),
            {"tool": "text-to-vdeo"},
            "text-to-video",
        ),
    ],
)
def test_a_wrong_value_of_a_mapped_task_fails_for_good(airflow, make, values, words):
    """A retry would meet the same value again, so there is none; nothing was sent and nothing paid."""
    with DAG("mapped", schedule=None):
        mapped = make(EmptyOperator(task_id="before").output)
    with pytest.raises(AirflowFailException, match=words):
        airflow.attempt(unmapped(mapped, **values), TaskInstance("t", 0))
    assert airflow.creates() == 0


def test_a_wrong_value_at_a_retry_leaves_the_paid_job_collectable(airflow):
    """A job that an earlier attempt paid for is not given up for a shared value that went wrong since."""
    with DAG("mapped", schedule=None):
        mapped = typed_partial(end_seconds=3).expand(style=EmptyOperator(task_id="before").output)
    ti = TaskInstance("t", 0)
    ti.next_attempt()
    first, second = unmapped(mapped, style=STYLE), unmapped(mapped, style=STYLE)
    second.end_seconds = "long"  # as a template may render
    airflow.start(first, ti)
    assert airflow.attempt(second, ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_an_upstream_none_is_not_left_out(airflow):
    """An earlier task that returned nothing is a mistake: the service's default would be paid for instead."""
    with DAG("none", schedule=None):
        before = EmptyOperator(task_id="before")
        operator = MagicHourAIImageGeneratorOperator(task_id="t", image_count=1, style=STYLE, model=before.output)
    ti = TaskInstance("t")
    ti.xcom_pull = lambda **options: None  # type: ignore[method-assign]
    operator.render_template_fields(ti.context(operator))
    with pytest.raises(AirflowFailException, match="`model` is None, as the earlier task"):
        airflow.attempt(operator, ti)
    assert airflow.creates() == 0


@pytest.mark.parametrize("where", ["nullable", "file", "extra_request", "output_path"])
def test_an_upstream_none_is_reported_wherever_it_stands(airflow, where):
    """Also where the API would take null, where a file belongs, and where files are to go."""
    with DAG("none", schedule=None):
        before = EmptyOperator(task_id="before").output
        face = {"image_file_path": "https://e.example/a.png", "video_file_path": "https://e.example/a.mp4"}
        request = {"assets": {"video_source": "file", **face}, "start_seconds": 0, "end_seconds": 3}
        options: dict[str, Any] = {"output_path": ""}
        if where == "nullable":
            request["height"] = before
        elif where == "file":
            request["assets"]["image_file_path"] = before
        else:
            options[where] = before
        operator = MagicHourOperator(task_id="t", tool="face-swap", request=request, **options)
    ti = TaskInstance("t")
    ti.xcom_pull = lambda **options: None  # type: ignore[method-assign]
    operator.render_template_fields(ti.context(operator))
    with pytest.raises(AirflowFailException, match="is None"):
        airflow.attempt(operator, ti)
    assert airflow.creates() == 0


def test_a_none_in_the_dag_file_is_left_out(airflow):
    """None that a person wrote stands for "left out", as in the signature."""
    with DAG("none", schedule=None):
        operator = MagicHourAIImageGeneratorOperator(task_id="t", image_count=1, style=STYLE, model=None)
        mapped = MagicHourAIImageGeneratorOperator.partial(task_id="m", style=STYLE, model=None).expand(image_count=[1])
    airflow.attempt(operator, TaskInstance("t"))
    airflow.attempt(unmapped(mapped, image_count=1), TaskInstance("m", 0))
    assert ["model" in job["request"] for job in airflow.sim.jobs()] == [False, False]
    assert airflow.creates() == 2


def test_a_none_that_is_mapped_over_is_refused(airflow):
    """It may be an earlier task's missing output: refused at parsing if it is known then, else unpaid."""
    with DAG("none", schedule=None):
        partial = MagicHourAIImageGeneratorOperator.partial(task_id="m", image_count=1, style=STYLE)
        with pytest.raises(InvalidInputError, match=r"`model` of a mapped task is None.*leave its key out"):
            partial.expand(model=[None, "flux"])
        partial = MagicHourAIImageGeneratorOperator.partial(task_id="n", image_count=1, style=STYLE)
        mapped = partial.expand(model=EmptyOperator(task_id="before").output)
    with pytest.raises(AirflowFailException, match="`model` of a mapped task is None"):
        airflow.attempt(unmapped(mapped, model=None), TaskInstance("n", 0))
    assert airflow.creates() == 0


def test_an_unknown_name_from_upstream_fails_for_good(airflow):
    """``expand_kwargs`` takes names from an earlier task: a wrong one is refused by execute, without a retry."""
    with DAG("names", schedule=None):
        mapped = typed_partial(style=STYLE).expand_kwargs(EmptyOperator(task_id="before").output)
    with pytest.raises(AirflowFailException, match="did you mean `resolution`"):
        airflow.attempt(unmapped(mapped, end_seconds=3, resolutin="480p"), TaskInstance("t", 0))
    assert airflow.creates() == 0


class Branded(MagicHourTextToVideoOperator):
    """A user's own operator, whose constructor fills a required field."""

    def __init__(self, *, brand: str, **kwargs: Any) -> None:
        super().__init__(style={"prompt": brand}, **kwargs)


class Titled(MagicHourTextToVideoOperator):
    """A user's own operator that demands a field itself."""

    def __init__(self, *, style: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(style=style, **kwargs)


def test_valid_dags_are_not_refused():
    """Defaults of DAGs and groups, a user's own classes, and fields that extra_request brings, also mapped."""
    defaults = {"style": STYLE, "end_seconds": 3}
    with DAG("defaults", schedule=None, default_args=defaults):
        MagicHourTextToVideoOperator.partial(task_id="a").expand(resolution=["480p", "720p"])
        MagicHourTextToVideoOperator.partial(task_id="b").expand_kwargs([{"end_seconds": 4}, {}])
    with DAG("group", schedule=None), TaskGroup("g", default_args={"extra_request": {"end_seconds": 3}}):
        MagicHourTextToVideoOperator.partial(task_id="a", style=STYLE).expand(resolution=["480p"])
    with DAG("own", schedule=None):
        Branded(task_id="a", brand="x", end_seconds=3)
        Branded.partial(task_id="b", brand="x").expand(end_seconds=[3])
        Branded.partial(task_id="c", end_seconds=3).expand(brand=["x"])
        with pytest.raises(TypeError, match="missing keyword argument 'style'"):
            Titled(task_id="d", end_seconds=3)
    with DAG("extra", schedule=None):
        before = EmptyOperator(task_id="before").output
        prompts = [{"style": {"prompt": "a"}}, {"style": {"prompt": "b"}}]
        any_partial(request={"end_seconds": 3, "style": {}}).expand(extra_request=prompts)
        MagicHourTextToVideoOperator.partial(task_id="u", style={}, end_seconds=3).expand(extra_request=before)
        MagicHourTextToVideoOperator.partial(task_id="v", style={}, end_seconds=3).expand_kwargs(before)


def test_a_none_among_airflows_arguments_keeps_its_meaning():
    """There it undoes a default of the DAG, in a mapped task as in any other."""
    with DAG("none", schedule=None, default_args={"execution_timeout": timedelta(seconds=5), "retries": 3}):
        mapped = typed_partial(style=STYLE, execution_timeout=None).expand(end_seconds=[3])
    operator = unmapped(mapped, end_seconds=3)
    assert (operator.execution_timeout, operator.retries) == (None, 3)


def test_extra_request_brings_a_required_argument(airflow):
    """The way past the check is also the way past the signature: a field may be renamed before this package knows."""
    with DAG("extra", schedule=None):
        operator = MagicHourTextToVideoOperator(  # type: ignore[call-arg]
            task_id="t", style=STYLE, extra_request={"end_seconds": 3}, output_path=""
        )
    airflow.attempt(operator, TaskInstance("t"))
    assert airflow.sim.jobs()[0]["request"]["end_seconds"] == 3
    assert airflow.creates() == 1


def test_all_slips_of_a_typed_call_are_named_at_once():
    """An unknown argument, a missing one and a wrong type are one message, with the nearest names."""
    with pytest.raises(InvalidInputError) as caught:
        MagicHourTextToVideoOperator(task_id="t", end_second=3, style={"promt": 1}, ouput_path="x")  # type: ignore[call-arg]
    for words in (
        "`end_second` is not a field of text-to-video or an argument of MagicHourTextToVideoOperator "
        "(did you mean `end_seconds`?)",
        "did you mean `output_path`?",
        "`end_seconds` is missing",
        "`style.promt` is not a field of text-to-video (did you mean `style.prompt`?)",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"request": {"style": STYLE}}, "give a dict as **request, or use MagicHourOperator(tool='text-to-video', "),
        ({"tool": "lip-sync", "style": STYLE, "end_seconds": 3}, "(it is always 'text-to-video' here)"),
        ({"prompt": "x", "end_seconds": 3}, "(did you mean `style.prompt`?)"),
        ({"promt": "x", "end_seconds": 3}, "(did you mean `style.prompt`?)"),
    ],
)
@pytest.mark.parametrize("make", [MagicHourTextToVideoOperator, MagicHourTextToVideoOperator.partial])
@pytest.mark.filterwarnings("ignore:.*was never mapped")
def test_arguments_of_another_level(make, arguments, words):
    """A field given one level too high, and the request given whole: the message says where it belongs."""
    with DAG("slips", schedule=None), pytest.raises(InvalidInputError, match=re.escape(words)) as caught:
        make(task_id="t", **arguments)
    assert "extra_request`?" not in str(caught.value)
    assert "request" not in arguments or "is missing" not in str(caught.value)
