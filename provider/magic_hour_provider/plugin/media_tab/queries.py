"""Database queries of the pages: task instances, their XComs, and which tasks run our operators."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import select

from magic_hour_provider.plugin.media_tab.task_details import KEYS, TaskSnapshot
from magic_hour_provider.xcoms import LINK_XCOM

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_MAX_CACHED = 64
_NO_MEDIA = ("MagicHourUploadOperator", "MagicHourDeleteOperator")


def load_tasks(
    session: Session, dag_id: str, run_id: str, task_id: str | None = None, map_index: int | None = None
) -> list[TaskSnapshot] | None:
    """Return the task instances of a run that run our operators, in the order in which the tasks run.

    None: the run has no task instances at all, ours or not.

    Which operator a task runs, the serialized DAG of its version decides: XComs can be forged.

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
    rows.sort(key=lambda row: (ours[row.dag_version_id][row.task_id].position, row.task_id, row.map_index))
    xcoms: dict[tuple[str, int], dict[str, Any]] = {}
    if rows:
        if task_id is None:
            values = values.where(XComModel.task_id.in_({row.task_id for row in rows}))
        for one in session.execute(values):
            xcoms.setdefault((one.task_id, one.map_index), {})[one.key] = _parse_value(one.value)
    return [
        TaskSnapshot(
            row.task_id,
            row.map_index,
            row.state,
            row.rendered_map_index,
            ours[row.dag_version_id][row.task_id].makes_media,
            xcoms.get((row.task_id, row.map_index), {}),
        )
        for row in rows
    ]


def is_run_active(session: Session, dag_id: str, run_id: str) -> bool:
    """Return whether a run has not ended."""
    query = select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    return session.scalar(query) in ("queued", "running")


def _parse_value(stored: Any) -> Any:
    """Return an XCom's value. Workers store JSON; Airflow's REST API stores a text that holds JSON, up to 3.1 twice.

    It is only parsed as JSON, never deserialized: an XCom could name any class.
    """
    try:
        for _ in range(2):
            stored = json.loads(stored) if isinstance(stored, str) else stored
    except (ValueError, RecursionError):
        return None
    return stored


@dataclass(frozen=True)
class MediaTask:
    """A task of a DAG that runs one of our operators.

    :param position: in the order in which the DAG's tasks run.
    :param makes_media: False for an operator that only uploads or deletes.
    """

    position: int
    makes_media: bool


MediaTasks = dict[str, MediaTask]


def _ours(session: Session, dag_id: str, versions: Iterable[Any]) -> dict[Any, MediaTasks]:
    """Return our tasks by the DAG's version and by name; task instances from before DAG versions use the latest."""
    found = {}
    for version in versions:
        query = select(SerializedDagModel.id, SerializedDagModel.dag_hash)
        query = query.where(
            SerializedDagModel.dag_id == dag_id if version is None else SerializedDagModel.dag_version_id == version
        )
        row = session.execute(query.order_by(SerializedDagModel.created_at.desc()).limit(1)).first()
        found[version] = _tasks(session, row.id, row.dag_hash) if row else {}
    return found


_cached: dict[tuple[Any, str], MediaTasks] = {}


def _tasks(session: Session, key: Any, dag_hash: str) -> MediaTasks:
    """Return our tasks in one serialized DAG; deserializing is slow, so some results are cached."""
    tasks = _cached.get((key, dag_hash))
    if tasks is None:
        stored = session.get(SerializedDagModel, key)
        dag = stored.dag if stored is not None else None
        tasks = find_media_tasks(dag.tasks) if dag is not None else {}
        while len(_cached) >= _MAX_CACHED:
            _cached.pop(next(iter(_cached)), None)
        _cached[key, dag_hash] = tasks
    return tasks


def find_media_tasks(tasks: Iterable[Any]) -> MediaTasks:
    """Return those of a serialized DAG's tasks that run our operators, or subclasses of them.

    A subclass has a module of its own, but still has the link to the job's page.
    """
    by_name = {task.task_id: task for task in tasks}
    order = TopologicalSorter({name: sorted(task.upstream_task_ids) for name, task in by_name.items()}).static_order()
    found = {}
    for position, name in enumerate(order):
        task = by_name[name]
        module, links = str(task._task_module), {link.xcom_key for link in task.operator_extra_links}
        if module.startswith("magic_hour_provider.") or LINK_XCOM in links:
            found[name] = MediaTask(position, task.task_type not in _NO_MEDIA)
    return found
