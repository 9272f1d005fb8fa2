"""Database queries of the pages: task instances, their XComs, and which tasks run our operators."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import select

from magic_hour_provider.plugin.media_tab.database.dag_tasks import load_media_tasks
from magic_hour_provider.plugin.media_tab.snapshot import KEYS, TaskSnapshot

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
    ours = load_media_tasks(session, dag_id, {row.dag_version_id for row in found})
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
