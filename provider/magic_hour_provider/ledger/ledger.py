"""What was paid for: the record that keeps one task instance from paying twice.

There is no idempotency key, no list of jobs and no cancel in Magic Hour's API, so the record is written **before** the
paid request (the intent) and completed right after it. What the next attempt does follows from the record alone
(:mod:`.plan`), and the paid request is sent from one place (:mod:`.submission`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from magic_hour_provider.api import clock, errors
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.models import Submission, check_id, parse_library_url
from magic_hour_provider.ledger.decision import Attempt, Plan, plan
from magic_hour_provider.ledger.file_store import StorageStore, storage_store
from magic_hour_provider.ledger.record import ADOPT, KEY, REGENERATE, Record, RecordError, State, task_state
from magic_hour_provider.metrics import count_credits

log = logging.getLogger(__name__)

_NOTHING = object()
_UNPAID = "Nothing was sent and nothing was charged."
_WRITE_S = 120.0  # how long a record is tried to be written once a job is paid for


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
    :param attempt: where this attempt stands.
    :param older: the files in which an Airflow before 3.3 kept the record: read where the store has none.
    """

    def __init__(self, store: Store | None, attempt: Attempt, *, older: Store | None = None) -> None:
        self._store = store
        self._older = older
        self._before: Record | None = None
        self._planned: Any = _NOTHING
        self._wished = False
        self.attempt = attempt

    @property
    def forgetful(self) -> bool:
        """Whether nothing outlives this attempt: there is no store."""
        return self._store is None

    @property
    def in_airflow(self) -> bool:
        """Whether the record is in Airflow's own store, where the API server can complete it."""
        return self._store is not None and not isinstance(self._store, StorageStore)

    @classmethod
    def of(cls, context: Mapping[str, Any], output_path: str = "", output_template: Any = None) -> Ledger:
        """Open the ledger of the running task instance.

        :param output_path: the task's folder for files, rendered; or empty.
        :param output_template: the same before it was rendered.
        :raises InvalidInputError: the setting ``ledger_path`` cannot work.
        """
        store, older = context.get("task_state_store"), None
        if store is None:
            store = storage_store(context["ti"], output_path, output_template)
        else:
            # What was paid for before Airflow was upgraded, if the setting still says where that is written.
            older = storage_store(context["ti"], "", None)
        if store is None:
            log.warning(
                "Nothing keeps a record of what this task pays for: if this attempt is lost, a retry pays for a new "
                "job. Set [magic_hour] ledger_path, upgrade to Airflow 3.3, or set retries=0, where paying twice "
                "matters."
            )
        return cls(store, Attempt.of(context), older=older)

    def where(self, key: str) -> str:
        """Name a key's place for a person."""
        return self._store.where(key) if isinstance(self._store, StorageStore) else task_state(key)

    def read(self) -> Record | None:
        """Return the record, or None if nothing was ever recorded."""
        value = self._store.get(KEY, _NOTHING) if self._store is not None else _NOTHING
        if value is _NOTHING and self._older is not None:
            value = self._older.get(KEY, _NOTHING)
        # None is a row whose value is lost (a storage backend's missing blob), which is not "no record".
        return None if value is _NOTHING else Record.read(value, self.where(KEY))

    def plan(
        self,
        tool: Tool,
        now: dict[str, str],
        *,
        on_clear: str,
        on_unknown: str,
        balance: Callable[[], int | None] = lambda: None,
    ) -> Plan:
        """Decide what this attempt does; see :func:`plan`. One-shot wishes in the state store come first."""
        self._planned = record = self.read()
        adopt = self._store.get(ADOPT) if self._store is not None else None
        if adopt:
            adopted = self._adopt(record, tool, now, self._adopted_id(adopt, tool))
            return Plan(adopted, f"Going on with Magic Hour job {adopted.job_id}, adopted by hand. Nothing is paid.")
        if self._wishes_anew():
            return Plan(say=f"A new job is made and paid for, as {self.where(REGENERATE)} asks.")
        return plan(
            record, self.attempt, now, on_clear=on_clear, on_unknown=on_unknown, balance=balance, where=self.where
        )

    def _wishes_anew(self) -> bool:
        # A person may write it with or without quotes.
        wish = self._store.get(REGENERATE) if self._store is not None else None
        return wish is True or (isinstance(wish, str) and wish.strip().lower() == "true")

    def _adopted_id(self, wish: Any, tool: Tool) -> str:
        """Return the id of the job that a person wants: given as it is, or as its address in the web library."""
        try:
            kind, job_id = (isinstance(wish, str) and parse_library_url(wish)) or (tool.kind, check_id(wish))
        except errors.InvalidInputError as error:
            raise errors.InvalidInputError(f"In {self.where(ADOPT)}: {error} {_UNPAID}") from None
        if kind != tool.kind:
            raise errors.InvalidInputError(
                f"{self.where(ADOPT)} names a job of kind {kind}, and {tool.slug} makes jobs of kind {tool.kind}. "
                f"{_UNPAID}"
            )
        return job_id

    def _adopt(self, record: Record | None, tool: Tool, now: dict[str, str], job_id: str) -> Record:
        # Written anew also where it is the recorded job: with this attempt's numbers, so that its retries are no clear.
        same = record is not None and record.job_id == job_id
        history = [] if record is None else record.history if same else record.past()
        files, key = (record.files, record.key) if record is not None and same else ([], "")
        adopted = self._new(
            tool,
            "submitted",
            now,
            history=history,
            job_id=job_id,
            submitted_at=clock.current().now(),
            files=files,
            key=key,
        )
        adopted = self._write(adopted)
        # The other wish first: whoever finds the job wants no new one, and left alone it would buy at the next retry.
        self._delete(REGENERATE)
        self._delete(ADOPT)
        return adopted

    def _new(self, tool: Tool, state: State, now: dict[str, str], **more: Any) -> Record:
        return Record(
            state=state,
            tool=tool.slug,
            kind=tool.kind,
            key=more.pop("key", ""),
            fingerprint=now,
            **asdict(self.attempt),
            **more,
        )

    def intend(
        self, tool: Tool, now: dict[str, str], *, key: str, name: str | None = None, balance: int | None = None
    ) -> Record:
        """Write the intent to pay. Whatever happens from here on, the next attempt knows.

        :raises RecordError: another attempt has written a record since this one read it; nothing may be sent.
        """
        self._before = before = self.read()
        if self._planned is not _NOTHING and before != self._planned:
            raise self._overtaken()
        self._wished = self._wishes_anew()
        record = self._new(
            tool, "intent", now, history=before.past() if before else [], key=key, name=name, balance=balance
        )
        return self._declare(record)

    def renew(self, record: Record) -> None:
        """Write an intent again that was taken back for a pause.

        :raises RecordError: another attempt has written a record meanwhile; nothing may be sent.
        """
        if self.read() not in (self._before, record):
            raise self._overtaken()
        self._declare(record)

    def _declare(self, record: Record) -> Record:
        record = self._write(record)
        try:
            if self._wished:
                # Before the request: a wish that outlived it would pay again.
                self._delete(REGENERATE)
        except BaseException:
            self.forget(record)
            raise
        return record

    def forget(self, record: Record) -> None:
        """Take an intent back, as surely nothing was made: what was recorded and wished for before counts again."""
        try:
            now = self.read()
            if now is not None and (now.key, now.state) != (record.key, "intent"):
                log.error("The record has been written meanwhile, for job %s; it is left.", now.job_id)
                return
            if self._wished and self._store is not None:
                self._store.set(REGENERATE, True, retention=_never_expire())
            if self._before is not None:
                self._write(self._before)
            else:
                self._delete(KEY)
        except Exception:  # any failure of the store: what the service said must not be lost over it
            log.exception(
                "The intent #%s could not be taken back: the next attempt will not know that nothing was made.",
                record.key,
            )

    def _overtaken(self) -> RecordError:
        return RecordError(
            f"While this attempt was on its way, another one wrote {self.where(KEY)}, which says what this task has "
            "paid for. This one has sent nothing and paid nothing; a retry goes on from the record."
        )

    def submitted(self, record: Record, submission: Submission) -> Record:
        """Complete the intent with the paid job's id. Tried for two minutes, as the id must not be lost.

        :raises SubmissionUnknownError: the store could not be written; the error carries the id.
        """
        paid = replace(
            record,
            state="submitted",
            job_id=submission.id,
            submitted_at=clock.current().now(),
            credits_charged=submission.credits_charged,
        )
        # First of all, and in words: whatever happens to this process now, the id can be read in its log.
        log.info("Magic Hour accepted job %s (%s). See %s", submission.id, record.tool, paid.page or "Magic Hour")
        end = clock.current().now() + _WRITE_S
        pause = 1.0
        while True:
            try:
                now = self.read()
                if now is not None and now.key != record.key:
                    log.error("Another attempt has recorded job %s meanwhile; it goes into the history.", now.job_id)
                    paid = replace(paid, history=now.past())
                return self._write(paid)
            except Exception as error:  # any failure of the store: the job is paid for already
                if clock.current().now() + pause > end:
                    sentence = (
                        f"Magic Hour job {submission.id} ({record.tool}) was made and charged "
                        f"({submission.credits_charged} credits), but its id could not be recorded: {error}. "
                        f'See {paid.page or "Magic Hour"}. To go on with it put "{submission.id}", with the quotes, '
                        f"into {self.where(ADOPT)} and clear the task."
                    )
                    log.error(sentence)
                    raise errors.SubmissionUnknownError(sentence, job_id=submission.id, created=True) from error
                log.warning("The record of paid job %s could not be written yet (%s).", submission.id, error)
                clock.current().sleep(pause)
                pause = min(pause * 2, 15.0)

    def identified(self, record: Record) -> Record | None:
        """Return the record if a webhook has named the intent's job meanwhile (:mod:`.plugin.orphans`), else None."""
        try:
            now = self.read()
        except Exception:  # any failure of the store: what is known of the lost answer must not be lost over it
            log.exception("The record of the paid request #%s could not be read.", record.key)
            return None
        return now if now is not None and (now.key, now.state) == (record.key, "submitted") else None

    def resumed(self, record: Record) -> Record:
        """Note that this attempt goes on with the record, so that its own retries are not taken for a clear."""
        before = self.read()
        return record if record == before else self._write(record)

    def stored(self, record: Record, files: list[dict[str, Any]]) -> Record:
        """Note the files that are stored so far: an attempt that goes on need not fetch them again."""
        return self._advance(replace(record, files=files))

    def delivered(self, record: Record, files: list[dict[str, Any]], credits_charged: int | None) -> Record:
        """Note that the job's files are stored."""
        if record.state != "delivered":
            count_credits(credits_charged, record.tool)
        return self._advance(replace(record, state="delivered", files=files, credits_charged=credits_charged))

    def ended(self, record: Record, error: errors.MagicHourError) -> Record:
        """Note that the job ended without a result; whether a retry may pay for another is the error's to say."""
        return self._advance(replace(record, state="failed" if error.retryable else "ended", reason=str(error)))

    def _advance(self, record: Record) -> Record:
        """Write what became of a job, unless the record is another's by now: it must not fall back."""
        now = self.read()
        if now is not None and now.job_id != record.job_id:
            log.warning("The record is of job %s by now; job %s is left out.", now.job_id or now.key, record.job_id)
            return record
        return self._write(record)

    def _write(self, record: Record) -> Record:
        record = replace(record, written_at=record.written_at or self._stamp())
        if self._store is not None:
            self._store.set(KEY, asdict(record), retention=_never_expire())
        return record

    def _stamp(self) -> str:
        return datetime.fromtimestamp(clock.current().now(), UTC).isoformat(timespec="seconds")

    def _delete(self, key: str) -> None:
        if self._store is not None:
            self._store.delete(key)


def _never_expire() -> Any:
    try:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE
    except ImportError:  # before Airflow 3.3 nothing expires
        return None
    return NEVER_EXPIRE
