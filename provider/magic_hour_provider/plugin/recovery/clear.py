"""Clears one task instance with Airflow's own function, as the route behind the button *Clear* does.

See ``post_clear_task_instances`` in ``airflow/api_fastapi/core_api/routes/public/task_instances.py``.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from magic_hour_provider.plugin.recovery.errors import RecoveryError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from magic_hour_provider.plugin.recovery.situation import TaskKey

log = logging.getLogger(__name__)


def clear_tasks(session: Session, key: TaskKey, ti_id: Any) -> None:
    """Clear a task instance, keeping its state, and those after it that did not run as it had failed.

    Without the latter their run would stay failed.

    :param ti_id: of the task instance, whose row is locked.
    :raises RecoveryError: Airflow's function has failed; the transaction must not be committed.
    """
    from sqlalchemy import exc

    try:
        _clear(session, key, ti_id)
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError):
        raise
    except Exception as error:  # no public interface
        log.exception("The task %s could not be cleared.", key)
        raise RecoveryError(
            f"Airflow could not clear the task ({type(error).__name__}; the log says more). Nothing has changed.", 502
        ) from error


def _clear(session: Session, key: TaskKey, ti_id: Any) -> None:
    from magic_hour_provider.plugin.airflow_internals import DagRunState, TaskInstance, clear_task_instances

    ti: Any = session.get(TaskInstance, ti_id, populate_existing=True)
    known = inspect.signature(clear_task_instances).parameters
    wanted = {
        "run_on_latest_version": _resolve_run_on_latest_version(session, key.dag_id),
        "prevent_running_task": True,
        # Planned (apache/airflow#72929): without it a clear would discard the record.
        "keep_task_state": True,
    }
    clear_task_instances(
        [ti, *_find_blocked(session, ti)],
        session,
        DagRunState.QUEUED,
        **{name: value for name, value in wanted.items() if name in known},
    )


def _resolve_run_on_latest_version(session: Session, dag_id: str) -> bool:
    try:
        from magic_hour_provider.plugin.airflow_internals import resolve_run_on_latest_version
    except ImportError:  # before it there was only the route's own default
        return False
    return bool(resolve_run_on_latest_version(None, dag_id, session))


def _find_blocked(session: Session, ti: Any) -> Sequence[Any]:
    """Return the task instances after it, of the same run, that did not run as an upstream task failed."""
    from sqlalchemy import select

    from magic_hour_provider.plugin.airflow_internals import DBDagBag, TaskInstance, TaskInstanceState

    dag = DBDagBag(load_op_links=False).get_dag_for_run(dag_run=ti.dag_run, session=session)
    if dag is None or not dag.has_task(ti.task_id):
        return ()
    after = dag.get_task(ti.task_id).get_flat_relative_ids(upstream=False)
    return session.scalars(
        select(TaskInstance).where(
            TaskInstance.dag_id == ti.dag_id,
            TaskInstance.run_id == ti.run_id,
            TaskInstance.task_id.in_(after),
            TaskInstance.state == TaskInstanceState.UPSTREAM_FAILED,
        )
    ).all()
