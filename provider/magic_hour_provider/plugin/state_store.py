"""The records of what tasks have paid for, as the API server reads them in Airflow's own task state store.

Tested on Airflow 3.3.2, which has the task state store, with SQLite and PostgreSQL.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.ledger.record import KEY, Record

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

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
        from magic_hour_provider.plugin.airflow_internals import (
            MetastoreBackend,
            TaskStateStoreModel,
            resolve_state_backend,
        )
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
    return None if row is None else _read(row)


def match_instances(model: Any, instances: Collection[tuple[str, int]]) -> tuple[Any, ...]:
    """Return the conditions for the rows of some task instances, by task and map index.

    :param model: with the columns ``task_id`` and ``map_index``.
    """
    from sqlalchemy import tuple_

    pairs = tuple_(model.task_id, model.map_index).in_(instances)
    # With the pairs alone SQLite would use no more of an index than the run, and read all of it.
    task_ids, map_indexes = {task_id for task_id, _ in instances}, {map_index for _, map_index in instances}
    return model.task_id.in_(task_ids), model.map_index.in_(map_indexes), pairs


def load_records(
    session: Session, dag_run_id: int, instances: Collection[tuple[str, int]]
) -> dict[tuple[str, int], Record]:
    """Return the records of task instances by task and map index.

    Those that are kept elsewhere, or cannot be read, are left out.
    """
    from sqlalchemy import select

    model = get_state_store_model()
    if model is None:
        return {}
    rows = session.execute(
        select(model.id, model.value, model.task_id, model.map_index).where(
            model.dag_run_id == dag_run_id,
            *match_instances(model, instances),
            model.key == KEY,
        )
    )
    records = {}
    for row in rows:
        try:
            records[row.task_id, row.map_index] = _read(row).record
        except (StoredElsewhereError, InvalidInputError) as error:
            log.debug("The record of %s [%s] is not read: %s", row.task_id, row.map_index, error)
    return records


def _read(row: Any) -> StoredRecord:
    try:
        value = json.loads(row.value)
    except (ValueError, RecursionError):
        value = row.value  # which is no record, as the error will say
    if isinstance(value, dict) and _STORED_ELSEWHERE in value:
        raise StoredElsewhereError("a store of its own keeps")
    return StoredRecord(row.id, row.value, Record.read(value))
