"""What was paid for: the record that keeps one task instance from paying twice.

There is no idempotency key, no list of jobs and no cancel in Magic Hour's API, so the record is written **before** the
paid request (the intent) and completed right after it. What the next attempt does follows from the record alone
(:mod:`.plan`), and the paid request is sent from one place (:mod:`.submission`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.models import Submission, check_id, parse_library_url
from magic_hour_provider.ledger.decision import Decision, RetryState, decide
from magic_hour_provider.ledger.file_store import StorageStore, storage_store
from magic_hour_provider.ledger.record import ADOPT, KEY, REGENERATE, Record, RecordError, State, task_state
from magic_hour_provider.metrics import count_credits
from magic_hour_provider.times import format_time

log = logging.getLogger(__name__)

_NOTHING = object()
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
    :param retry_state: where this attempt stands.
    :param older: the files in which an Airflow before 3.3 kept the record: read where the store has none.
    """

    def __init__(self, store: Store | None, retry_state: RetryState, *, older: Store | None = None) -> None:
        self._store = store
        self._older = older
        self._before: Record | None = None
        self._planned: Any = _NOTHING
        self._wished = False
        self.retry_state = retry_state

    @property
    def is_ephemeral(self) -> bool:
        """Whether nothing outlives this attempt: there is no store."""
        return self._store is None

    @property
    def in_airflow(self) -> bool:
        """Whether the record is in Airflow's own store, where the API server can complete it."""
        return self._store is not None and not isinstance(self._store, StorageStore)

    @classmethod
    def open(cls, context: Mapping[str, Any], output_path: str = "", output_template: Any = None) -> Ledger:
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
        return cls(store, RetryState.of(context), older=older)

    def describe_location(self, key: str) -> str:
        """Name a key's place for a person."""
        return self._store.describe_location(key) if isinstance(self._store, StorageStore) else task_state(key)

    def read(self) -> Record | None:
        """Return the record, or None if nothing was ever recorded."""
        value = self._store.get(KEY, _NOTHING) if self._store is not None else _NOTHING
        if value is _NOTHING and self._older is not None:
            value = self._older.get(KEY, _NOTHING)
        # None is a row whose value is lost (a storage backend's missing blob), which is not "no record".
        return None if value is _NOTHING else Record.read(value, self.describe_location(KEY))

    def decide(
        self,
        tool: Tool,
        fingerprint: dict[str, str],
        *,
        on_clear: str,
        on_unknown: str,
        get_balance: Callable[[], int | None] = lambda: None,
    ) -> Decision:
        """Decide what this attempt does; see :func:`.decide`. One-shot wishes in the state store come first."""
        self._planned = record = self.read()
        adopt = self._store.get(ADOPT) if self._store is not None else None
        if adopt:
            adopted = self._adopt(record, tool, fingerprint, self._adopted_id(adopt, tool))
            return Decision(adopted, f"Resuming Magic Hour job {adopted.job_id}, adopted by hand. Nothing is paid.")
        if self._regenerate_requested():
            where = self.describe_location(REGENERATE)
            return Decision(log_message=f"A new job is made and paid for, as {where} asks.")
        return decide(
            record,
            self.retry_state,
            fingerprint,
            on_clear=on_clear,
            on_unknown=on_unknown,
            get_balance=get_balance,
            describe_location=self.describe_location,
        )

    def _regenerate_requested(self) -> bool:
        # A person may write it with or without quotes.
        wish = self._store.get(REGENERATE) if self._store is not None else None
        return wish is True or (isinstance(wish, str) and wish.strip().lower() == "true")

    def _adopted_id(self, wish: Any, tool: Tool) -> str:
        """Return the id of the job that a person wants: given as it is, or as its address in the web library."""
        try:
            kind, job_id = (isinstance(wish, str) and parse_library_url(wish)) or (tool.kind, check_id(wish))
        except errors.InvalidInputError as error:
            raise errors.InvalidInputError(f"In {self.describe_location(ADOPT)}: {error.message}") from None
        if kind != tool.kind:
            raise errors.InvalidInputError(
                f"{self.describe_location(ADOPT)} names a job of kind {kind}, and {tool.slug} makes jobs of kind "
                f"{tool.kind}."
            )
        return job_id

    def _adopt(self, record: Record | None, tool: Tool, fingerprint: dict[str, str], job_id: str) -> Record:
        # Written anew also where it is the recorded job: with this attempt's numbers, so that its retries are no clear.
        same = record is not None and record.job_id == job_id
        history = [] if record is None else record.history if same else record.past()
        adopted = self._new(
            tool,
            "submitted",
            fingerprint,
            tag=record.tag if record is not None and same else "",
            history=history,
            job_id=job_id,
            submitted_at=clock.current().now(),
            files=record.files if record is not None and same else [],
        )
        adopted = self._write(adopted)
        # The other wish first: whoever finds the job wants no new one, and left alone it would buy at the next retry.
        self._delete(REGENERATE)
        self._delete(ADOPT)
        return adopted

    def _new(self, tool: Tool, state: State, fingerprint: dict[str, str], **more: Any) -> Record:
        return Record(
            state=state,
            tool=tool.slug,
            kind=tool.kind,
            fingerprint=fingerprint,
            **asdict(self.retry_state),
            **more,
        )

    def write_intent(
        self, tool: Tool, fingerprint: dict[str, str], *, tag: str, name: str | None = None, balance: int | None = None
    ) -> Record:
        """Write the intent to pay. Whatever happens from here on, the next attempt knows.

        :raises RecordError: another attempt has written a record since this one read it; nothing may be sent.
        """
        self._before = before = self.read()
        if self._planned is not _NOTHING and before != self._planned:
            raise self._concurrent_write_error()
        self._wished = self._regenerate_requested()
        record = self._new(
            tool, "intent", fingerprint, history=before.past() if before else [], tag=tag, name=name, balance=balance
        )
        return self._declare(record)

    def rewrite_intent(self, record: Record) -> None:
        """Write an intent again that was taken back for a pause.

        :raises RecordError: another attempt has written a record meanwhile; nothing may be sent.
        """
        if self.read() not in (self._before, record):
            raise self._concurrent_write_error()
        self._declare(record)

    def _declare(self, record: Record) -> Record:
        record = self._write(record)
        try:
            if self._wished:
                # Before the request: a wish that outlived it would pay again.
                self._delete(REGENERATE)
        except BaseException:
            self.withdraw_intent(record)
            raise
        return record

    def withdraw_intent(self, record: Record) -> None:
        """Take an intent back, as surely nothing was made: what was recorded and wished for before counts again."""
        try:
            current = self.read()
            if current is not None and (current.tag, current.state) != (record.tag, "intent"):
                log.error("The record has been written meanwhile, for job %s; it is left.", current.job_id)
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
                record.tag,
            )

    def _concurrent_write_error(self) -> RecordError:
        return RecordError(
            f"While this attempt was on its way, another one wrote {self.describe_location(KEY)}, which says what this "
            "task has paid for.",
            next_step="A retry resumes from the record.",
        )

    def mark_submitted(self, record: Record, submission: Submission) -> Record:
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
                current = self.read()
                if current is not None and current.tag != record.tag:
                    log.error("Another attempt has recorded job %s: it goes into the history.", current.job_id)
                    paid = replace(paid, history=current.past())
                return self._write(paid)
            except Exception as error:  # any failure of the store: the job is paid for already
                if clock.current().now() + pause > end:
                    lost = errors.SubmissionUnknownError(
                        f"Magic Hour job {submission.id} ({record.tool}) was created and charged "
                        f"({submission.credits_charged} credits), but its id could not be recorded: {error}.",
                        next_step=f'See {paid.page or "Magic Hour"}. To resume it put "{submission.id}", with the '
                        f"quotes, into {self.describe_location(ADOPT)} and clear the task.",
                        job_id=submission.id,
                        created=True,
                    )
                    log.error(str(lost))
                    raise lost from error
                log.warning("The record of paid job %s could not be written yet (%s).", submission.id, error)
                clock.current().sleep(pause)
                pause = min(pause * 2, 15.0)

    def find_identified(self, record: Record) -> Record | None:
        """Return the record if a webhook has named the intent's job meanwhile (:mod:`.plugin.orphans`), else None."""
        try:
            current = self.read()
        except Exception:  # any failure of the store: what is known of the lost answer must not be lost over it
            log.exception("The record of the paid request #%s could not be read.", record.tag)
            return None
        return current if current is not None and (current.tag, current.state) == (record.tag, "submitted") else None

    def mark_resumed(self, record: Record) -> Record:
        """Note that this attempt goes on with the record, so that its own retries are not taken for a clear."""
        before = self.read()
        return record if record == before else self._write(record)

    def mark_stored(self, record: Record, files: list[dict[str, Any]]) -> Record:
        """Note the files that are stored so far: an attempt that goes on need not fetch them again."""
        return self._write_if_current(replace(record, files=files))

    def mark_delivered(self, record: Record, files: list[dict[str, Any]], credits_charged: int | None) -> Record:
        """Note that the job's files are stored."""
        if record.state != "delivered":
            count_credits(credits_charged, record.tool)
        return self._write_if_current(replace(record, state="delivered", files=files, credits_charged=credits_charged))

    def mark_ended(self, record: Record, error: errors.MagicHourError) -> Record:
        """Note that the job ended without a result; whether a retry may pay for another is the error's to say."""
        state: State = "failed" if error.retryable else "ended"
        return self._write_if_current(replace(record, state=state, reason=str(error)))

    def _write_if_current(self, record: Record) -> Record:
        """Write what became of a job, unless the record is another's by now: it must not fall back."""
        current = self.read()
        if current is not None and current.job_id != record.job_id:
            newer = current.job_id or current.tag
            log.warning("The record is of job %s by now; job %s is left out.", newer, record.job_id)
            return record
        return self._write(record)

    def _write(self, record: Record) -> Record:
        record = replace(record, written_at=record.written_at or format_time(clock.current().now()))
        if self._store is not None:
            self._store.set(KEY, record.to_json(), retention=_never_expire())
        return record

    def _delete(self, key: str) -> None:
        if self._store is not None:
            self._store.delete(key)


def _never_expire() -> Any:
    try:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE
    except ImportError:  # before Airflow 3.3 nothing expires
        return None
    return NEVER_EXPIRE
