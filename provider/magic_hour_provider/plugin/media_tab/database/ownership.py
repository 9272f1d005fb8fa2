"""Whether a stored file belongs to a task: XComs can be forged, and all DAGs may share a media root.

A file is shown with a task only if its name holds the id of a job that the task's record knows, or, where Airflow has
no record of the task, that the task has reported. Where another DAG had the same job before, the viewer must be allowed
to read that DAG's XComs too.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from magic_hour_provider.api.models import MAX_ID, is_id
from magic_hour_provider.plugin.airflow_internals import XComModel
from magic_hour_provider.plugin.media_tab.files.roots import FileNotShownError
from magic_hour_provider.plugin.state_store import load_records
from magic_hour_provider.xcoms import submitted_xcom

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot

NOT_ITS_FILE = "This file is not shown: its name holds no id of a job of this task."
_OUTPUT = re.compile(r"(?s)\A(.+)-[0-9]{1,6}(?:\.[A-Za-z0-9]{1,9})?\Z")  # <tool>-<job id>-<number>.<extension>
_MAX_CLAIMS = 500


def find_job_ids(name: str) -> list[str]:
    """Return all that may be the job's id in the name of an output: tools and ids may both have hyphens."""
    parts = _OUTPUT.fullmatch(name)
    stem = parts[1] if parts else ""
    # A name may come from an XCom that a user wrote: only as much of its end is searched as an id may have. A tool
    # has a letter at least.
    places = range(max(1, len(stem) - MAX_ID - 1), len(stem))
    suffixes = (stem[place + 1 :] for place in places if stem[place] == "-")
    return [job_id for job_id in suffixes if is_id(job_id)]


def find_other_owners(session: Session, dag_id: str, task: TaskSnapshot, name: str) -> set[str]:
    """Return the other DAGs whose XComs a viewer must be allowed to read to see a file of a task.

    :param name: of the file.
    :raises FileNotShownError: it is no file of a job of this task.
    """
    job_ids = find_job_ids(name)
    if task.job_ids.isdisjoint(job_ids):
        raise FileNotShownError(NOT_ITS_FILE)
    # All that the id in the name may be: else a made-up one, such as "generator-<id>", would hide the true one's owner.
    claims = _load_claims(session, job_ids)
    own = min((claim.timestamp for claim in claims if claim.dag_id == dag_id), default=None)
    return {
        claim.dag_id
        for claim in claims
        if claim.dag_id != dag_id
        and (own is None or claim.timestamp <= own or _had_before(session, claim, job_ids, own))
    }


def _load_claims(session: Session, job_ids: Collection[str]) -> list[Any]:
    """Return the XComs with which task instances have reported one of these jobs as theirs, the oldest first."""
    columns = (XComModel.dag_id, XComModel.dag_run_id, XComModel.task_id, XComModel.map_index, XComModel.timestamp)
    keys = [submitted_xcom(job_id) for job_id in job_ids]
    query = select(*columns).where(XComModel.key.in_(keys)).order_by(XComModel.timestamp).limit(_MAX_CLAIMS)
    return list(session.execute(query).all())


def _had_before(session: Session, claim: Any, job_ids: Collection[str], time: datetime) -> bool:
    """Whether a task had a job before some time, though it has reported it later: after a retry or a clear."""
    instance = (claim.task_id, claim.map_index)
    record = load_records(session, claim.dag_run_id, [instance]).get(instance)
    if record is None or record.job_id not in job_ids:
        return False
    return not isinstance(record.submitted_at, int | float) or not record.submitted_at > time.timestamp()
