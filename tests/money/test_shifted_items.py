"""A map index whose item changed between two tries, as an upstream list shifted: no media of another item, no payment.

What ``.expand()`` or a mapped task group fills is the index's own; what ``.partial()`` gives is shared by all. Where
nobody knows what becomes of what an index is given, as in a user's own class, the whole request is its own.
"""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import task, task_group

from helpers.attempts import TaskInstance
from helpers.mapped import attempt_index
from magic_hour_provider.operators.image import MagicHourAIImageGeneratorOperator as Images
from magic_hour_provider.operators.magic_hour import MagicHourOperator

DAWN, DUSK = {"prompt": "dawn"}, {"prompt": "dusk"}
TASK = {"task_id": "make", "output_path": ""}


def typed(item, shared) -> Any:
    """Map a typed operator over one field."""
    return Images.partial(**TASK, image_count=shared).expand(style=[{"prompt": "first"}, item])


def typed_kwargs(item, shared) -> Any:
    """Map a typed operator over whole arguments."""
    return Images.partial(**TASK, image_count=shared).expand_kwargs([{"style": DAWN}, {"style": item}])


def overriding(item, shared) -> Any:
    """Map over arguments that may override those of ``.partial()``: which do, nobody knows."""
    made = Images.partial(**TASK, style=DAWN, image_count=shared)
    return made.expand_kwargs([{"style": DAWN}, {"style": item}], strict=False)


def whole(item, shared) -> Any:
    """Map the operator that runs any tool over requests; what is merged over them is shared."""
    made = MagicHourOperator.partial(**TASK, tool="ai-image-generator", extra_request={"image_count": shared})
    return made.expand(request=[{"style": DAWN, "image_count": 9}, {"style": item, "image_count": 9}])


def extra(item, shared) -> Any:
    """Map over what is merged over a shared request."""
    made = MagicHourOperator.partial(**TASK, tool="ai-image-generator", request={"image_count": shared, "style": DAWN})
    return made.expand(extra_request=[{}, {"style": item}])


def grouped(item, shared) -> Any:
    """Let a mapped task group fill a field."""
    made = []

    @task_group
    def each(style):
        made.append(Images(**TASK, style=style, image_count=shared))

    each.expand(style=[{"prompt": "first"}, item])
    return made[0]


def behind_a_task(item, shared) -> Any:
    """Let a task of the same mapped task group fill a field."""
    made = []

    @task_group
    def each(word):
        made.append(
            Images(**TASK, style={"prompt": task(task_id="write")(lambda word: word)(word)}, image_count=shared)
        )

    each.expand(word=["first", "second"])
    made[0].style = item  # as rendered
    return made[0]


class Teaser(MagicHourOperator):
    """A user's own operator, whose constructor makes the request of an argument of its own."""

    def __init__(self, *, words: str, image_count: Any = 1, **kwargs: Any) -> None:
        request = {"style": {"prompt": words}, "image_count": image_count}
        super().__init__(tool="ai-image-generator", request=request, **kwargs)


class Later(MagicHourOperator):
    """A user's own operator that makes the request when it runs."""

    template_fields = (*MagicHourOperator.template_fields, "op_kwargs")

    def __init__(self, *, op_kwargs: Any, **kwargs: Any) -> None:
        super().__init__(tool="ai-image-generator", request={"style": DAWN, "image_count": 1}, **kwargs)
        self.op_kwargs = op_kwargs

    def execute(self, context: Any) -> Any:
        """Make the request, and run."""
        self.request = {**self.request, "style": self.op_kwargs}
        return super().execute(context)


class Worded(Images):
    """A user's own typed operator with an argument of its own."""

    def __init__(self, *, words: str, **kwargs: Any) -> None:
        super().__init__(style={"prompt": words}, **kwargs)


class Styled(Images):
    """A user's own typed operator that puts its own argument into a field."""

    def __init__(self, *, style: Any, words: str = "dusk", **kwargs: Any) -> None:
        super().__init__(style={**style, "prompt": words}, **kwargs)


class Named(Images):
    """A user's own typed operator that makes something else of one of our arguments."""

    def __init__(self, *, timeout: float, **kwargs: Any) -> None:
        super().__init__(style={"prompt": f"{timeout} seconds"}, timeout=timeout, **kwargs)


def own_class(item, shared) -> Any:
    """Map a user's own operator over its own argument."""
    return Teaser.partial(**TASK, image_count=shared).expand(words=["first", item["prompt"]])


def own_class_later(item, shared) -> Any:
    """Map a user's own operator that makes the request when it runs."""
    return Later.partial(**TASK).expand(op_kwargs=[{"prompt": "first"}, item])


def own_class_kwargs(item, shared) -> Any:
    """Map it over whole arguments that stand in the DAG file."""
    made = Styled.partial(**TASK, style={}, image_count=shared)
    return made.expand_kwargs([{"words": "first"}, {} if item == DUSK else {"words": item["prompt"]}])


def own_class_upstream(item, shared) -> Any:
    """Map it over whole arguments that an earlier task gives; for the default it gives none."""
    made = Styled.partial(**TASK, style={}, image_count=shared)
    return made.expand_kwargs(EmptyOperator(task_id="before").output), {} if item == DUSK else {"words": item["prompt"]}


def own_typed(item, shared) -> Any:
    """Map a user's own typed operator over its own argument."""
    return Worded.partial(**TASK, image_count=shared).expand(words=["first", item["prompt"]])


def own_meaning(item, shared) -> Any:
    """Map over an argument of ours of which a user's own class makes part of the request."""
    return Named.partial(**TASK, image_count=shared).expand(timeout=[1, 100 if item == DAWN else 200])


def grouped_own_class(item, shared) -> Any:
    """Let a mapped task group fill the argument of a user's own operator."""
    made = []

    @task_group
    def each(style):
        made.append(Later(**TASK, op_kwargs=style))

    each.expand(style=[{"prompt": "first"}, item])
    return made[0]


def grouped_attribute(item, shared) -> Any:
    """Let a mapped task group fill a field by its attribute."""
    made = []

    @task_group
    def each(style):
        made.append(Images(**TASK, style=DAWN, image_count=shared))
        made[0].style = style

    each.expand(style=[{"prompt": "first"}, item])
    return made[0]


def mapped_params(item, shared) -> Any:
    """Map over params, which a template reads."""
    made = Images.partial(**TASK, image_count=shared, style={"prompt": "{{ params.word }}"})
    return made.expand(params=[{"word": "first"}, {"word": item["prompt"]}])


def params_upstream(item, shared) -> Any:
    """Map over arguments that an earlier task gives, params among them."""
    made = Images.partial(**TASK, image_count=shared, style={"prompt": "{{ params.word }}"})
    return made.expand_kwargs(EmptyOperator(task_id="before").output), {"params": {"word": item["prompt"]}}


def hook(item, shared) -> Any:
    """Map over params, of which a hook makes the request."""
    made = Images.partial(**TASK, image_count=shared, style=DAWN, pre_execute=set_style)
    return made.expand(params=[{"word": "first"}, {"word": item["prompt"]}])


def hook_upstream(item, shared) -> Any:
    """Map over params that an earlier task gives, of which a hook makes the request."""
    made = Images.partial(**TASK, image_count=shared, style=DAWN, pre_execute=set_style)
    return made.expand_kwargs(EmptyOperator(task_id="before").output), {"params": {"word": item["prompt"]}}


def set_style(context: Any) -> None:
    """Make the request of the params."""
    context["task"].style = {"prompt": context["params"]["word"]}


def by_index(item, shared) -> Any:
    """Let a shared template choose from a list by the map index."""
    made = Images.partial(**TASK, style={"prompt": "{{ rows[ti.map_index].prompt }}"}, image_count=shared)
    return made.expand(on_clear=["reuse", "reuse"])


def grouped_by_index(item, shared) -> Any:
    """Let a template in a mapped task group choose from a list by the map index."""
    made = []

    @task_group
    def each(one):
        task(task_id="note")(lambda one: one)(one)
        style = {"prompt": "{{ rows[task_instance['map_index']]['prompt'] }}"}
        made.append(Images(**TASK, style=style, image_count=shared))

    each.expand(one=[1, 2])
    return made[0]


def left_out(item, shared) -> Any:
    """Map over what is merged over a shared request, which one of the items leaves alone."""
    made = MagicHourOperator.partial(**TASK, tool="ai-image-generator", request={"image_count": shared, "style": DUSK})
    return made.expand(extra_request=[{}, {} if item == DUSK else {"style": item}])


def attempt(airflow, make, item, ti, *, shared=1) -> Any:
    """Run an attempt of map index 1."""
    return attempt_index(airflow, ti, lambda: make(item, shared), rows=[{"prompt": "first"}, item])


ALIKE = [typed, typed_kwargs, whole, extra, grouped, behind_a_task, by_index, grouped_by_index, grouped_attribute]
OWN = [
    *(own_class, own_class_later, own_class_kwargs, own_class_upstream, own_typed, own_meaning, grouped_own_class),
    *(mapped_params, params_upstream, hook, hook_upstream, left_out),
]


def task_instance(make: Any) -> TaskInstance:
    """Return map index 1."""
    in_group = make.__name__.startswith("grouped") or make is behind_a_task
    return TaskInstance("each.make" if in_group else "make", 1)


@pytest.mark.parametrize("make", [*ALIKE, overriding, *OWN])
def test_another_item_is_not_given_this_ones_media(airflow, either_ledger, make):
    """A retry fails for good and names both; a clear makes the item of now; adopting takes the recorded job."""
    ti = task_instance(make)
    made = attempt(airflow, make, DAWN, ti)
    assert attempt(airflow, make, DAWN, ti)["id"] == made["id"]
    for _ in range(2):
        with pytest.raises(AirflowFailException) as caught:
            attempt(airflow, make, DUSK, ti)
        message = str(caught.value)
        for part in ("Map index 1", made["id"], made["name"], "UTC", "style.prompt", "stays charged", "Clear the task"):
            assert part in message
        assert f"magic_hour.job.{made['id']}" in ti.xcoms
    assert airflow.creates() == 1
    ti.store.set("magic_hour.adopt", made["id"])
    ti.clear()
    assert attempt(airflow, make, DUSK, ti)["id"] == made["id"]
    assert airflow.creates() == 1
    ti.clear()
    assert attempt(airflow, make, DAWN, ti)["id"] != made["id"]
    assert airflow.creates() == 2


@pytest.mark.parametrize("make", [*ALIKE, params_upstream, left_out])
def test_what_all_indexes_share_changes_nothing(airflow, make):
    """As in a task that is not mapped: a retry resumes the job, and names the change."""
    ti = task_instance(make)
    made = attempt(airflow, make, DUSK, ti)
    assert attempt(airflow, make, DUSK, ti, shared=2)["id"] == made["id"]
    assert airflow.creates() == 1


@pytest.mark.parametrize("kind", [Teaser, Worded])
@pytest.mark.parametrize("option", [{"timeout": [50, 60]}, {"output_path": ["", ""]}, {"pool": ["a", "b"]}])
def test_what_makes_no_request_changes_nothing(airflow, kind, option):
    """A user's own operator that is mapped over options alone: what changes is shared, whatever the class is."""
    task = {name: value for name, value in TASK.items() if name not in option}
    ti = TaskInstance("make", 1)
    made = attempt_index(airflow, ti, lambda: kind.partial(**task, words="a", image_count=1).expand(**option))
    again = attempt_index(airflow, ti, lambda: kind.partial(**task, words="b", image_count=1).expand(**option))
    assert again["id"] == made["id"]
    assert airflow.creates() == 1


def test_a_refunded_job_is_made_again_for_the_item_of_now(airflow):
    """There is no media of another item then."""
    ti = TaskInstance("make", 1)
    with pytest.raises(AirflowException, match="unknown_error"):
        attempt(airflow, typed, {"prompt": "[[error:unknown_error]]"}, ti)
    assert attempt(airflow, typed, DUSK, ti)["status"] == "complete"
    assert airflow.creates() == 2


def test_a_lost_response_is_asked_about(airflow):
    """Whichever item it was for."""
    ti = TaskInstance("make", 1)
    airflow.sim.inject_fault("close-after-accept")
    for item in (DAWN, DUSK):
        with pytest.raises(AirflowFailException, match="It is unknown whether"):
            attempt(airflow, typed, item, ti)
    assert airflow.creates() == 1


def test_iterated_items_are_refused(airflow):
    """The sub-tasks of ``.iterate()`` would share one record: each is refused before anything is paid."""
    ti = TaskInstance()
    ti.index = 3
    with pytest.raises(AirflowFailException, match=r"item 3.*nothing was charged.*\.expand\(\)"):
        airflow.attempt(airflow.operator(), ti)
    assert ti.record is None
    assert airflow.creates() == 0
