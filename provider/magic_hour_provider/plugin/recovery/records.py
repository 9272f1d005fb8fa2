"""The places of a task instance's record and instructions, as the API server reaches them.

Airflow's own task state store is read and written in a transaction that the caller has; files each within a time limit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.ledger.file_store import FileStore, open_file_store
from magic_hour_provider.ledger.places.directions import COMMAND
from magic_hour_provider.ledger.places.several import Places
from magic_hour_provider.ledger.record import Record, RecordError
from magic_hour_provider.plugin.recovery.errors import RecoveryError
from magic_hour_provider.plugin.recovery.time_limit import BusyError, TimeLimit
from magic_hour_provider.plugin.state_store import StoredElsewhereError, get_state_store_model, load_record

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_T = TypeVar("_T")

STORAGE = TimeLimit("magic-hour-recovery-storage", threads=4, seconds=5.0)
"""For files: one call may take so long."""

NO_PLACE = (
    "What this task has paid for can neither be known nor changed here, and nothing has changed: its record, if there "
    "is one, is beside its files, or with its workers. Set [magic_hour] ledger_path, for the API server as for the "
    f"workers, to a folder that all of them reach; from then on {COMMAND} adopt resumes a job that was paid for "
    "before. The task's XCom magic_hour_job and its log name that job, and MagicHourDownloadOperator(job=...) gets its "
    "files."
)
"""Why nothing can be said or done where no place is reached: nothing of this means that nothing is paid for."""


class AirflowStore:
    """Airflow's own task state store, within a transaction: nothing of it counts before that is committed.

    :param session: of the transaction.
    :param key: names the task instance.
    """

    def __init__(self, session: Session, key: Any) -> None:
        from magic_hour_provider.plugin.airflow_internals import MetastoreBackend, TaskScope

        self._session = session
        self._backend = MetastoreBackend()
        self._scope = TaskScope(dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id, map_index=key.map_index)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default if there is no such key."""
        with _without_statements():
            text = self._backend.get(self._scope, key, session=self._session)
        if text is None:
            return default
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text  # which is no record, as the error will say

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:  # noqa: ARG002 (it never expires)
        """Write a JSON value."""
        with _without_statements():
            self._backend.set(self._scope, key, json.dumps(value), expires_at=None, session=self._session)

    def delete(self, key: str) -> None:
        """Remove a key; a missing one is no error."""
        with _without_statements():
            self._backend.delete(self._scope, key, session=self._session)


@contextmanager
def _without_statements() -> Iterator[None]:
    """Keep the database's own words, which hold whole statements, out of what people read."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        raise RecordError(f"Airflow's database does not answer ({type(error).__name__}).") from error


class LimitedFileStore(FileStore):
    """The files of a task instance, each call within the time limit; after one that was not, none is tried."""

    _has_stalled = False

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default; as :meth:`FileStore.get`."""
        return self._limit("read", key, lambda: FileStore.get(self, key, default))

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Write a JSON value; as :meth:`FileStore.set`. What is written too late is removed again."""

        def take_back() -> None:
            if FileStore.get(self, key) == value:  # else somebody has asked for something since
                FileStore.delete(self, key)

        self._limit("written", key, lambda: FileStore.set(self, key, value, retention=retention), take_back)

    def delete(self, key: str) -> None:
        """Remove a file; as :meth:`FileStore.delete`."""
        self._limit("removed", key, lambda: FileStore.delete(self, key))

    def _limit(
        self, done: str, key: str, function: Callable[[], _T], abandoned: Callable[[], object] | None = None
    ) -> _T:
        place = self.describe_location(key)
        if not self._has_stalled:
            try:
                return STORAGE.call(function, abandoned)
            except BusyError:
                raise RecordError(f"The storage of {place} does not respond: other calls wait for it.") from None
            except TimeoutError:
                self._has_stalled = True
        raise RecordError(f"{place[:1].upper()}{place[1:]} could not be {done} within {STORAGE.seconds:.0f} s.")


def open_places(session: Session, run_id: int, key: Any) -> Places:
    """Return the places that the API server reaches, Airflow's own store first.

    A place whose values are kept elsewhere (``[workers] state_store_backend``) is none of them, and neither are the
    files beside the outputs of a task: its ``output_path`` is not known here. There may be none at all.

    :param run_id: of the DAG run's row.
    :param key: names the task instance.
    :raises RecoveryError: the setting ``ledger_path`` cannot work.
    """
    store = None
    if get_state_store_model() is not None:
        with suppress(StoredElsewhereError):
            with suppress(MagicHourError):  # whoever reads the record gets the error
                load_record(session, run_id, key.task_id, key.map_index)
            store = AirflowStore(session, key)
    try:
        files = open_file_store(key, "", None)
    except MagicHourError as error:
        raise RecoveryError(f"{error.message} Nothing has changed.", 503) from None
    return Places(store, LimitedFileStore(files.folder) if files is not None else None)


def read_record(places: Places) -> Record | None:
    """Return the record of the place that knows most; None: each place says that there is none.

    :raises RecoveryError: it cannot be read, or the places say different things.
    """
    try:
        return places.read()[0]
    except RecordError as error:
        raise RecoveryError(f"{error.message} Nothing has changed. Try again later.", 503) from error
    except MagicHourError as error:
        raise RecoveryError(" ".join(filter(None, (error.message, error.next_step)))) from error
