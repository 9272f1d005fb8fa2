"""How an operator is run: as the task that Airflow runs, inside another task's code, or by a test command."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from magic_hour_provider.airflow_internals import MissingInternalError
from magic_hour_provider.api.errors import Charge, InvalidInputError
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


def refuse_iteration(operator: Any, context: Mapping[str, Any]) -> None:
    """Refuse to run as a sub-task of ``.iterate()``, before anything is paid.

    Those run in threads of one task instance and share its task state and its XComs, and none can defer
    (apache/airflow#62922, which no Airflow has released yet): the record of one would be taken for another's.

    :param operator: the one that is executed.
    :param context: Airflow's context.
    :raises AirflowFailException: Airflow's task instance has an index of its own below the map index.
    """
    index = getattr(context["ti"], "index", None)
    if not isinstance(index, int):
        return
    error = InvalidInputError(
        f"The task {operator.task_id!r} is run by .iterate(), as its item {index}. There all items share one record of "
        "what was paid for, so that one would be taken for another's.",
        next_step="Use .expand() in the place of .iterate(): each item is a task instance of its own then.",
        charge=Charge.NONE,
    )
    raise to_airflow_error(error)


def warn_of_test_run(context: Mapping[str, Any], log: Any, *, is_batch: bool = False) -> None:
    """Say what a test command means for what is paid, if one runs the task.

    :param context: Airflow's context.
    :param log: the task's log.
    :param is_batch: whether its records are under its ``output_path``, and outlive the test.
    """
    if not is_test_run(context):
        return
    commands = "This attempt is run by a test command of Airflow (airflow tasks test, airflow dags test, dag.test())"
    if is_batch:
        log.warning(
            "%s. It pays for the items that are missing under output_path, as a run does; the batch's records stay "
            "there, so that a test or a run after it with the same output_path pays for none of them again. The "
            "simulator runs the same DAG for no credits.",
            commands,
        )
        return
    log.warning(
        "%s, whose record ends with the test: each such test pays for a new job. airflow dags test also deletes a "
        "finished run of the same date, and with it the record of what that run has paid for. The simulator runs the "
        "same DAG for no credits.",
        commands,
    )


def is_test_run(context: Mapping[str, Any]) -> bool:
    """Whether ``airflow tasks test``, ``airflow dags test`` or ``dag.test()`` runs the task.

    They run it in their own process; ``dags test --use-executor`` does not, but names itself as the run's user. Tested
    on Airflow 3.3.2.

    :param context: Airflow's context.
    """
    return is_in_test_process() or getattr(context["dag_run"], "triggering_user_name", None) == "dag_test"


def is_in_test_process() -> bool:
    """Whether this is the process of such a command, in which tasks and triggers run one after another."""
    comms = None
    with suppress(MissingInternalError):
        from magic_hour_provider.airflow_internals import task_runner

        comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return type(comms).__name__ == "InProcessSupervisorComms"
