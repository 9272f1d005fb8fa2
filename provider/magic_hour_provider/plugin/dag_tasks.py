"""Which tasks of a DAG run our operators. Only the serialized DAG decides that: XComs can be forged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.plugin.airflow_internals import SerializedDagModel
from magic_hour_provider.xcoms import LINK_NAME

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_MAX_CACHED = 64
_NO_MEDIA = ("MagicHourUploadOperator", "MagicHourDeleteOperator")
_BATCHES = ("MagicHourBatchOperator", "MagicHourBatchDecoratedOperator", "MagicHourAgentOperator")
_SLUGS = {slug.replace("-", ""): slug for slug in TOOLS}


@dataclass(frozen=True)
class MediaTask:
    """A task of a DAG that runs one of our operators.

    :param position: in the order in which the DAG's tasks run.
    :param makes_media: False for an operator that only uploads or deletes.
    :param submits: False for one that surely submits no jobs: it uploads, deletes, or waits.
    :param tool: slug, where the serialized task names it.
    :param conn_id: the connection, where it names it.
    :param is_batch: whether it surely is a batch; a user's own subclass has another name.
    """

    position: int
    makes_media: bool
    submits: bool = True
    tool: str | None = None
    conn_id: str | None = None
    is_batch: bool = False


MediaTasks = dict[str, MediaTask]


def load_media_tasks(session: Session, dag_id: str, versions: Iterable[Any]) -> dict[Any, MediaTasks]:
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
        module, links = str(task._task_module), {link.name for link in task.operator_extra_links}
        if module.startswith("magic_hour_provider.") or LINK_NAME in links:
            makes_media = task.task_type not in _NO_MEDIA
            submits = makes_media and not module.startswith("magic_hour_provider.sensors.")
            found[name] = MediaTask(
                position, makes_media, submits, *_find_arguments(task), is_batch=task.task_type in _BATCHES
            )
    return found


def _find_arguments(task: Any) -> tuple[str | None, str | None]:
    """Return the tool and the connection: a typed operator's class names its tool, a mapped task keeps both."""
    arguments = getattr(task, "partial_kwargs", None)
    tool, conn_id = (arguments.get(name) for name in ("tool", "magic_hour_conn_id")) if arguments else (None, None)
    if tool not in TOOLS:
        name = str(task.task_type).removeprefix("MagicHour").removesuffix("Operator").lower()
        tool = _SLUGS.get(name)
    is_known = isinstance(conn_id, str) and conn_id and "{" not in conn_id  # a template is only known to a run
    return tool, conn_id if is_known else None
