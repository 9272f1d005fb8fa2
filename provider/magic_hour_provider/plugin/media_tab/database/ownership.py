"""Whether a stored file belongs to a task: XComs can be forged, and all DAGs may share a media root.

A file is shown with a task only if its name holds the id of a job that the task has reported, and that its record
knows, where Airflow has one. Where another DAG reported the same job before, the viewer must be allowed to read that
DAG's XComs too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from sqlalchemy import func, select

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.models import is_id
from magic_hour_provider.plugin.media_tab.files.roots import FileNotShownError
from magic_hour_provider.plugin.state_store import StoredElsewhereError, load_record
from magic_hour_provider.xcoms import submitted_xcom

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot

log = logging.getLogger(__name__)

NOT_ITS_FILE = "This file is not shown: its name holds no id of a job that this task has reported."
_OUTPUT = re.compile(r"(?s)\A(.+)-[0-9]{1,6}(?:\.[A-Za-z0-9]{1,9})?\Z")  # <tool>-<job id>-<number>.<extension>


def find_job_id(name: str, job_ids: Iterable[str]) -> str | None:
    """Return the job whose output a file is, by its name as this package gives it; None if it is of none of these."""
    parts = _OUTPUT.fullmatch(name)
    stem = parts[1][1:] if parts else ""  # a tool has a letter at least
    return next((job_id for job_id in job_ids if stem.endswith(f"-{job_id}")), None)


def find_other_owners(session: Session, dag_id: str, run_id: str, task: TaskSnapshot, name: str) -> list[str]:
    """Return the other DAGs whose XComs a viewer must be allowed to read to see a file of a task.

    :param name: of the file.
    :raises FileNotShownError: it is no file of a job of this task.
    """
    dag_run_id = session.scalar(select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    job_id = find_job_id(name, _load_job_ids(session, dag_run_id or 0, task))
    if job_id is None:
        raise FileNotShownError(NOT_ITS_FILE)
    reported = dict(
        session.execute(
            select(XComModel.dag_id, func.min(XComModel.timestamp))
            .where(XComModel.key == submitted_xcom(job_id))
            .group_by(XComModel.dag_id)
        )
        .tuples()
        .all()
    )
    own = reported.pop(dag_id, None)
    return [other for other, at in reported.items() if own is None or at <= own]


def _load_job_ids(session: Session, dag_run_id: int, task: TaskSnapshot) -> set[str]:
    """Return the jobs of a task: those of its record, or, where it has none, those that it has reported."""
    try:
        stored = load_record(session, dag_run_id, task.task_id, task.map_index)
    except (StoredElsewhereError, InvalidInputError) as error:
        log.debug("The record of %s [%s] is not read: %s", task.task_id, task.map_index, error)
        stored = None
    if stored is not None:
        history = [past.get("job_id") for past in stored.record.history if isinstance(past, dict)]
        return {job_id for job_id in (stored.record.job_id, *history) if is_id(job_id)}
    reported = {job_id for job_id in (task.job.get("id"), task.result.get("id")) if is_id(job_id)}
    pushed = select(XComModel.key).where(
        XComModel.dag_run_id == dag_run_id,
        XComModel.task_id == task.task_id,
        XComModel.map_index == task.map_index,
        XComModel.key.in_([submitted_xcom(job_id) for job_id in reported]),
    )
    return {job_id for job_id in reported if submitted_xcom(job_id) in set(session.scalars(pushed))}
