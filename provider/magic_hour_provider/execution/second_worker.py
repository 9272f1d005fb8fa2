"""Whether a deferred task needs a second worker when its job is complete, or its trigger may end it.

A worker's start costs Airflow about 0.4 s of CPU. It is needed for whatever only a worker does: storing files, events
of outlets, callbacks, hooks, listeners (OpenLineage's is one), the length that a mapped task maps over.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider.airflow_internals import MissingInternalError
from magic_hour_provider.execution.report import Report
from magic_hour_provider.execution.spec import JobSpec
from magic_hour_provider.hooks.own_task import is_test_run
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.links import MagicHourLink
from magic_hour_provider.triggers.ending.task_end import TaskEnd

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

log = logging.getLogger(__name__)

# What a task does at its end; a user's own class may do more.
_METHODS = ("execute", "execute_complete", "resume_execution", "pre_execute", "post_execute")
_OURS = ("magic_hour_provider.", "airflow.sdk.")
_CALLBACKS = ("on_success_callback", "on_execute_callback", "_pre_execute_hook", "_post_execute_hook")


def plan_task_end(spec: JobSpec, record: Record, report: Report, context: Mapping[str, Any]) -> TaskEnd | None:
    """Return what a trigger needs to end the task of a job that is complete; None: a worker has to.

    :param record: of the job.
    :param report: of this attempt.
    :param context: Airflow's context.
    """
    task, ti = context["task"], context["ti"]
    if spec.output_path:
        return None
    try:
        # In here, as the job is paid for: a setting that has become unreadable must not keep its task from waiting.
        is_off = not conf.getboolean("magic_hour", "end_from_trigger", fallback=True)
        if is_off or _does_more(task) or _is_watched(task, context):
            return None
    except MissingInternalError:
        return None
    except Exception:
        log.exception("Whether the triggerer may end this task could not be found out, so a worker ends it.")
        return None
    tags = getattr(ti, "stats_tags", None) or {"dag_id": ti.dag_id, "task_id": ti.task_id}
    return TaskEnd(
        report=report.describe_deferral(replace(record, state="delivered", credits_charged=0)),
        charged=record.credits_charged,
        max_credits=spec.max_credits,
        multiple_outputs=bool(task.multiple_outputs),
        warns=not spec.may_store_nothing and record.kind != "face-detection",
        operator=type(task).__name__,
        tags=dict(tags),
        started_at=ti.start_date.timestamp() if ti.start_date is not None else None,
    )


def _does_more(task: BaseOperator) -> bool:
    """Whether the task itself does more at its end than to return a result."""
    return (
        bool(task.outlets)
        or any(getattr(task, name, None) for name in _CALLBACKS)
        or any(name in vars(task) or not _is_ours(type(task), name) for name in _METHODS)
        or any(type(link) is not MagicHourLink for link in task.operator_extra_links)
        or not task.do_xcom_push
        or getattr(task, "returns_dag_result", False)
        or getattr(task, "overwrite_rtif_after_execution", False)
    )


def _is_ours(of: type, name: str) -> bool:
    """Whether a method is ours or Airflow's: the class that defines it, and the function that it has there by now.

    The function alone does not show it: ``functools.wraps`` gives it the module of another one.
    """
    owner = next(one for one in of.__mro__ if name in vars(one))
    return all(one.__module__.startswith(_OURS) for one in (owner, getattr(of, name)))


def _is_watched(task: BaseOperator, context: Mapping[str, Any]) -> bool:
    """Whether something else has to do with its end on a worker, or there is no triggerer that could end it."""
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.execution_time.xcom import XCom

    from magic_hour_provider.airflow_internals import TASK_PLACES, get_listener_manager, import_internal, task_runner

    import_internal(TASK_PLACES, "SetXCom")  # the trigger's, on what is probably the same Airflow
    return (
        XCom is not BaseXCom
        or context.get("map_index_template") is not None
        or next(iter(task.iter_mapped_dependants()), None) is not None
        or conf.getboolean("state_store", "clear_on_success", fallback=False)
        or conf.getboolean("traces", "otel_on", fallback=False)
        or get_listener_manager().has_listeners
        or is_test_run(context)
        or not hasattr(task_runner, "SUPERVISOR_COMMS")
    )
