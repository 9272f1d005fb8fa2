"""What is known of one task instance: its state in Airflow, what it has paid for, and where that is recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from magic_hour_provider import DEFAULT_CONN_ID
from magic_hour_provider.api.catalog import KINDS, TOOLS
from magic_hour_provider.api.errors import Charge
from magic_hour_provider.api.models import is_id
from magic_hour_provider.api.redaction import clean_text
from magic_hour_provider.ledger.fingerprint import compute_fingerprint
from magic_hour_provider.ledger.instruction import name_record
from magic_hour_provider.ledger.places.directions import COMMAND
from magic_hour_provider.ledger.record import ADOPT, KEY, Record
from magic_hour_provider.plugin.dag_tasks import MediaTask, load_media_tasks
from magic_hour_provider.plugin.recovery.errors import (
    BatchTaskError,
    NoJobsError,
    RecoveryError,
    translating_database_errors,
)
from magic_hour_provider.plugin.recovery.records import NO_PLACE, open_places, read_record
from magic_hour_provider.xcoms import (
    BATCH_XCOM,
    INTENT_PREFIX,
    JOB_XCOM,
    REFUNDED_PREFIX,
    RETURN_XCOM,
    SETTLED_PREFIX,
    SUBMITTED_PREFIX,
    read_settled,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

ALLOWED_STATES = ("success", "failed", "up_for_retry")
"""In which a task instance may be given an instruction and be cleared: no process of it is running, or about to."""

_REFUSED_STATES = {
    "running": "The task is running. Wait until it has ended, or mark it as failed, and try again.",
    "deferred": "The task waits for its job. Wait until it has ended, or mark it as failed, and try again.",
    "restarting": "The task is being stopped, to be started again. Wait until it has ended, and try again.",
    "skipped": "The task was skipped. Clear it in Airflow if it should run.",
    "upstream_failed": "The task did not run, as a task before it failed. Clear that one first.",
    "removed": "The task is not in the DAG any more.",
}
_ABOUT_TO_RUN = "The task is about to run (its state is {}). Wait until it has ended, and try again."
_PREFIXES = (INTENT_PREFIX, SUBMITTED_PREFIX, REFUNDED_PREFIX)
MAX_REPORT = 64 * 1024
"""Characters of an XCom that is read."""


@dataclass(frozen=True)
class TaskKey:
    """One task instance.

    :param map_index: -1: not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def __str__(self) -> str:
        index = f" [{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{index} of {self.run_id}"


@dataclass(frozen=True)
class Situation:
    """What is known of one task instance.

    :param ti_id: Airflow's id of the task instance, which each clear and each retry replaces.
    :param state: in Airflow's words; None where it is not scheduled yet.
    :param record: of the place that knows most, with what a trigger's end has added; None: none has one, which says
        nothing where :attr:`is_known` is False.
    :param replaces: the name of the record, which an instruction given now replaces.
    :param tool: slug; None: not known.
    :param kind: of its jobs; None: not known.
    :param conn_id: the connection that pays.
    :param is_lost: whether the response of a paid request was lost, or the record of one.
    :param tags: of its own requests, as far as they are known.
    :param refusal: why no instruction is possible now, as a sentence; None: it is possible.
    :param record_places: where the record is kept, for a person.
    :param instruction_place: where an instruction to adopt a job is put by hand, for a person.
    :param is_known: whether there is a place here that could have the record; False: it cannot be known here whether
        anything is paid for.
    :param reported_jobs: that the task's XComs name, but for refunded ones.
    :param has_result: whether the task has returned one, which a clear leaves until its next attempt begins.
    """

    key: TaskKey
    ti_id: Any
    state: str | None
    try_number: int
    record: Record | None
    replaces: str
    tool: str | None
    kind: str | None
    conn_id: str
    is_lost: bool = False
    tags: tuple[str, ...] = ()
    refusal: str | None = None
    record_places: tuple[str, ...] = ()
    instruction_place: str | None = None
    is_known: bool = True
    reported_jobs: tuple[str, ...] = ()
    has_result: bool = False

    @property
    def job_id(self) -> str | None:
        """The recorded job."""
        return self.record.job_id if self.record is not None else None


@dataclass(frozen=True)
class _Reported:
    """What a task instance has pushed: only what is asked of it when its record is missing.

    :param tags: of the requests that it was about to send.
    :param job_ids: of jobs that it had.
    :param unrefunded: of those, and of the one that it has reported last, all that were not refunded as far as it knew.
    :param values: of its report and its intents, the first one that knows a thing counts.
    :param settled: what jobs were charged in the end, by their ids, where their triggers have ended the task.
    :param is_batch: whether it has reported as a batch does.
    :param has_result: whether it has returned one.
    """

    tags: tuple[str, ...] = ()
    job_ids: tuple[str, ...] = ()
    unrefunded: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    settled: Mapping[str, int] = field(default_factory=dict)
    is_batch: bool = False
    has_result: bool = False


def load_situation(key: TaskKey) -> Situation:
    """Read what is known of a task instance. Blocks, for some seconds at the most.

    :raises NoJobsError: it submits no jobs.
    :raises BatchTaskError: it is a batch: see :mod:`.batch.item`.
    :raises RecoveryError: there is no such task instance, or what it has paid for cannot be read.
    """
    from magic_hour_provider.plugin.airflow_internals import create_session

    with translating_database_errors(), create_session(scoped=False) as session:
        row, task = find_job_task(session, key)
        reported = _load_reported(session, row.dag_run_id, key)
        if task.is_batch or reported.is_batch:
            raise BatchTaskError(
                "This task is a batch: its items are recovered, each for itself. Open the item in the task's Media "
                f"tab, or name it: {COMMAND} record, adopt or regenerate with --item ID.",
            )
        places = open_places(session, row.dag_run_id, key)
        record = read_record(places)
    record = record.settle(reported.settled) if record is not None else None
    tool, kind = _find_tool(record, task, reported)
    return Situation(
        key,
        row.id,
        row.state,
        row.try_number,
        record,
        name_record(record),
        tool,
        kind,
        _find_connection(record, task, reported),
        is_lost=_is_lost(row.state, record, reported),
        tags=_find_tags(record, reported),
        refusal=describe_state(row.state) if len(places) else NO_PLACE,
        record_places=tuple(place.describe_location(KEY) for place in places),
        instruction_place=places.describe_location(ADOPT) if len(places) else None,
        is_known=len(places) > 0,
        reported_jobs=reported.unrefunded,
        has_result=reported.has_result,
    )


def find_job_task(session: Session, key: TaskKey) -> tuple[Any, MediaTask]:
    """Return the row of a task instance, as :func:`find_task_instance`, and what its DAG says of the task.

    :raises NoJobsError: it submits no jobs.
    :raises RecoveryError: there is no such task instance.
    """
    row = find_task_instance(session, key)
    if row is None:
        raise RecoveryError("There is no such task instance: the run, or the task of it, may be deleted.", 404)
    task = load_media_tasks(session, key.dag_id, [row.dag_version_id])[row.dag_version_id].get(key.task_id)
    if task is None or not task.submits:
        raise NoJobsError("This task submits no jobs to Magic Hour, so there is nothing to recover.", 409)
    return row, task


def find_task_instance(session: Session, key: TaskKey) -> Any:
    """Return the row of a task instance, with its run's id; None: there is none."""
    if not _can_be(key):
        return None
    from sqlalchemy import and_, select

    from magic_hour_provider.plugin.airflow_internals import DagRun, TaskInstance

    ti, run = TaskInstance.__table__.c, DagRun.__table__.c
    columns = (ti.id, ti.state, ti.try_number, ti.dag_version_id, run.id.label("dag_run_id"))
    query = select(*columns).join_from(
        TaskInstance.__table__, DagRun.__table__, and_(ti.dag_id == run.dag_id, ti.run_id == run.run_id)
    )
    of_task = (ti.task_id == key.task_id, ti.map_index == key.map_index)
    return session.execute(query.where(ti.dag_id == key.dag_id, ti.run_id == key.run_id, *of_task)).one_or_none()


def _can_be(key: TaskKey) -> bool:
    """Whether a database can have a task instance: it fails where it is asked for a larger index, or for no text."""
    ids = f"{key.dag_id}{key.run_id}{key.task_id}"
    return clean_text(ids) == ids and -1 <= key.map_index < 2**31


def describe_state(state: str | None) -> str | None:
    """Return why a task instance in a state cannot be given an instruction, as a sentence; None: it can."""
    if state in ALLOWED_STATES:
        return None
    return _REFUSED_STATES.get(state or "") or _ABOUT_TO_RUN.format(state or "none yet")


def _load_reported(session: Session, dag_run_id: int, key: TaskKey) -> _Reported:
    from sqlalchemy import Text, case, cast, func, or_, select

    from magic_hour_provider.plugin.airflow_internals import XComModel

    text = cast(XComModel.value, Text)
    prefixes = [XComModel.key.startswith(prefix, autoescape=True) for prefix in (*_PREFIXES, SETTLED_PREFIX)]
    rows = session.execute(
        select(XComModel.key, case((func.length(text) <= MAX_REPORT, text))).where(
            XComModel.dag_run_id == dag_run_id,
            XComModel.task_id == key.task_id,
            XComModel.map_index == key.map_index,
            or_(XComModel.key.in_((JOB_XCOM, BATCH_XCOM, RETURN_XCOM)), *prefixes),
        )
    ).all()
    values: dict[str, Any] = {}
    # The report first, by its key.
    reports = [row for row in rows if row[0] == JOB_XCOM or row[0].startswith(INTENT_PREFIX)]
    for row in sorted(reports, key=lambda row: (row[0] != JOB_XCOM, row[0])):
        values = {**parse_report(row[1]), **values}
    keys = [name for name, _ in rows]
    tags, job_ids, refunded = (
        [key.removeprefix(prefix) for key in keys if key.startswith(prefix)] for prefix in _PREFIXES
    )
    settled = read_settled(keys)
    known = [*job_ids, *settled]
    if values.get("charge") != Charge.REFUNDED.value:
        known.append(values.get("id"))
    unrefunded = dict.fromkeys(one for one in known if is_id(one) and one not in refunded)
    return _Reported(
        tuple(tags),
        tuple(job_ids),
        tuple(unrefunded),
        values,
        settled,
        is_batch=BATCH_XCOM in keys,
        has_result=RETURN_XCOM in keys,
    )


def parse_report(text: Any) -> Mapping[str, Any]:
    """Return an XCom's fields: anybody may have written it, and a backend may keep it elsewhere."""
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return {name: one for name, one in value.items() if one is not None} if isinstance(value, dict) else {}


def _is_lost(state: str | None, record: Record | None, reported: _Reported) -> bool:
    if record is not None:
        return record.state == "intent"
    if state not in ("failed", "up_for_retry"):
        return False
    is_unknown = reported.values.get("charge") == Charge.UNKNOWN.value
    return is_unknown or bool(reported.tags and not reported.job_ids and not reported.values.get("charge"))


def _find_tags(record: Record | None, reported: _Reported) -> tuple[str, ...]:
    if record is None:
        return reported.tags
    past = record.history if isinstance(record.history, list) else []
    tags = [record.tag, *(entry.get("key") for entry in past if isinstance(entry, dict)), *reported.tags]
    return tuple(dict.fromkeys(tag for tag in tags if isinstance(tag, str) and tag))


def _find_tool(record: Record | None, task: MediaTask, reported: _Reported) -> tuple[str | None, str | None]:
    if record is not None:
        return record.tool, record.kind
    pushed = reported.values.get("tool")
    slug = task.tool or (pushed if isinstance(pushed, str) and pushed in TOOLS else None)
    kind = TOOLS[slug].kind if slug else reported.values.get("kind")
    return slug, kind if isinstance(kind, str) and kind in KINDS else None


def _find_connection(record: Record | None, task: MediaTask, reported: _Reported) -> str:
    """Return the connection: the record names it, else a mapped task, its XComs or the record's fingerprint do."""
    if record is not None and record.conn_id:
        return record.conn_id
    pushed = reported.values.get("conn_id")
    candidates = [one for one in (task.conn_id, pushed, DEFAULT_CONN_ID) if isinstance(one, str) and one]
    digest = record.fingerprint.get("(connection)") if record is not None else None
    known = (one for one in candidates if compute_fingerprint({}, connection=one)["(connection)"] == digest)
    return next(known, candidates[0])
