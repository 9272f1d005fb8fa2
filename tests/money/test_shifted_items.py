"""A map index whose item changed between two tries, as an upstream list shifted: no media of another item, no payment.

What ``.expand()`` or a mapped task group fills is the index's own; what ``.partial()`` gives is shared by all.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException
from airflow.sdk import task, task_group

from helpers.attempts import TaskInstance
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


def attempt(airflow, make, item, ti, *, shared=1) -> Any:
    """Run an attempt of map index 1."""
    with DAG(ti.dag_id, schedule=None):
        made = make(item, shared)
    ti.next_attempt()
    context = ti.context(made)
    if hasattr(made, "expand_input"):
        operator = made.unmap(made._expand_mapped_kwargs(context)[0])
    else:
        operator = copy.copy(made)
        operator.render_template_fields(context)
    return airflow.resume(operator, ti, airflow.start(operator, ti))


@pytest.mark.parametrize("make", [typed, typed_kwargs, overriding, whole, extra, grouped, behind_a_task])
def test_another_item_is_not_given_this_ones_media(airflow, either_ledger, make):
    """A retry fails for good and names both; a clear makes the item of now; adopting takes the recorded job."""
    ti = TaskInstance("each.make" if make in (grouped, behind_a_task) else "make", 1)
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


@pytest.mark.parametrize("make", [typed, typed_kwargs, whole, extra, grouped, behind_a_task])
def test_what_all_indexes_share_changes_nothing(airflow, make):
    """As in a task that is not mapped: a retry resumes the job, and names the change."""
    ti = TaskInstance("each.make" if make in (grouped, behind_a_task) else "make", 1)
    made = attempt(airflow, make, DUSK, ti)
    assert attempt(airflow, make, DUSK, ti, shared=2)["id"] == made["id"]
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
