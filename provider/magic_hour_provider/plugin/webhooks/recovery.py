"""Recovery of a submission whose response was lost: the job's name carries the tag of the task's intent.

Tested on Airflow 3.3.2, which has the task state store, with SQLite and PostgreSQL.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select, update

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.webhooks import Delivery
from magic_hour_provider.ledger.record import KEY, Record
from magic_hour_provider.ledger.tag import find_tag
from magic_hour_provider.plugin.webhooks.secrets import is_same_account
from magic_hour_provider.times import parse_time
from magic_hour_provider.xcoms import intent_xcom

log = logging.getLogger(__name__)

_STORED_ELSEWHERE = "__airflow_state_ref__"  # how Airflow marks a value that [workers] state_store_backend keeps


def recover_submission(delivery: Delivery, conn_id: str, now: float) -> str | None:
    """Complete the intent whose tag is in a delivery's job name; return the name of the task that owns the job.

    Nothing is written unless the record still is that intent, and its connection shares a secret with that of the
    delivery: a job of another account would never be found, and the paid one would be lost.

    :param conn_id: the connection whose secret signed the delivery.
    :param now: the time, in seconds since 1970.
    :raises DATABASE_UNAVAILABLE: the database does not answer; a retry may succeed.
    """
    tag = find_tag(delivery.name)
    if tag is None:
        return None
    with create_session(scoped=False) as session:
        task = session.execute(
            select(
                XComModel.dag_id,
                XComModel.task_id,
                XComModel.map_index,
                XComModel.run_id,
                XComModel.dag_run_id,
                XComModel.value,
            )
            .where(XComModel.key == intent_xcom(tag))
            .limit(1)
        ).one_or_none()
        if task is None:
            return None
        name = f"{task.dag_id}.{task.task_id} [{task.map_index}] of {task.run_id}"
        return name if _complete_intent(session, task, name, tag, delivery, conn_id, now) else None


def _shares_secret(intent: Any, conn_id: str) -> bool:
    own = intent.get("conn_id") if isinstance(intent, dict) else None
    return isinstance(own, str) and is_same_account(own, conn_id)


def _complete_intent(
    session: Any, task: Any, name: str, tag: str, delivery: Delivery, conn_id: str, now: float
) -> bool:
    model = _state_store_model()
    if model is None:
        log.info("Magic Hour job %s belongs to %s, whose record is not in Airflow's own store.", delivery.id, name)
        return False
    row = session.execute(
        select(model.id, model.value)
        .where(
            model.dag_run_id == task.dag_run_id,
            model.task_id == task.task_id,
            model.map_index == task.map_index,
            model.key == KEY,
        )
        .with_for_update()
    ).one_or_none()
    if row is None:
        return False
    try:
        value = json.loads(row.value)
        if isinstance(value, dict) and _STORED_ELSEWHERE in value:
            log.info("Magic Hour job %s belongs to %s, whose record a store of its own keeps.", delivery.id, name)
            return False
        record = Record.read(value)
    except (ValueError, InvalidInputError) as error:
        log.warning("Magic Hour job %s belongs to %s, whose record cannot be read: %s", delivery.id, name, error)
        return False
    if (record.state, record.tag) != ("intent", tag):
        return False
    if record.kind != delivery.kind:
        log.warning("Magic Hour job %s of %s has the tag of another kind, %s.", delivery.id, name, record.kind)
        return False
    if not _shares_secret(task.value, conn_id):
        log.warning(
            "Magic Hour job %s has the tag of %s, whose connection has another webhook_secret than %r: left alone.",
            delivery.id,
            name,
            conn_id,
        )
        return False
    submitted = replace(
        record,
        state="submitted",
        job_id=delivery.id,
        submitted_at=_submitted_at(delivery.created_at, now),
        credits_charged=delivery.credits_charged,
    )
    # Compared once more as it is written: SQLite has no row locks.
    result = session.execute(
        update(model)
        .where(model.id == row.id, model.value == row.value)
        .values(value=json.dumps(submitted.to_json()), updated_at=datetime.now(UTC))
        .execution_options(synchronize_session=False)
    )
    return bool(result.rowcount == 1)


def _state_store_model() -> Any:
    """Return the model of Airflow's own task state store, or None where records are kept elsewhere."""
    try:
        from airflow.models.task_state_store import TaskStateStoreModel
        from airflow.state import resolve_state_backend
        from airflow.state.metastore import MetastoreBackend
    except ImportError:  # Airflow before 3.3
        return None
    return TaskStateStoreModel if resolve_state_backend() is MetastoreBackend else None


def _submitted_at(created_at: str | None, now: float) -> float:
    submitted_at = parse_time(created_at)
    return now if submitted_at is None else min(now, submitted_at)
