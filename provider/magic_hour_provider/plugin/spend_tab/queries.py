"""Database queries of the Spend tab: runs of a DAG, newest first, and light values of what their tasks recorded.

The work is bounded by what is shown: runs are read some at a time, until there are enough, or so many values that the
rest is left to the next page. Nothing but a few fields of each leaves the database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, or_, select

from magic_hour_provider.ledger.record import KEY
from magic_hour_provider.plugin.airflow_internals import DagRun, XComModel
from magic_hour_provider.plugin.dag_tasks import load_media_tasks
from magic_hour_provider.plugin.spend_tab.run_spend import (
    REPORT_FIELDS,
    RunSpend,
    TaskRecord,
    TaskReport,
    count_run,
)
from magic_hour_provider.plugin.state_store import get_state_store_model
from magic_hour_provider.plugin.web.xcom_columns import is_readable, load_light_rows, pick_fields
from magic_hour_provider.xcoms import BATCH_XCOM, JOB_XCOM, REFUNDED_PREFIX

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

MAX_RUNS = 1000
"""Runs of one page."""
MAX_VALUES = 20_000
"""XComs and records that are read for one page."""

_FIRST_RUNS, _MOST_RUNS = 10, 250  # read at a time; the first ones show how much a run has
_MAX_RECORD = 64 * 1024  # characters; twenty jobs and their reasons are less
_NO_HISTORY = '%"history": []%'  # as Airflow writes JSON
_AFTER_PREFIX = REFUNDED_PREFIX[:-1] + chr(ord(REFUNDED_PREFIX[-1]) + 1)


@dataclass(frozen=True)
class SpendPage:
    """Some runs of a DAG, in the order in which they were made, newest first.

    :param older: where the page with older runs begins; None: there are none.
    """

    runs: Sequence[RunSpend]
    older: int | None


def load_spend(session: Session, dag_id: str, before: int | None, count: int) -> SpendPage:
    """Return what some runs of a DAG have paid for.

    :param before: only runs made before the one with this row id.
    :param count: of runs; there are fewer where they have too many task instances.
    """
    runs = _load_runs(session, dag_id, before, count + 1)
    has_older, runs = len(runs) > count, runs[:count]
    tasks = load_media_tasks(session, dag_id, [None])[None] if runs else {}
    idle = {name for name, task in tasks.items() if not task.submits}
    shown: list[RunSpend] = []
    left, size = MAX_VALUES, _FIRST_RUNS
    while len(shown) < len(runs) and left > 0:
        some = runs[len(shown) : len(shown) + size]
        reports = _load_reports(session, [run.row_id for run in some], left)
        if len(reports) >= left:
            some = _cut(some, reports, is_first=not shown)
        records = _load_records(session, [run.row_id for run in some])
        by_run: defaultdict[int, list[TaskReport]] = defaultdict(list)
        recorded: defaultdict[int, list[TaskRecord]] = defaultdict(list)
        for report in reports:
            by_run[report.run].append(report)
        for record in records:
            recorded[record.run].append(record)
        for run in some:
            count_run(run, by_run[run.row_id], recorded[run.row_id], idle)
        shown += some
        left -= len(reports) + len(records)
        size = max(1, min(_MOST_RUNS, left * len(shown) // max(1, MAX_VALUES - left)))
    has_older = has_older or len(shown) < len(runs)
    return SpendPage(shown, shown[-1].row_id if shown and has_older else None)


def _cut(runs: Sequence[RunSpend], reports: Sequence[TaskReport], *, is_first: bool) -> list[RunSpend]:
    """Return the runs whose reports are all there; of a page's first run some are enough."""
    whole = [run for run in runs if run.row_id > reports[-1].run]
    if not whole and is_first:
        runs[0].is_partial = True
        return [runs[0]]
    return whole


def _load_runs(session: Session, dag_id: str, before: int | None, count: int) -> list[RunSpend]:
    columns = DagRun.__table__.c
    query = select(columns.id, columns.run_id, columns.state, columns.run_after).where(columns.dag_id == dag_id)
    if before is not None:
        query = query.where(columns.id < before)
    rows = session.execute(query.order_by(columns.id.desc()).limit(count))
    return [RunSpend(row.id, row.run_id, str(row.state), row.run_after.timestamp()) for row in rows]


def _load_reports(session: Session, run_ids: Sequence[int], limit: int) -> list[TaskReport]:
    """Return what operators have reported, of the newest run first. The XComs are found by their primary key."""
    xcom = XComModel.__table__.c
    is_refund = (xcom.key >= REFUNDED_PREFIX) & (xcom.key < _AFTER_PREFIX)
    readable = is_readable(session, XComModel.__table__)
    order = ("dag_run_id", "task_id", "map_index", "key")
    found = (
        select(
            *(xcom[name] for name in order),
            (case((and_(*readable), xcom.value)) if readable else xcom.value).label("value"),
        )
        .where(xcom.dag_run_id.in_(run_ids), or_(xcom.key.in_((JOB_XCOM, BATCH_XCOM)), is_refund))
        .order_by(*(xcom[name].desc() for name in order))
        .limit(limit)
        .subquery()
    )

    def query(wrap: Callable[[Any], Any]) -> Any:
        columns = (*(found.c[name] for name in order), *map(wrap, pick_fields(found, REPORT_FIELDS)))
        return select(*columns).order_by(*(found.c[name].desc() for name in order))

    return [TaskReport._make(row) for row in load_light_rows(session, query)]


def _load_records(session: Session, run_ids: Sequence[int]) -> list[TaskRecord]:
    """Return the records of tasks that have paid before, and of those that have reported no job: they are few."""
    model = get_state_store_model()
    if model is None:
        return []
    xcom = XComModel.__table__.alias()
    own = [xcom.c[name] == getattr(model, name) for name in ("dag_run_id", "task_id", "map_index")]
    reported = (
        select(xcom.c.key)
        .where(*own, xcom.c.key == JOB_XCOM, *is_readable(session, xcom), xcom.c.value["tool"].as_string().is_not(None))
        .exists()
    )
    query = (
        select(
            model.dag_run_id,
            model.task_id,
            model.map_index,
            case((func.length(model.value) <= _MAX_RECORD, model.value)),
        )
        .where(model.dag_run_id.in_(run_ids), model.key == KEY)
        .where(or_(model.value.not_like(_NO_HISTORY), ~reported))
        .limit(MAX_VALUES)
    )
    return [TaskRecord._make(row) for row in session.execute(query)]
