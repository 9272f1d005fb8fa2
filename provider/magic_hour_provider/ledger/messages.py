"""The error of a submission whose outcome is unknown: what is known, and what a person can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magic_hour_provider.api.errors import SubmissionUnknownError, with_article
from magic_hour_provider.ledger.record import ADOPT, REGENERATE, Record, describe_task_state


def describe_job(record: Record) -> str:
    """Describe the job of a record for a person, by its name."""
    return f"{with_article(record.tool)} job {f'named {record.name!r}' if record.name else 'without a name'}"


def unknown_submission_error(
    record: Record,
    why: str = "An earlier attempt ended while it was sending the paid request.",
    *,
    balance: int | None = None,
    describe_location: Callable[[str], str] = describe_task_state,
    resubmits: bool = False,
    webhook_may_identify: bool = False,
    **more: Any,
) -> SubmissionUnknownError:
    """Return the error of a submission whose outcome is unknown: what is known of it, and what a person can do.

    :param record: the intent.
    :param why: what happened, as a whole sentence.
    :param balance: credits now, if known.
    :param describe_location: names a key's place for a person.
    :param resubmits: whether the next attempt sends the request again.
    :param webhook_may_identify: whether a webhook may identify the job before the next attempt.
    :param more: as of :class:`SubmissionUnknownError`.
    """
    message = f"{why} It was for {describe_job(record)}, at {record.written_at} (UTC)."
    if record.balance is not None:
        message += f" The balance before was {record.balance} credits"
        message += f", now it is {balance}." if balance is not None else "."
    then = (
        "As on_unknown_submission is 'resubmit', the next attempt sends the request again, which may pay twice."
        if resubmits
        else "Nothing is sent again by itself; a retry resumes the job if a webhook has identified it by then."
        if webhook_may_identify
        else "Nothing is sent again by itself."
    )
    return SubmissionUnknownError(
        message,
        next_step=f"{then} Look for the job at https://magichour.ai/my-library (tag #{record.tag}). "
        f"If it is there, put its id, in double quotes, into {describe_location(ADOPT)} and clear the task: it resumes "
        f"that job and pays nothing. If it is not there, put true into {describe_location(REGENERATE)} and clear the "
        "task" + ("." if resubmits else ", or set on_unknown_submission='resubmit', which may pay twice."),
        **more,
    )
