"""The end of an attempt that failed: what it means for the charge, and whether Airflow may retry it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from magic_hour_provider.api import errors
from magic_hour_provider.api.errors import Charge, describe_error
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.execution.report import Report
from magic_hour_provider.hooks.exceptions import find_cause, to_airflow_error
from magic_hour_provider.ledger.intent import Intent
from magic_hour_provider.ledger.ledger import Ledger
from magic_hour_provider.ledger.messages import unknown_submission_error
from magic_hour_provider.ledger.record import NOT_KEPT, Record, describe_download


def charge_before(record: Record | None) -> Charge:
    """Return what is known of the charge before an attempt pays for anything.

    :param record: what the ledger holds.
    """
    if record is None:
        return Charge.NONE
    return {"intent": Charge.UNKNOWN, "submitted": Charge.KEPT, "delivered": Charge.KEPT}.get(record.state, Charge.NONE)


def add_earlier_payment(error: errors.MagicHourError, ledger: Ledger, record: Record | None) -> None:
    """Add to the error of an attempt that could not begin what was paid for before it.

    A job that has ended without a result is none of that: its charge was named then, and no retry resumes it.

    :param record: what the ledger holds.
    """
    if record is None:
        return
    if record.job_id is not None and record.state in ("submitted", "delivered"):
        error.append(
            f"An earlier attempt has submitted Magic Hour job {record.job_id}.",
            charge=Charge.KEPT,
            next_step=f"A retry resumes the job and pays nothing. See {record.page or 'Magic Hour'}",
        )
        # A hiccup of Airflow's API also appears as a missing connection: a paid job is worth a retry.
        error.retryable = True
    elif record.state == "intent":
        before = unknown_submission_error(record, directions=ledger.directions)
        error.append(before.message, charge=Charge.UNKNOWN, next_step=before.next_step)


@contextmanager
def reporting_early_failure(ti: Any, tool: str, ledger: Ledger, record: Record | None) -> Iterator[None]:
    """Report the error of an attempt that cannot begin, whoever raises it, and turn ours into Airflow's.

    What the user's own function raises is Airflow's to judge, and stays what it is.

    :param ti: Airflow's task instance.
    :param tool: slug of the tool; empty where it is not known.
    :param record: what the ledger holds.
    """
    is_lost = ledger.has_lost_payments
    try:
        yield
    except errors.MagicHourError as error:
        add_earlier_payment(error, ledger, record)
        report_early_failure(ti, tool, error, record, is_lost=is_lost)
        raise to_airflow_error(error) from find_cause(error)
    except BaseException as error:
        why = redact(describe_error(error))
        ended = errors.MagicHourError(f"The task ended before it had a request to send: {why}", code="no_request")
        add_earlier_payment(ended, ledger, record)
        report_early_failure(ti, tool, ended, record, is_lost=is_lost)
        raise


def report_early_failure(
    ti: Any, tool: str, error: errors.MagicHourError, record: Record | None, *, is_lost: bool
) -> None:
    """Push the error of an attempt that could not begin, and what was paid for before it.

    Airflow has removed the XComs of the attempt before, by which people and webhooks find the job.

    :param ti: Airflow's task instance.
    :param tool: slug of the tool; empty where it is not known.
    :param record: what the ledger holds.
    :param is_lost: whether something was paid for, or may have been, that no record tells of.
    """
    report = Report(ti, record.tool if record is not None else tool, {})
    report.has_lost_payments = is_lost
    report.set_run_credits(record)
    if record is not None and record.job_id is not None:
        report.push_record(record, "resumed")
        if record.is_refunded:
            report.push_refunded(record.job_id)
    elif record is not None and record.state == "intent":
        report.push_intent(record.tag, record.name, record.conn_id or "")
    elif record is None:
        report.keep_earlier()
    report.push_failure(error)


def report_failure(ti: Any, error: errors.MagicHourError) -> None:
    """Push the error of a task that pays for nothing, beside what this attempt has reported of its job.

    :param ti: Airflow's task instance.
    """
    report = Report(ti, "", {})
    report.load_previous()
    report.push_failure(error)


def judge_failure(
    error: errors.MagicHourError, record: Record | None, *, is_ephemeral: bool, may_learn_outcome: bool
) -> None:
    """Complete the error of an attempt: what it means for the charge, and whether a retry is of use.

    :param record: of the job that the attempt had by then; None: it had none.
    :param is_ephemeral: whether nothing will know of that job after this attempt.
    :param may_learn_outcome: whether the next attempt may know, or need not know, how an unknown submission ended.
    """
    paid = None if isinstance(error, errors.JobFailedError) else record
    if error.charge in (None, Charge.NONE):
        # What was raised by a free request, or before any, says nothing of a job that was paid for before.
        error.charge = Charge.NONE if paid is None else Charge.KEPT
    if is_ephemeral and paid is not None:
        error.retryable = False
        # A retry would know nothing of the job and pay for another one, so what promises to resume it is not true.
        # Of a job that is canceled or gone nobody gets the files.
        if not isinstance(error, errors.JobCanceledError) and NOT_KEPT not in (error.next_step or ""):
            error.next_step = describe_unrecorded(paid)
    if isinstance(error, errors.SubmissionUnknownError) and not error.created:
        error.retryable = may_learn_outcome


def describe_unrecorded(record: Record) -> str:
    """Say what a person does about a paid job that no other attempt will know of, as whole sentences."""
    return f"The task is not retried. {NOT_KEPT} {describe_download(record.job_id)} See {record.page or 'Magic Hour'}"


def describe_stop(record: Record | None, intent: Intent | None, *, is_ephemeral: bool) -> str | None:
    """Say what becomes of the job of an attempt that is killed; None: it has none.

    :param record: of the job that the attempt waits for.
    :param intent: what it was about to pay for.
    :param is_ephemeral: whether nothing will know of that job after this attempt.
    """
    if record is not None:
        then = "the next attempt resumes it."
        if is_ephemeral:
            download = describe_download(record.job_id)
            then = f"as nothing keeps a record of it, the next attempt pays for a new one. {download}"
        return (
            f"Stopped waiting for Magic Hour job {record.job_id}. It keeps running and may still be charged; {then} "
            f"A video can be canceled by hand at {record.page or 'magichour.ai'}"
        )
    if intent is not None and intent.is_written:
        then = "If so, the next attempt resumes it where the response still came, and says what to do where it did not."
        if is_ephemeral:
            then = f"Nothing keeps a record of it, so the next attempt pays for a new one. {describe_download(None)}"
        return (
            f"Stopped while the paid request #{intent.record.tag} was under way: a job may have been made and charged. "
            f"{then}"
        )
    return None
