"""The ledger of one task instance: reads, decides on and writes the record of what was paid for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.models import check_id, parse_library_url
from magic_hour_provider.ledger.decision import Decision, RetryState, decide
from magic_hour_provider.ledger.file_store import FileStore, open_file_store
from magic_hour_provider.ledger.record import ADOPT, KEY, REGENERATE, Record, State, describe_task_state
from magic_hour_provider.times import format_time

log = logging.getLogger(__name__)

_MISSING = object()


class Store(Protocol):
    """Airflow's task state store, or something like it. Rows outlive retries and clears."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default if there is no such key."""

    def set(self, key: str, value: Any, *, retention: Any) -> None:
        """Write a JSON value."""

    def delete(self, key: str) -> None:
        """Remove a key; a missing one is no error."""


class Ledger:
    """Reads and writes the record of one task instance.

    :param store: Airflow's task state store, or files in its place, or None where there is neither.
    :param retry_state: where this attempt stands.
    :param older: the files in which an Airflow before 3.3 kept the record: read where the store has none.
    """

    def __init__(self, store: Store | None, retry_state: RetryState, *, older: Store | None = None) -> None:
        self._store = store
        self._older = older
        self.retry_state = retry_state

    @classmethod
    def open(cls, context: Mapping[str, Any], output_path: str = "", output_template: Any = None) -> Ledger:
        """Open the ledger of the running task instance.

        :param output_path: the task's folder for files, rendered; or empty.
        :param output_template: the same before it was rendered.
        :raises InvalidInputError: the setting ``ledger_path`` cannot work.
        """
        store, older = context.get("task_state_store"), None
        if store is None:
            store = open_file_store(context["ti"], output_path, output_template)
        else:
            # What was paid for before Airflow was upgraded, if the setting still says where that is written.
            older = open_file_store(context["ti"], "", None)
        if store is None:
            log.warning(
                "Nothing keeps a record of what this task pays for: if this attempt is lost, a retry pays for a new "
                "job. Set [magic_hour] ledger_path, upgrade to Airflow 3.3, or set retries=0, where paying twice "
                "matters."
            )
        return cls(store, RetryState.of(context), older=older)

    @property
    def is_ephemeral(self) -> bool:
        """Whether nothing outlives this attempt: there is no store."""
        return self._store is None

    @property
    def in_airflow(self) -> bool:
        """Whether the record is in Airflow's own store, where the API server can complete it."""
        return self._store is not None and not isinstance(self._store, FileStore)

    def describe_location(self, key: str) -> str:
        """Name a key's place for a person."""
        store = self._store
        return store.describe_location(key) if isinstance(store, FileStore) else describe_task_state(key)

    # -- read and write ----------------------------------------------------------------------------------------------

    def read(self) -> Record | None:
        """Return the record, or None if nothing was ever recorded.

        :raises InvalidInputError: there is one that cannot be read.
        """
        value = self._get(KEY, _MISSING)
        if value is _MISSING and self._older is not None:
            value = self._older.get(KEY, _MISSING)
        # None is a row whose value is lost (a storage backend's missing blob), which is not "no record".
        return None if value is _MISSING else Record.read(value, self.describe_location(KEY))

    def write(self, record: Record) -> Record:
        """Write the record over whatever is there, and return it with the time at which it was first written."""
        record = _with_time(record)
        self._set(KEY, record.to_json())
        return record

    def declare(self, intent: Record, previous: Record | None) -> Record:
        """Write an intent over the record on which an attempt has decided, and return it as :meth:`write` does.

        :raises RecordError: another attempt is writing the record; nothing may be sent.
        """
        if not isinstance(self._store, FileStore):
            # Of two attempts at the same moment Airflow lets only the one write whose task instance is current.
            return self.write(intent)
        intent = _with_time(intent)
        self._store.declare(intent, previous)
        return intent

    def remove(self, key: str) -> None:
        """Remove a key; a missing one is no error."""
        if self._store is not None:
            self._store.delete(key)

    def new_record(self, tool: Tool, state: State, fingerprint: dict[str, str], **more: Any) -> Record:
        """Return a record of this attempt, not yet written."""
        return Record(
            state=state,
            tool=tool.slug,
            kind=tool.kind,
            fingerprint=fingerprint,
            **asdict(self.retry_state),
            **more,
        )

    def is_regenerate_requested(self) -> bool:
        """Whether a person has asked for a new job; it may be written with or without quotes."""
        value = self._get(REGENERATE)
        return value is True or (isinstance(value, str) and value.strip().lower() == "true")

    def request_regenerate(self) -> None:
        """Ask for a new job, as a person did before the request that was refused."""
        self._set(REGENERATE, True)

    def _get(self, key: str, default: Any = None) -> Any:
        return self._store.get(key, default) if self._store is not None else default

    def _set(self, key: str, value: Any) -> None:
        if self._store is not None:
            self._store.set(key, value, retention=_never_expire())

    # -- decide ------------------------------------------------------------------------------------------------------

    def decide(
        self,
        record: Record | None,
        tool: Tool,
        fingerprint: dict[str, str],
        *,
        on_clear: str,
        on_unknown: str,
        balance: int | None = None,
        check_adopted: Callable[[str], object] = lambda job_id: None,  # noqa: ARG005 (nobody looks)
    ) -> Decision:
        """Decide what this attempt does; see :func:`.decision.decide`. What a person asked for by hand comes first.

        :param record: what this ledger holds, as it was just read.
        :param check_adopted: refuses the id of a job that cannot be adopted, by an error: it takes the record's place.
        :raises InvalidInputError: what a person asked for cannot work.
        :raises MagicHourError: as :func:`.decision.decide`.
        """
        if adopt := self._get(ADOPT):
            job_id = self._parse_adopted_id(adopt, tool)
            if record is None or record.job_id != job_id:
                check_adopted(job_id)
            # Written over without a paid request in between: so what is there is read once more.
            adopted = self._adopt(self.read(), tool, fingerprint, job_id)
            message = f"Resuming Magic Hour job {adopted.job_id}, adopted by hand. Nothing is paid."
            return Decision(adopted, adopted, message)
        if self.is_regenerate_requested():
            message = f"A new job is made and paid for, as {self.describe_location(REGENERATE)} asks."
            return Decision(seen=record, log_message=message)
        return decide(
            record,
            self.retry_state,
            fingerprint,
            on_clear=on_clear,
            on_unknown=on_unknown,
            balance=balance,
            describe_location=self.describe_location,
        )

    def _parse_adopted_id(self, value: Any, tool: Tool) -> str:
        """Return the id of the job that a person wants: given as it is, or as its address in the web library."""
        place = self.describe_location(ADOPT)
        try:
            kind, job_id = (isinstance(value, str) and parse_library_url(value)) or (tool.kind, check_id(value))
        except errors.InvalidInputError as error:
            raise errors.InvalidInputError(f"In {place}: {error.message}") from None
        if kind != tool.kind:
            raise errors.InvalidInputError(
                f"{place} names a job of kind {kind}, and {tool.slug} makes jobs of kind {tool.kind}."
            )
        return job_id

    def _adopt(self, record: Record | None, tool: Tool, fingerprint: dict[str, str], job_id: str) -> Record:
        # Also where it is the recorded job: with this attempt's numbers, so that its own retries are no clear.
        same = record if record is not None and record.job_id == job_id else None
        adopted = self.new_record(
            tool,
            "submitted",
            fingerprint,
            tag=same.tag if same else "",
            history=same.history if same else record.past() if record else [],
            job_id=job_id,
            submitted_at=clock.current().now(),
            files=same.files if same else [],
        )
        adopted = self.write(adopted)
        # The other one first: whoever finds the job wants no new one, and left alone it would pay at the next retry.
        self.remove(REGENERATE)
        self.remove(ADOPT)
        return adopted

    # -- what became of the job --------------------------------------------------------------------------------------

    def mark_resumed(self, record: Record, seen: Record | None) -> Record:
        """Note that this attempt resumes the record, so that its own retries are not taken for a clear.

        :param seen: what the ledger held when that was decided.
        """
        return record if record == seen else self._write_if_current(record)

    def mark_stored(self, record: Record, files: list[dict[str, Any]]) -> Record:
        """Note the files that are stored so far: an attempt that resumes need not download them again."""
        return self._write_if_current(replace(record, files=files))

    def mark_delivered(self, record: Record, files: list[dict[str, Any]], credits_charged: int | None) -> Record:
        """Note that the job's files are stored."""
        return self._write_if_current(replace(record, state="delivered", files=files, credits_charged=credits_charged))

    def mark_ended(self, record: Record, error: errors.MagicHourError) -> Record:
        """Note that the job ended without a result; whether a retry may pay for another is the error's to say."""
        state: State = "failed" if error.retryable else "ended"
        return self._write_if_current(replace(record, state=state, reason=str(error)))

    def _write_if_current(self, record: Record) -> Record:
        """Write what became of a job, unless the record is another job's by now: it must not fall back."""
        current = self.read()
        if current is not None and current.job_id != record.job_id:
            newer = current.job_id or current.tag
            log.warning("The record is of job %s by now; job %s is left out.", newer, record.job_id)
            return record
        return self.write(record)


def _with_time(record: Record) -> Record:
    return replace(record, written_at=record.written_at or format_time(clock.current().now()))


def _never_expire() -> Any:
    try:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE
    except ImportError:  # before Airflow 3.3 nothing expires
        return None
    return NEVER_EXPIRE
