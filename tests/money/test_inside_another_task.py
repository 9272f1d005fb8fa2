"""An operator executed by another task's code is refused before anything is paid."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import task

from helpers.attempts import TaskInstance
from magic_hour_provider.sensors.job import MagicHourJobSensor


@pytest.mark.parametrize("task_id", ["make", "outer"])
@pytest.mark.parametrize("tool", ["ai-image-generator", "text-to-video"])
def test_an_operator_inside_another_task_pays_for_nothing(airflow, task_id, tool):
    """Two of them would share the outer task's record; also one that has the outer task's id."""
    request = {"style": {"prompt": "waves"}, "end_seconds": 3} if tool == "text-to-video" else None
    outer = task(task_id="outer")(lambda: None)().operator
    ti = TaskInstance("outer")
    operator = airflow.operator(tool, request, task_id=task_id)
    with pytest.raises(AirflowFailException, match=r"inside the task 'outer'.*nothing was charged.*task of its own"):
        operator.execute(ti.context(outer))
    assert ti.record is None
    assert airflow.creates() == 0


def test_a_sensor_that_would_defer_another_task_says_so(airflow):
    """Its deferral would come back to the outer task, which knows nothing of it."""
    result = airflow.attempt(airflow.operator(output_path="", wait_for_completion=False), TaskInstance())
    outer = task(task_id="outer")(lambda: None)().operator
    sensor = MagicHourJobSensor(task_id="wait", job=result, output_path="")
    with pytest.raises(AirflowFailException, match="inside the task 'outer'"):
        sensor.execute(TaskInstance("outer").context(outer))
    assert airflow.creates() == 1
