"""Whether an operator runs as the task that Airflow runs, or inside another task's code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.hooks.exceptions import to_airflow_error


def check_own_task(operator: Any, context: Mapping[str, Any], way: str) -> None:
    """Refuse to run inside another task: its record, and its return from a deferral, are those of that task.

    :param operator: the one that is executed.
    :param context: Airflow's context, of the task that runs.
    :param way: what to do instead, as a whole sentence.
    :raises AirflowFailException: it is executed by another task's code.
    """
    running = context["task"]
    if running is operator or (type(running) is type(operator) and running.task_id == operator.task_id):
        return
    error = InvalidInputError(
        f"{type(operator).__name__}(task_id={operator.task_id!r}) is executed inside the task {running.task_id!r}. "
        "Airflow keeps one record and one deferral per task, so two of them there would share a paid job.",
        next_step=way,
    )
    raise to_airflow_error(error)
