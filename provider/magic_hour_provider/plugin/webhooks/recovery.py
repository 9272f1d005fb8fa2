"""Finds the task whose paid request was accepted and whose answer was lost: the job's name carries the key.

Tested on Airflow 3.3.2, which has the task state store, with SQLite and PostgreSQL.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select, update

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.webhooks import Delivery
from magic_hour_provider.ledger.record import KEY, Record, key_of
from magic_hour_provider.plugin.webhooks.secrets import secrets_of

log = logging.getLogger(__name__)

_ELSEWHERE = "__airflow_state_ref__"  # how Airflow marks a value that [workers] state_store_backend keeps


def identify(delivery: Delivery, conn_id: str, now: float) -> str | None:
    """Complete the intent that a delivery's name carries the key of; return the task whose job it is.

    Nothing is written unless the record still is that intent, and its connection's secret is that of the delivery:
    another account's job would be looked for in vain, and the paid one never found.

    :param conn_id: the connection whose secret the delivery was signed with.
    :param now: the time, in seconds since 1970.
    :raises DATABASE_AWAY: the database does not answer; another try may find it back.
    """
    key = key_of(delivery.name)
    if key is None:
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
            .where(XComModel.key == f"magic_hour.intent.{key}")
            .limit(1)
        ).one_or_none()
        if task is None:
            return None
        name = f"{task.dag_id}.{task.task_id} [{task.map_index}] of {task.run_id}"
        return name if _complete(session, task, name, key, delivery, conn_id, now) else None


def _is_of(intent: Any, conn_id: str) -> bool:
    """Whether an intent's connection is this one, or has a secret of it: one webhook serves a whole account."""
    own = intent.get("conn_id") if isinstance(intent, dict) else None
    return isinstance(own, str) and (own == conn_id or not set(secrets_of(own)).isdisjoint(secrets_of(conn_id)))


def _complete(session: Any, task: Any, name: str, key: str, delivery: Delivery, conn_id: str, now: float) -> bool:
    model = _rows()
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
        if isinstance(value, dict) and _ELSEWHERE in value:
            log.info("Magic Hour job %s belongs to %s, whose record a store of its own keeps.", delivery.id, name)
            return False
        record = Record.read(value)
    except (ValueError, InvalidInputError) as error:
        log.warning("Magic Hour job %s belongs to %s, whose record cannot be read: %s", delivery.id, name, error)
        return False
    if (record.state, record.key) != ("intent", key):
        return False
    if record.kind != delivery.kind:
        log.warning("Magic Hour job %s of %s has the key of another kind, %s.", delivery.id, name, record.kind)
        return False
    if not _is_of(task.value, conn_id):
        log.warning(
            "Magic Hour job %s has the key of %s, whose connection has another webhook_secret than %r: left alone.",
            delivery.id,
            name,
            conn_id,
        )
        return False
    found = replace(
        record,
        state="submitted",
        job_id=delivery.id,
        submitted_at=_seconds(delivery.created_at, now),
        credits_charged=delivery.credits_charged,
    )
    # Compared once more as it is written: SQLite has no row locks.
    done = session.execute(
        update(model)
        .where(model.id == row.id, model.value == row.value)
        .values(value=json.dumps(asdict(found)), updated_at=datetime.now(UTC))
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount == 1)


def _rows() -> Any:
    """Return the table of Airflow's own task state store, or None where records are kept elsewhere."""
    try:
        from airflow.models.task_state_store import TaskStateStoreModel
        from airflow.state import resolve_state_backend
        from airflow.state.metastore import MetastoreBackend
    except ImportError:  # Airflow before 3.3
        return None
    return TaskStateStoreModel if resolve_state_backend() is MetastoreBackend else None


def _seconds(created_at: str | None, now: float) -> float:
    try:
        return min(now, datetime.fromisoformat(created_at or "").timestamp())
    except ValueError:
        return now
