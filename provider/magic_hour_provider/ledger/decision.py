"""The decision whether an attempt may pay: one table over the record, the clear, the fingerprint and two options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from magic_hour_provider.api import errors
from magic_hour_provider.ledger.fingerprint import (
    find_changed_fields,
    find_own_fields,
    find_unknown_fields,
    has_same_arguments,
)
from magic_hour_provider.ledger.messages import (
    changed_item_error,
    describe_job,
    unknown_item_error,
    unknown_submission_error,
)
from magic_hour_provider.ledger.places.directions import Directions
from magic_hour_provider.ledger.record import Record


@dataclass(frozen=True)
class RetryState:
    """Where an attempt stands. A clear raises all three numbers; a retry raises none.

    :param extra_tries: the task instance's ``max_tries`` beyond the task's ``retries``.
    :param clear_number: how often something in the DAG run was cleared.
    :param max_tries: the task instance's own number; editing the task's ``retries`` leaves it as it is.
    :param clear_counter: what ``clear_number`` counts: ``run``, or ``tries``, where ``max_tries`` stands for it.
    """

    extra_tries: int = 0
    clear_number: int = 0
    max_tries: int = 0
    clear_counter: str = "run"

    def clears(self, record: Record) -> bool:
        """Whether the task was cleared since the record was written or last resumed."""
        # Two counters say nothing of each other: Airflow was upgraded since.
        is_higher = self.clear_number > record.clear_number or self.clear_counter != record.clear_counter
        return self.extra_tries > record.extra_tries and is_higher and self.max_tries != record.max_tries

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> RetryState:
        """Read the numbers from Airflow's context."""
        ti, task, run = context["ti"], context["task"], context["dag_run"]
        most = ti.max_tries or 0
        # Airflow 3.1 raises the run's number only where the run had ended (models/taskinstance.py of 3.1.8,
        # clear_task_instances), but a task's own number nowhere but in a clear: there that one has to do.
        counter = "run" if AIRFLOW_V_3_2_PLUS else "tries"
        number = (getattr(run, "clear_number", None) or 0) if counter == "run" else most
        return cls(most - (task.retries or 0), number, most, counter)


@dataclass(frozen=True)
class MappedItem:
    """The item that an attempt of a mapped task was given.

    :param is_own: whether a field of the fingerprint differs by map index.
    """

    map_index: int
    is_own: Callable[[str], bool]


@dataclass(frozen=True)
class Decision:
    """What this attempt does: resume a job, or submit a new one.

    :param record: the record of the job to resume, or None to submit a new job.
    :param seen: what the ledger held when this was decided: before anything is sent it must still hold the same.
    :param log_message: the attempt's first log line, if there is something to say.
    """

    record: Record | None = None
    seen: Record | None = None
    log_message: str | None = None


def decide(
    record: Record | None,
    state: RetryState,
    fingerprint: Mapping[str, str],
    *,
    on_clear: str,
    on_unknown: str,
    balance: int | None = None,
    item: MappedItem | None = None,
    directions: Directions | None = None,
) -> Decision:
    """Decide from the record alone whether this attempt may pay.

    :param record: what the ledger holds.
    :param fingerprint: of this attempt's request.
    :param on_clear: ``reuse`` or ``regenerate``.
    :param on_unknown: ``fail`` or ``resubmit``.
    :param balance: the account's credits now, to be named beside those before the lost request; None: not known.
    :param item: of a mapped task.
    :param directions: how a person gives an instruction; None: in Airflow's task state.
    :raises SubmissionUnknownError: a request may have been sent whose response nobody has.
    :raises NotRetryableError: the job ended for good, and only a clear may pay for another.
    :raises InvalidInputError: the job is of another item than this attempt was given.
    :raises TransferError: it may be, as a file cannot be read now; a retry may read it.
    """
    if record is None:
        return Decision()
    cleared = state.clears(record)
    changed = find_changed_fields(record.fingerprint, fingerprint)
    regenerates = cleared and on_clear == "regenerate"

    def submit(log_message: str) -> Decision:
        return Decision(seen=record, log_message=log_message)

    if record.state == "intent":
        if regenerates or on_unknown == "resubmit":
            job = describe_job(record)
            return submit(f"Submitting again although it is unknown whether {job} was made and charged.")
        raise unknown_submission_error(record, balance=balance, directions=directions)
    if record.state == "failed":
        return submit(f"Job {record.job_id} failed and was refunded; this attempt pays for one new job.")
    if record.state == "ended":
        if cleared:
            return submit(f"The task was cleared after job {record.job_id} ended; a new job is made and paid for.")
        reason = record.reason or f"Magic Hour job {record.job_id} ended for good."
        raise errors.NotRetryableError(reason, charge=errors.Charge.NONE)
    if regenerates or (cleared and changed):
        why = "on_clear is 'regenerate'" if regenerates else f"these fields changed: {', '.join(changed)}"
        return submit(f"The task was cleared and {why}: a new job is made and paid for, besides job {record.job_id}.")
    # Of the same arguments a function may make another request, by chance or by the time. They are its item.
    if item is not None and not has_same_arguments(record.fingerprint, fingerprint):
        # A field may be the index's own in one of the two attempts alone, as where its item leaves it out now.
        recorded = find_own_fields(record.fingerprint)
        if not cleared and (own := [name for name in changed if item.is_own(name) or name in recorded]):
            raise changed_item_error(record, item.map_index, own, directions or Directions())
        if unknown := find_unknown_fields(record.fingerprint, fingerprint):
            raise unknown_item_error(record, item.map_index, unknown, fingerprint, directions or Directions())
    message = f"Not paid again: resuming Magic Hour job {record.job_id} of {record.written_at}."
    if changed:
        message += (
            f" These fields changed since it was paid for and are not applied: {', '.join(changed)}."
            " Clear the task to make a new job with them."
        )
    elif cleared:
        message += f" {(directions or Directions()).regenerate()} Or set on_clear='regenerate', and clear again."
    return Decision(replace(record, **asdict(state)), record, message)
