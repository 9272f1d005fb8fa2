"""The folder of a batch: its records are there, so it has to be the same in all attempts and for all workers."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from helpers.attempts import TaskInstance
from magic_hour_provider.api.errors import InvalidInputError

VIDEO = {"tool": "text-to-video", "request": {"end_seconds": 3}, "item_id": "sku"}


def videos(count: int) -> list[dict[str, Any]]:
    """Return rows of which each takes two minutes."""
    return [{"sku": str(number), "style": {"prompt": "waves [[seconds:120]]"}} for number in range(count)]


def test_a_template_that_gives_another_one_by_now(batches):
    """The next worker of an attempt has the first one's folder, and so its records. Two creates."""
    ti = TaskInstance("campaign")
    ti.next_attempt()
    outcome = batches.start(batches.operator(videos(2), **VIDEO), ti)
    while isinstance(outcome, TaskDeferred):
        elsewhere = batches.operator(videos(2), **VIDEO, output_path=f"{batches.folder}-later")
        outcome = batches.resume(elsewhere, ti, outcome)
    assert batches.deferrals
    assert outcome["complete"] == 2
    assert outcome["results"].startswith(f"{batches.folder}/")
    assert batches.creates() == 2


@pytest.mark.parametrize(
    "path",
    ["{{ ti.try_number }}", "{{ macros.datetime.now() }}", "x/{{ dag_run.start_date | ds }}/y", "{{ ti.hostname }}"],
)
def test_a_template_that_differs_from_attempt_to_attempt(batches, path):
    """No attempt would find the records of the one before, and each would pay for all: parsing the DAG says so."""
    with pytest.raises(InvalidInputError, match="differs from attempt to attempt") as caught:
        batches.operator(videos(2), **VIDEO, output_path=f"{batches.folder}/{path}")
    assert "{{ run_id }}" in str(caught.value)
    batches.operator(videos(2), **VIDEO, output_path=f"{batches.folder}/{{{{ run_id }}}}/{{{{ params.start_date }}}}")
    assert batches.creates() == 0
