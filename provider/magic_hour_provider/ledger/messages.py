"""The errors of an attempt that may not pay: what is known, and what a person can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from magic_hour_provider.api.errors import (
    Charge,
    InvalidInputError,
    MagicHourError,
    SubmissionUnknownError,
    TransferError,
    describe_credits,
    with_article,
)
from magic_hour_provider.ledger.fingerprint import UNREADABLE
from magic_hour_provider.ledger.places.directions import Directions
from magic_hour_provider.ledger.record import KEY, Record, RecordError

CLEAR_WARNING = (
    'On this Airflow a clear discards the record of what this task is about to pay for, unless "Keep task state" is '
    "ticked. It pays for nothing by itself: the attempt after it finds that there was a job, fails, and asks whether "
    "to resume that one or to make a new one. With [magic_hour] ledger_path the record outlives a clear."
)
"""Logged before a paid request where the record is only in a store that a clear discards."""


def describe_job(record: Record) -> str:
    """Describe the job of a record for a person, by its name."""
    return f"{with_article(record.tool)} job {f'named {record.name!r}' if record.name else 'without a name'}"


def unknown_submission_error(
    record: Record,
    why: str = "An earlier attempt ended while it was sending the paid request; if a response still came, that "
    "attempt's log names the job.",
    *,
    balance: int | None = None,
    directions: Directions | None = None,
    resubmits: bool = False,
    webhook_may_identify: bool = False,
    **more: Any,
) -> SubmissionUnknownError:
    """Return the error of a submission whose outcome is unknown: what is known of it, and what a person can do.

    :param record: the intent.
    :param why: what happened, as a whole sentence.
    :param balance: credits now, if known.
    :param directions: how a person gives an instruction; None: in Airflow's task state.
    :param resubmits: whether the next attempt sends the request again.
    :param webhook_may_identify: whether a webhook may identify the job before the next attempt.
    :param more: as of :class:`SubmissionUnknownError`.
    """
    message = f"{why} It was for {describe_job(record)}, at {record.written_at} (UTC)."
    if record.balance is not None:
        message += f" The balance before was {describe_credits(record.balance)}"
        message += f", now it is {balance}." if balance is not None else "."
    then = (
        "As on_unknown_submission is 'resubmit', the next attempt sends the request again, which may pay twice."
        if resubmits
        else "Nothing is sent again by itself; a retry resumes the job if a webhook has identified it by then."
        if webhook_may_identify
        else "Nothing is sent again by itself."
    )
    way = directions or Directions()
    found = "if it is there, resume it, which pays nothing; if not, ask for a new one."
    if not way.is_kept:
        found = "if it is not there, clear the task."
    return SubmissionUnknownError(
        message,
        next_step=f"{then} Look for the job at https://magichour.ai/my-library (tag #{record.tag}): {found} "
        f"{way.choose()}"
        + ("" if resubmits or not way.is_kept else " Or set on_unknown_submission='resubmit', which may pay twice."),
        **more,
    )


def deleted_run_error(record: Record, where: str, directions: Directions) -> InvalidInputError:
    """Return the error of an attempt that finds the record of a deleted run of the same id.

    :param record: of that run.
    :param where: its place, for a person.
    :param directions: how a person gives an instruction.
    """
    old = f"job {record.job_id}" if record.job_id else f"the paid request #{record.tag}"
    return InvalidInputError(
        f"This DAG run found a record that is not its own, in {where}: of {describe_job(record)}, {old} of "
        f"{record.written_at} (UTC). So the run, or this task of it, was deleted and made again with the same id. "
        "Nothing was sent, as the job of before may be the one that is wanted.",
        next_step=f"Resume that one, or ask for a new one. {directions.choose(record.job_id)} See "
        f"{record.page or 'https://magichour.ai/my-library'}",
    )


def changed_item_error(
    record: Record, map_index: int, changed: Sequence[str], directions: Directions
) -> InvalidInputError:
    """Return the error of a map index that is given another item than the one whose job was paid for.

    :param record: of that job.
    :param changed: the fields that differ by map index and have changed.
    :param directions: how a person gives an instruction.
    """
    return InvalidInputError(
        f"Map index {map_index} has paid for job {record.job_id}, {describe_job(record)}, at {record.written_at} "
        "(UTC). This attempt was given another item: of the fields that differ by map index, these changed: "
        f"{', '.join(changed)}. So the recorded job is not returned for it, and nothing was sent.",
        charge=Charge.KEPT,
        next_step="Clear the task to make and pay for the item of now. If the recorded job is the right one, resume "
        f"it. {directions.adopt(record.job_id or '')} See {record.page or 'https://magichour.ai/my-library'}",
    )


def unknown_item_error(
    record: Record, map_index: int, unknown: Sequence[str], fingerprint: Mapping[str, str], directions: Directions
) -> MagicHourError:
    """Return the error of a map index whose job may have been made for another item than that of now.

    :param record: of that job, written before the places of an item's files were recorded.
    :param unknown: the fields with the files that cannot be compared.
    :param fingerprint: of this attempt's request: what it cannot read a retry may read.
    :param directions: how a person gives an instruction.
    """
    unreadable = [name for name in unknown if fingerprint[name] == UNREADABLE]
    kind: type[MagicHourError] = TransferError if unreadable else InvalidInputError
    why = "cannot be read now" if unreadable else "could not be read when the job was paid for"
    return kind(
        f"Map index {map_index} has paid for job {record.job_id}, {describe_job(record)}, at {record.written_at} "
        f"(UTC). Whether that was for the item of now is unknown: its record does not say where the files of "
        f"{', '.join(unknown)} were, and what is there {why}. So the recorded job is not returned for it, and nothing "
        "was sent.",
        charge=Charge.KEPT,
        next_step=(
            "A retry compares the files once they can be read: put them back, or wait for their storage. "
            * bool(unreadable)
        )
        + f"If the recorded job is the right one, resume it. {directions.choose(record.job_id)} See "
        f"{record.page or 'https://magichour.ai/my-library'}",
    )


def forgetful_place_error(where: str) -> RecordError:
    """Return the error of a place that has not what was just written there.

    :param where: the place, for a person.
    """
    return RecordError(
        f"{where[:1].upper()}{where[1:]} is not what this attempt wrote there: it does not keep what it is given, "
        "or another attempt has begun. Its word that nothing was paid for before is not enough to pay.",
        next_step="A retry reads it again.",
    )


def lost_record_error(why: str, directions: Directions, *, job_ids: tuple[str, ...] = ()) -> RecordError:
    """Return the error of a record that is missing, where something is left that shows that there was one.

    :param why: what is left, as the end of a sentence.
    :param directions: how a person gives an instruction.
    :param job_ids: of the jobs that are known.
    """
    cleared = ", or a clear has discarded it" if directions.is_discarded else ""
    return RecordError(
        f"There is no record of what this task has paid for in {directions.locate(KEY)}, but {why}. So the record is "
        f"lost{cleared}, or cannot be read now, as while Airflow's API server is upgraded. Nothing was sent, as that "
        "might pay twice.",
        charge=Charge.UNKNOWN,
        next_step="A retry reads the record again. If it stays away, resume the job, or ask for a new one. "
        f"{directions.choose(job_ids[0] if job_ids else None)} See https://magichour.ai/my-library",
    )
