"""Recovery of a submission whose response was lost: the job's name carries the tag of the task's intent.

Tested on Airflow 3.3.2, which has the task state store, with SQLite and PostgreSQL.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.webhooks import Delivery
from magic_hour_provider.ledger.fingerprint import compute_fingerprint
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.ledger.tag import find_tag
from magic_hour_provider.plugin.airflow_internals import XComModel, create_session
from magic_hour_provider.plugin.state_store import (
    StoredElsewhereError,
    StoredRecord,
    get_state_store_model,
    load_record,
)
from magic_hour_provider.plugin.webhooks.secrets import find_account_difference, get_webhook_conn_ids
from magic_hour_provider.times import parse_time
from magic_hour_provider.xcoms import intent_xcom, submitted_xcom

log = logging.getLogger(__name__)

_MAX_TASKS = 20  # with one tag


def recover_submission(delivery: Delivery, conn_id: str, now: float) -> str | None:
    """Complete the intent whose tag is in a delivery's job name; return the name of the task that owns the job.

    Nothing is written unless the record still is that intent, and its connection shares a secret with that of the
    delivery: a job of another account would never be found, and the paid one would be lost. Of the task's XCom only
    the key is read: an XCom backend may keep the value elsewhere. The job's own key is written beside it, as the task
    would have: by it the job is known where a clear discards the record.

    :param conn_id: the connection whose secret signed the delivery.
    :param now: the time, in seconds since 1970.
    :raises DATABASE_UNAVAILABLE: the database does not answer; a retry may succeed.
    """
    tag = find_tag(delivery.name)
    if tag is None:
        return None
    found = _find_intent(tag, delivery)
    if found is None:
        return None
    task, name, stored = found
    if not _is_of_account(stored.record, name, delivery, conn_id):
        return None
    submitted = replace(
        stored.record,
        state="submitted",
        job_id=delivery.id,
        submitted_at=_submitted_at(delivery.created_at, now),
        credits_charged=delivery.credits_charged,
    )
    return name if _replace(task, stored, submitted) else None


def _find_intent(tag: str, delivery: Delivery) -> tuple[Any, str, StoredRecord] | None:
    """Return the task whose record is the intent of this tag, its name, and the record.

    Anybody may have written such a key.
    """
    columns = (XComModel.dag_id, XComModel.task_id, XComModel.map_index, XComModel.run_id, XComModel.dag_run_id)
    tasks = select(*columns).where(XComModel.key == intent_xcom(tag)).order_by(XComModel.timestamp).limit(_MAX_TASKS)
    with create_session(scoped=False) as session:
        for task in session.execute(tasks).all():
            name = f"{task.dag_id}.{task.task_id} [{task.map_index}] of {task.run_id}"
            if (stored := _load_intent(session, task, name, tag, delivery)) is not None:
                return task, name, stored
    return None


def _load_intent(session: Any, task: Any, name: str, tag: str, delivery: Delivery) -> StoredRecord | None:
    """Return the record of a task if it is the intent of this tag, for a job of this kind."""
    try:
        stored = load_record(session, task.dag_run_id, task.task_id, task.map_index)
    except StoredElsewhereError as error:
        log.info("Magic Hour job %s belongs to %s, whose record %s.", delivery.id, name, error)
        return None
    except InvalidInputError as error:
        log.warning("Magic Hour job %s belongs to %s, whose record cannot be read: %s", delivery.id, name, error)
        return None
    if stored is None or (stored.record.state, stored.record.tag) != ("intent", tag):
        return None
    if stored.record.kind != delivery.kind:
        log.warning("Magic Hour job %s of %s has the tag of another kind, %s.", delivery.id, name, stored.record.kind)
        return None
    return stored


def _is_of_account(record: Record, name: str, delivery: Delivery, conn_id: str) -> bool:
    own = record.conn_id or _find_connection(record, conn_id)
    difference = (
        "its record names no connection, and was made with none of [magic_hour] webhook_conn_ids"
        if own is None
        else find_account_difference(own, conn_id)
    )
    if difference is not None:
        log.warning("Magic Hour job %s has the tag of %s, and is left alone: %s.", delivery.id, name, difference)
    return difference is None


def _find_connection(record: Record, conn_id: str) -> str | None:
    """Return the connection of a record that does not name it, as older ones do not: its fingerprint knows it again."""
    candidates = (conn_id, *sorted(get_webhook_conn_ids()))
    digest = record.fingerprint.get("(connection)")
    return next((one for one in candidates if compute_fingerprint({}, connection=one)["(connection)"] == digest), None)


def _replace(task: Any, stored: StoredRecord, record: Record) -> bool:
    """Write a record in place of the one that was read; return False where another one has been written meanwhile."""
    model = get_state_store_model()
    with create_session(scoped=False) as session:
        result: Any = session.execute(
            update(model)
            .where(model.id == stored.row_id, model.value == stored.text)
            .values(value=json.dumps(record.to_json()), updated_at=datetime.now(UTC))
            .execution_options(synchronize_session=False)
        )
        if result.rowcount != 1:
            return False
        try:
            with session.begin_nested():
                XComModel.set(
                    submitted_xcom(record.job_id or ""),
                    {"kind": record.kind, "tool": record.tool},
                    dag_id=task.dag_id,
                    task_id=task.task_id,
                    run_id=task.run_id,
                    map_index=task.map_index,
                    session=session,
                )
        except Exception:  # the task may be pushing it itself; and no public interface: the record is what counts
            log.warning("The XCom of Magic Hour job %s could not be written.", record.job_id, exc_info=True)
        return True


def _submitted_at(created_at: str | None, now: float) -> float:
    submitted_at = parse_time(created_at)
    return now if submitted_at is None else min(now, submitted_at)
