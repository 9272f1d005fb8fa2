"""What was paid for: the record that keeps one task instance from paying twice.

There is no idempotency key, no list of jobs and no cancel in Magic Hour's API, so the record is written **before** the
paid request (the intent) and completed right after it. What the next attempt does follows from the record alone
(:func:`plan`), and the paid request is sent from one place (:func:`submit_once`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.clock import CLOCK, Clock
from magic_hour_provider.api.jobs import Submission, check_id
from magic_hour_provider.record import (
    ADOPT,
    KEY,
    REGENERATE,
    Record,
    State,
    changed_fields,
    named,
    task_state,
    unknown_sentence,
)
from magic_hour_provider.storage_ledger import StorageStore, storage_store

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


@dataclass(frozen=True)
class Attempt:
    """Where an attempt stands. A clear raises all three numbers; a retry raises none.

    :param extra_tries: the task instance's ``max_tries`` beyond the task's ``retries``.
    :param clear_number: how often something in the DAG run was cleared.
    :param max_tries: the task instance's own number; editing the task's ``retries`` leaves it as it is.
    """

    extra_tries: int = 0
    clear_number: int = 0
    max_tries: int = 0

    def clears(self, record: Record) -> bool:
        """Whether the task was cleared since the record was written or last gone on with."""
        return (
            self.extra_tries > record.extra_tries
            and self.clear_number > record.clear_number
            and self.max_tries != record.max_tries
        )

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Attempt:
        """Read the numbers from Airflow's context."""
        ti, task, run = context["ti"], context["task"], context["dag_run"]
        most = ti.max_tries or 0
        # Airflow 3.1 raises the run's number only where the run had ended (models/taskinstance.py of 3.1.8,
        # clear_task_instances), but a task's own number nowhere but in a clear: there that one has to do.
        number = (getattr(run, "clear_number", None) or 0) if AIRFLOW_V_3_2_PLUS else most
        return cls(most - (task.retries or 0), number, most)


@dataclass(frozen=True)
class Plan:
    """What this attempt does.

    :param record: the record to go on with, or None to submit a new job.
    :param say: the attempt's first log line, if there is something to say.
    """

    record: Record | None = None
    say: str | None = None


def plan(
    record: Record | None,
    attempt: Attempt,
    now: Mapping[str, str],
    *,
    on_clear: str,
    on_unknown: str,
    balance: Callable[[], int | None] = lambda: None,
    where: Callable[[str], str] = task_state,
) -> Plan:
    """Decide from the record alone whether this attempt may pay.

    :param now: fingerprint of this attempt's request.
    :param on_clear: ``reuse`` or ``regenerate``.
    :param on_unknown: ``fail`` or ``resubmit``.
    :param balance: asks for the account's credits, to be named beside those before the request.
    :param where: names a key's place for a person.
    :raises SubmissionUnknownError: a request may have been sent whose answer nobody has.
    :raises JobCanceledError: the job ended for good, and only a clear may pay for another.
    """
    if record is None:
        return Plan()
    cleared = attempt.clears(record)
    changed = changed_fields(record.fingerprint, now)
    again = cleared and on_clear == "regenerate"
    if record.state == "intent":
        if again or on_unknown == "resubmit":
            return Plan(say=f"Submitting again although it is unknown whether {named(record)} was made and charged.")
        raise errors.SubmissionUnknownError(
            unknown_sentence(record, "an earlier attempt ended while it was sending", balance=balance(), where=where)
        )
    if record.state == "failed":
        return Plan(say=f"Job {record.job_id} failed and was refunded; this attempt pays for one new job.")
    if record.state == "ended":
        if cleared:
            return Plan(say=f"The task was cleared after job {record.job_id} ended; a new job is made and paid for.")
        raise errors.JobCanceledError(record.reason or f"Magic Hour job {record.job_id} ended for good.")
    if again or (cleared and changed):
        why = "on_clear is 'regenerate'" if again else f"these fields changed: {', '.join(changed)}"
        return Plan(say=f"The task was cleared and {why}: a new job is made and paid for, besides job {record.job_id}.")
    when = record.written_at
    say = f"Not paid again: going on with Magic Hour job {record.job_id} of {when}."
    if changed:
        say += (
            f" These fields changed since it was paid for and are not applied: {', '.join(changed)}."
            " Clear the task to make a new job with them."
        )
    elif cleared:
        say += f" For a new one set on_clear='regenerate', or put true into {where(REGENERATE)}, and clear again."
    return Plan(replace(record, **asdict(attempt)), say)


class Ledger:
    """Reads and writes the record of one task instance.

    :param store: Airflow's task state store, or files in its place, or None where there is neither.
    :param attempt: where this attempt stands.
    """

    def __init__(self, store: Store | None, attempt: Attempt, clock: Clock = CLOCK) -> None:
        self._store = store
        self._before: Record | None = None
        self.attempt = attempt
        self.clock = clock

    @property
    def forgetful(self) -> bool:
        """Whether nothing outlives this attempt: there is no store."""
        return self._store is None

    @classmethod
    def of(
        cls, context: Mapping[str, Any], clock: Clock = CLOCK, output_path: str = "", output_template: Any = None
    ) -> Ledger:
        """Open the ledger of the running task instance.

        :param output_path: the task's folder for files, rendered; or empty.
        :param output_template: the same before it was rendered.
        :raises BadInputError: the setting ``ledger_path`` cannot work.
        """
        store = context.get("task_state_store")
        if store is None:
            store = storage_store(context["ti"], output_path, output_template)
        if store is None:
            log.warning(
                "Nothing keeps a record of what this task pays for: if this attempt is lost, a retry pays for a new "
                "job. Set [magic_hour] ledger_path, upgrade to Airflow 3.3, or set retries=0, where paying twice "
                "matters."
            )
        return cls(store, Attempt.of(context), clock)

    def where(self, key: str) -> str:
        """Name a key's place for a person."""
        return self._store.where(key) if isinstance(self._store, StorageStore) else task_state(key)

    def read(self) -> Record | None:
        """Return the record, or None if nothing was ever recorded."""
        value = self._store.get(KEY, _NOTHING) if self._store is not None else _NOTHING
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
        record = self.read()
        adopt = self._store.get(ADOPT) if self._store is not None else None
        if adopt:
            adopted = self._adopt(record, tool, now, check_id(adopt))
            return Plan(adopted, f"Going on with Magic Hour job {adopted.job_id}, adopted by hand. Nothing is paid.")
        if self._store is not None and self._store.get(REGENERATE) is True:
            return Plan(say=f"A new job is made and paid for, as {self.where(REGENERATE)} asks.")
        return plan(
            record, self.attempt, now, on_clear=on_clear, on_unknown=on_unknown, balance=balance, where=self.where
        )

    def _adopt(self, record: Record | None, tool: Tool, now: dict[str, str], job_id: str) -> Record:
        # Written anew also where it is the recorded job: with this attempt's numbers, so that its retries are no clear.
        same = record is not None and record.job_id == job_id
        history = [] if record is None else record.history if same else record.past()
        files, key = (record.files, record.key) if record is not None and same else ([], "")
        adopted = self._new(
            tool, "submitted", now, history=history, job_id=job_id, submitted_at=self.clock.now(), files=files, key=key
        )
        adopted = self._write(adopted)
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
        """Write the intent to pay. Whatever happens from here on, the next attempt knows."""
        self._before = before = self.read()
        record = self._new(
            tool, "intent", now, history=before.past() if before else [], key=key, name=name, balance=balance
        )
        record = self._write(record)
        # Before the request: a wish that outlived it would pay again.
        self._delete(REGENERATE)
        return record

    def forget(self, record: Record) -> None:
        """Take an intent back, as surely nothing was made: what was recorded before it counts again."""
        try:
            if self._before is not None:
                self._write(self._before)
            else:
                self._delete(KEY)
        except Exception:  # any failure of the store: what the service said must not be lost over it
            log.exception(
                "The intent #%s could not be taken back: the next attempt will not know that nothing was made.",
                record.key,
            )

    def renew(self, record: Record) -> None:
        """Write an intent again that was taken back for a pause."""
        self._write(record)

    def submitted(self, record: Record, submission: Submission) -> Record:
        """Complete the intent with the paid job's id. Tried for two minutes, as the id must not be lost.

        :raises SubmissionUnknownError: the store could not be written; the error carries the id.
        """
        paid = replace(
            record,
            state="submitted",
            job_id=submission.id,
            submitted_at=self.clock.now(),
            credits_charged=submission.credits_charged,
        )
        # First of all, and in words: whatever happens to this process now, the id can be read in its log.
        log.info("Magic Hour accepted job %s (%s). See %s", submission.id, record.tool, paid.page or "Magic Hour")
        end = self.clock.now() + _WRITE_S
        pause = 1.0
        while True:
            try:
                return self._write(paid)
            except Exception as error:  # any failure of the store: the job is paid for already
                if self.clock.now() + pause > end:
                    sentence = (
                        f"Magic Hour job {submission.id} ({record.tool}) was made and charged "
                        f"({submission.credits_charged} credits), but its id could not be recorded: {error}. "
                        f'See {paid.page or "Magic Hour"}. To go on with it put "{submission.id}", with the quotes, '
                        f"into {self.where(ADOPT)} and clear the task."
                    )
                    log.error(sentence)
                    raise errors.SubmissionUnknownError(sentence, job_id=submission.id, made=True) from error
                log.warning("The record of paid job %s could not be written yet (%s).", submission.id, error)
                self.clock.sleep(pause)
                pause = min(pause * 2, 15.0)

    def resumed(self, record: Record) -> Record:
        """Note that this attempt goes on with the record, so that its own retries are not taken for a clear."""
        before = self.read()
        return record if record == before else self._write(record)

    def stored(self, record: Record, files: list[dict[str, Any]]) -> Record:
        """Note the files that are stored so far: an attempt that goes on need not fetch them again."""
        return self._write(replace(record, files=files))

    def delivered(self, record: Record, files: list[dict[str, Any]], credits_charged: int | None) -> Record:
        """Note that the job's files are stored."""
        return self._write(replace(record, state="delivered", files=files, credits_charged=credits_charged))

    def ended(self, record: Record, error: errors.MagicHourError) -> Record:
        """Note that the job ended without a result; whether a retry may pay for another is the error's to say."""
        return self._write(replace(record, state="failed" if error.can_retry else "ended", reason=str(error)))

    def _write(self, record: Record) -> Record:
        record = replace(record, written_at=record.written_at or self._stamp())
        if self._store is not None:
            self._store.set(KEY, asdict(record), retention=_never_expire())
        return record

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self.clock.now(), UTC).isoformat(timespec="seconds")

    def _delete(self, key: str) -> None:
        if self._store is not None:
            self._store.delete(key)


def _never_expire() -> Any:
    try:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE
    except ImportError:  # before Airflow 3.3 nothing expires
        return None
    return NEVER_EXPIRE
