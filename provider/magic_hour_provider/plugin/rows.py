"""Reads from Airflow's database what the pages need: task instances, their XComs, and whether an operator is ours."""

from __future__ import annotations

import json
from collections.abc import Iterable
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import select

from magic_hour_provider.links import MagicHourLink
from magic_hour_provider.plugin.facts import KEYS, Attempt

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_MOST_KNOWN = 64


def attempts(
    session: Session, dag_id: str, run_id: str, task_id: str | None = None, map_index: int | None = None
) -> list[Attempt] | None:
    """Return the task instances of a run that run operators of ours, in the order in which they run.

    None: there are no task instances at all, of ours or not.

    What an operator is, only the DAG's own file decides, as it was serialized for the task instance; XComs cannot.

    :param task_id: of one task only.
    :param map_index: of one task instance only.
    """
    query = select(
        TaskInstance.task_id,
        TaskInstance.map_index,
        TaskInstance.state,
        TaskInstance.__table__.c.rendered_map_index,
        TaskInstance.dag_version_id,
    ).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    values = select(XComModel.task_id, XComModel.map_index, XComModel.key, XComModel.value).where(
        XComModel.dag_id == dag_id, XComModel.run_id == run_id, XComModel.key.in_(KEYS)
    )
    if task_id is not None:
        query, values = query.where(TaskInstance.task_id == task_id), values.where(XComModel.task_id == task_id)
    if map_index is not None:
        query, values = query.where(TaskInstance.map_index == map_index), values.where(XComModel.map_index == map_index)
    found = session.execute(query).all()
    if not found:
        return None
    ours = _ours(session, dag_id, {row.dag_version_id for row in found})
    rows = [row for row in found if row.task_id in ours[row.dag_version_id]]
    rows.sort(key=lambda row: (ours[row.dag_version_id].index(row.task_id), row.task_id, row.map_index))
    xcoms: dict[tuple[str, int], dict[str, Any]] = {}
    if rows:
        if task_id is None:
            values = values.where(XComModel.task_id.in_({row.task_id for row in rows}))
        for one in session.execute(values):
            xcoms.setdefault((one.task_id, one.map_index), {})[one.key] = _value(one.value)
    return [
        Attempt(
            row.task_id, row.map_index, row.state, row.rendered_map_index, xcoms.get((row.task_id, row.map_index), {})
        )
        for row in rows
    ]


def goes_on(session: Session, dag_id: str, run_id: str) -> bool:
    """Whether a run has not ended."""
    query = select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    return session.scalar(query) in ("queued", "running")


def _value(stored: Any) -> Any:
    """Return an XCom's value. Workers store JSON; Airflow's REST API stores a text that holds JSON.

    Nothing is made of it but JSON: an XCom could name any class.
    """
    try:
        return json.loads(stored) if isinstance(stored, str) else stored
    except (ValueError, RecursionError):
        return None


def _ours(session: Session, dag_id: str, versions: Iterable[Any]) -> dict[Any, tuple[str, ...]]:
    """Return the names of our tasks by the DAG's version; task instances older than versions count by the latest."""
    found = {}
    for version in versions:
        query = select(SerializedDagModel.id, SerializedDagModel.dag_hash)
        query = query.where(
            SerializedDagModel.dag_id == dag_id if version is None else SerializedDagModel.dag_version_id == version
        )
        row = session.execute(query.order_by(SerializedDagModel.created_at.desc()).limit(1)).first()
        found[version] = _tasks(session, row.id, row.dag_hash) if row else ()
    return found


_known: dict[tuple[Any, str], tuple[str, ...]] = {}


def _tasks(session: Session, key: Any, dag_hash: str) -> tuple[str, ...]:
    """Return the names of our tasks in one serialized DAG, in the order in which they run; reading one is slow."""
    known = _known.get((key, dag_hash))
    if known is None:
        stored = session.get(SerializedDagModel, key)
        dag = stored.dag if stored is not None else None
        known = _in_order(dag.tasks) if dag is not None else ()
        while len(_known) >= _MOST_KNOWN:
            _known.pop(next(iter(_known), None), None)  # type: ignore[arg-type]
        _known[key, dag_hash] = known
    return known


def _in_order(tasks: Iterable[Any]) -> tuple[str, ...]:
    ours = {task.task_id for task in tasks if is_ours(task)}
    order = TopologicalSorter({task.task_id: sorted(task.upstream_task_ids) for task in tasks}).static_order()
    return tuple(task_id for task_id in order if task_id in ours)


def is_ours(task: Any) -> bool:
    """Whether a serialized task runs an operator of this package, or of a class that inherits from one.

    Such a class has a module of its own, but the link to the job's page is still among its links.
    """
    module = str(getattr(task, "_task_module", ""))
    links = {getattr(link, "xcom_key", None) for link in task.operator_extra_links}
    return module.startswith("magic_hour_provider.") or MagicHourLink.xcom_key in links
