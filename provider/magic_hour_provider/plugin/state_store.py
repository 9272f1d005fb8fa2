"""The records of what tasks have paid for, as the API server reads them in Airflow's own task state store.

Tested on Airflow 3.3.2, which has the task state store, with SQLite and PostgreSQL.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magic_hour_provider.ledger.record import KEY, Record

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_STORED_ELSEWHERE = "__airflow_state_ref__"  # how Airflow marks a value that [workers] state_store_backend keeps


class StoredElsewhereError(Exception):
    """The API server cannot read the record: the message says which store has it."""


@dataclass(frozen=True)
class StoredRecord:
    """A record in Airflow's database.

    :param row_id: of its row.
    :param text: as it is stored.
    """

    row_id: Any
    text: str
    record: Record


def get_state_store_model() -> Any:
    """Return the model of Airflow's own task state store; None where records are kept elsewhere."""
    try:
        from airflow.models.task_state_store import TaskStateStoreModel
        from airflow.state import resolve_state_backend
        from airflow.state.metastore import MetastoreBackend
    except ImportError:  # Airflow before 3.3
        return None
    return TaskStateStoreModel if resolve_state_backend() is MetastoreBackend else None


def load_record(session: Session, dag_run_id: int, task_id: str, map_index: int) -> StoredRecord | None:
    """Return the record of a task instance; None where it has none.

    :raises StoredElsewhereError: records are kept where the API server does not read.
    :raises InvalidInputError: there is one that cannot be read.
    """
    from sqlalchemy import select

    model = get_state_store_model()
    if model is None:
        raise StoredElsewhereError("is not in Airflow's own store")
    row = session.execute(
        select(model.id, model.value).where(
            model.dag_run_id == dag_run_id,
            model.task_id == task_id,
            model.map_index == map_index,
            model.key == KEY,
        )
    ).one_or_none()
    if row is None:
        return None
    try:
        value = json.loads(row.value)
    except (ValueError, RecursionError):
        value = row.value  # which is no record, as the error will say
    if isinstance(value, dict) and _STORED_ELSEWHERE in value:
        raise StoredElsewhereError("a store of its own keeps")
    return StoredRecord(row.id, row.value, Record.read(value))
