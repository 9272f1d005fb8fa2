"""Database queries of the pages: one task instance with its XComs, a light summary of a run, and XComs of its tiles."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, and_, case, cast, func, or_, select

from magic_hour_provider.plugin.airflow_internals import DagRun, TaskInstance, XComModel
from magic_hour_provider.plugin.dag_tasks import MediaTasks, load_media_tasks
from magic_hour_provider.plugin.media_tab.database.run_summary import (
    JOB_FIELDS,
    Entry,
    RunSummary,
    TaskSummary,
    summarize_run,
)
from magic_hour_provider.plugin.media_tab.snapshot import (
    FILES_XCOM,
    KEYS,
    PREFIXES,
    RESULT_XCOM,
    TaskSnapshot,
    as_mapping,
    stage_of,
)
from magic_hour_provider.plugin.state_store import load_records, match_instances
from magic_hour_provider.plugin.web.sanitize import parse_number, safe_number
from magic_hour_provider.plugin.web.xcom_columns import MAX_VALUE, is_readable, load_light_rows, pick_fields
from magic_hour_provider.xcoms import BATCH_XCOM, JOB_XCOM

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_MAX_WHOLE = 1000  # task instances whose XComs are read whole for the summary, as their shape is not ours
_MAX_LIMITS = 100  # all tasks of a run usually have the same
_task_id = itemgetter(0)
_INSTANCE = ("task_id", "map_index", "state", "rendered_map_index")


class NoSuchTaskError(Exception):
    """There is no such run or task instance."""


def load_task(
    session: Session, dag_id: str, run_id: str, task_id: str, map_index: int
) -> tuple[TaskSnapshot | None, bool]:
    """Return a task instance, None if it does not run one of our operators, and whether its run is active.

    :raises NoSuchTaskError: there is none.
    """
    dag_run_id, live = _find_run(session, dag_id, run_id)
    columns = TaskInstance.__table__.c
    query = select(columns.state, columns.rendered_map_index, columns.dag_version_id).where(
        columns.dag_id == dag_id, columns.run_id == run_id, columns.task_id == task_id, columns.map_index == map_index
    )
    row = session.execute(query).one_or_none()
    if row is None:
        raise NoSuchTaskError
    ours = load_media_tasks(session, dag_id, [row.dag_version_id])[row.dag_version_id]
    if task_id not in ours:
        return None, live
    instance = (task_id, map_index)
    xcoms = _load_xcoms(session, dag_run_id, [instance]).get(instance, {})
    record = load_records(session, dag_run_id, [instance]).get(instance)
    makes_media = ours[task_id].makes_media
    return TaskSnapshot(task_id, map_index, row.state, row.rendered_map_index, makes_media, xcoms, record), live


def load_run(session: Session, dag_id: str, run_id: str) -> RunSummary:
    """Return the summary of a run: its task instances in the order in which the tasks run, and their files' names.

    The XComs stay in the database, but for a few fields and the list of files.

    :raises NoSuchTaskError: there is no such run.
    """
    dag_run_id, live = _find_run(session, dag_id, run_id)
    in_run = (TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    versions = session.scalars(select(TaskInstance.dag_version_id).where(*in_run).distinct()).all()
    ordered: list[tuple[int, list[Entry]]] = []
    for version, tasks in load_media_tasks(session, dag_id, versions).items():
        of_version = TaskInstance.dag_version_id == version  # "IS NULL" of those from before versions
        for task_id, group in groupby(_load_entries(session, dag_run_id, tasks, *in_run, of_version), _task_id):
            ordered.append((tasks[task_id].position, list(group)))
    entries = [entry for _, group in sorted(ordered, key=lambda one: one[0]) for entry in group]
    if odd := [entry for entry in entries if _is_odd(entry)][:_MAX_WHOLE]:
        whole = load_snapshots(session, dag_id, run_id, odd)
        entries = [Entry.from_snapshot(whole[entry[:2]]) if entry[:2] in whole else entry for entry in entries]
    batch_credits = _sum_batches(session, dag_run_id, {one[0] for one in entries})
    limit = _load_limit(session, dag_run_id)
    return summarize_run(entries, live=live, batch_credits=batch_credits, limit=limit)


def _sum_batches(session: Session, dag_run_id: int, tasks: Collection[str]) -> float:
    """Return the credits that the batches of a run have reported as charged to them."""
    text = cast(XComModel.value, Text)
    query = select(case((func.length(text) <= MAX_VALUE, text))).where(
        XComModel.dag_run_id == dag_run_id, XComModel.task_id.in_(tasks), XComModel.key == BATCH_XCOM
    )
    reports = (as_mapping(_parse_value(stored)) for stored in session.scalars(query))
    return sum(max(0, safe_number(report.get("credits_charged")) or 0) for report in reports)


def _load_limit(session: Session, dag_run_id: int) -> float | None:
    """Return the most that the run may spend, in credits, as its tasks have recorded it; None: they have not."""
    xcom = XComModel.__table__
    (limit,) = pick_fields(xcom, ["max_credits_per_run"])
    of_run = (xcom.c.dag_run_id == dag_run_id, xcom.c.key.in_((JOB_XCOM, BATCH_XCOM)))
    query = select(limit).where(*of_run, *is_readable(session, xcom), limit.is_not(None)).limit(_MAX_LIMITS)
    numbers = (
        parse_number(row[0]) for row in load_light_rows(session, lambda wrap: query.with_only_columns(wrap(limit)))
    )
    return min((number for number in numbers if number is not None), default=None)


def _load_entries(session: Session, dag_run_id: int, tasks: MediaTasks, *conditions: Any) -> Iterator[Entry]:
    """Return the light values of task instances, by task and map index.

    The XComs are looked up by their whole primary keys.
    """
    rows = load_light_rows(session, lambda wrap: _select_entries(session, dag_run_id, tasks, wrap, *conditions))
    for row, uris in zip(rows, _parse_lists([row[-1] for row in rows]), strict=True):
        yield Entry._make((*row[:4], tasks[row[0]].makes_media, *row[4:-1], uris))


def _select_entries(
    session: Session, dag_run_id: int, tasks: MediaTasks, wrap: Callable[[Any], Any], *conditions: Any
) -> Any:
    instances, job, files, result = TaskInstance.__table__, *(XComModel.__table__.alias() for _ in range(3))

    def same_task(xcom: Any, key: str) -> Any:
        same = (xcom.c.task_id == instances.c.task_id, xcom.c.map_index == instances.c.map_index)
        return and_(xcom.c.dag_run_id == dag_run_id, *same, xcom.c.key == key, *is_readable(session, xcom))

    # Where the list of files has no XCom of its own, the result has it.
    listed = case((files.c.key.is_not(None), cast(files.c.value, Text)), else_=cast(result.c.value["files"], Text))
    values = [*pick_fields(job, JOB_FIELDS), case((func.length(listed) <= MAX_VALUE, listed))]
    return (
        select(
            *(instances.c[name] for name in _INSTANCE),
            *map(wrap, values),
        )
        .select_from(
            instances.outerjoin(job, same_task(job, JOB_XCOM))
            .outerjoin(files, same_task(files, FILES_XCOM))
            .outerjoin(result, and_(same_task(result, RESULT_XCOM), files.c.key.is_(None)))
        )
        .where(*conditions, instances.c.task_id.in_(tasks))
        .order_by(instances.c.task_id, instances.c.map_index)
    )


def load_snapshots(
    session: Session, dag_id: str, run_id: str, tasks: Iterable[TaskSummary | Entry]
) -> dict[tuple[str, int], TaskSnapshot]:
    """Return some task instances of a run with their XComs, by task and map index.

    :raises NoSuchTaskError: there is no such run.
    """
    tasks = list(tasks)
    if not tasks:
        return {}
    dag_run_id, _ = _find_run(session, dag_id, run_id)
    instances = [(task.task_id, task.map_index) for task in tasks]
    xcoms = _load_xcoms(session, dag_run_id, instances)
    records = load_records(session, dag_run_id, instances)
    return {key: TaskSnapshot(*task[:5], xcoms.get(key, {}), records.get(key)) for task in tasks for key in [task[:2]]}


def _is_odd(entry: Entry) -> bool:
    """Whether the light values of a task that has begun are not as those of ours are: its record may say more."""
    if not entry.makes_media or entry.state is None:
        return False
    if entry.id is None and entry.kind is None:
        return stage_of(entry.state) in ("succeeded", "failed", "running") and entry.state != "upstream_failed"
    return entry.state == "success" and entry.files is None


def _find_run(session: Session, dag_id: str, run_id: str) -> tuple[int, bool]:
    query = select(DagRun.id, DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    row = session.execute(query).one_or_none()
    if row is None:
        raise NoSuchTaskError
    return row.id, row.state in ("queued", "running")


def _load_xcoms(
    session: Session, dag_run_id: int, instances: Collection[tuple[str, int]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the XComs of :data:`KEYS` and :data:`PREFIXES` of task instances, by task and map index."""
    text = cast(XComModel.value, Text)
    query = select(
        XComModel.task_id, XComModel.map_index, XComModel.key, case((func.length(text) <= MAX_VALUE, text))
    ).where(
        XComModel.dag_run_id == dag_run_id,
        *match_instances(XComModel, instances),
        or_(XComModel.key.in_(KEYS), *(XComModel.key.startswith(prefix, autoescape=True) for prefix in PREFIXES)),
    )
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for task_id, map_index, key, value in session.execute(query):
        found.setdefault((task_id, map_index), {})[key] = _parse_value(value)
    return found


def _parse_lists(texts: Sequence[str | None]) -> list[list[str] | None]:
    """Return the lists of texts that JSON texts hold; None for anything else."""
    try:
        values = json.loads(f"[{','.join(text or 'null' for text in texts)}]")  # all at once is several times faster
    except (ValueError, RecursionError):
        values = []
    if len(values) != len(texts):
        values = [_parse_value(text) for text in texts]
    return [value if _is_list_of_texts(value) else None for value in values]


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _parse_value(stored: str | None) -> Any:
    """Return an XCom's value. Workers store JSON; Airflow's REST API may store a text that holds JSON, up to 3.1 twice.

    Where an XCom backend keeps values elsewhere, it is a text.
    It is only parsed as JSON, never deserialized: an XCom could name any class.
    """
    value: Any = stored
    try:
        for _ in range(3):
            value = json.loads(value) if isinstance(value, str) else value
    except ValueError:  # a text
        pass
    except RecursionError:
        return None
    return value
