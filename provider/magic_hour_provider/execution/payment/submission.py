"""The paid request: the one place that sends it, and the only reasons to send it again."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import RequestFailure
from magic_hour_provider.api.models import Account, Submission
from magic_hour_provider.execution.payment.run_activity import RunActivity
from magic_hour_provider.ledger.record import Record

log = logging.getLogger(__name__)

_BAD_GATEWAY_S = 30.0  # the vendor's advice is 30-60 s before a 502 is repeated


@dataclass
class RetryBudget:
    """What is left of the attempts to send one paid request again, after failures that surely made no job.

    :param connection_pauses_s: seconds to wait after each connection that still may fail to open.
    :param rate_limit_s: seconds that may still be waited on 429.
    :param bad_gateways: Magic Hour's own 502s, of which it documents that no job was made, that may still be repeated.
    """

    connection_pauses_s: list[float] = field(default_factory=lambda: [2.0, 4.0])
    rate_limit_s: float = 120.0
    bad_gateways: int = field(
        default_factory=lambda: 2 if conf.getboolean("magic_hour", "resend_after_bad_gateway", fallback=True) else 0
    )

    def take_connection(self) -> float | None:
        """Return the seconds to wait after a connection failed to open; None: the budget is spent."""
        return self.connection_pauses_s.pop(0) if self.connection_pauses_s else None

    def take_rate_limit(self, error: errors.RateLimitedError) -> float | None:
        """Return the seconds to wait after a 429; None: the budget is spent."""
        pause = max(1.0, error.retry_after if error.retry_after is not None else 10.0)
        if pause > self.rate_limit_s:
            return None
        self.rate_limit_s -= pause
        return pause


class PaidIntent(Protocol):
    """The intent to pay for one job, wherever it is recorded. While it is, the paid request may have been sent."""

    @property
    def record(self) -> Record:
        """The record of the intent."""

    def write(self) -> None:
        """Write it, as the last thing before the paid request."""

    def withdraw(self) -> None:
        """Take it back, as surely no job was made."""

    def complete(self, submission: Submission) -> Record:
        """Complete it with the paid job's id, and return the record."""

    def find_identified(self) -> Record | None:
        """Return the record if somebody has completed it meanwhile."""

    def unknown_error(self, why: str, **known: Any) -> errors.SubmissionUnknownError:
        """Return the error of its submission where the outcome is unknown."""


def submit_once(
    intent: PaidIntent,
    client: MagicHourClient,
    tool: Tool,
    body: Mapping[str, Any],
    *,
    account: Account | None,
    account_at: float,
    activity: RunActivity | None,
    resubmits: bool = False,
    webhook_may_identify: bool = False,
) -> Record:
    """Write the intent to pay and send the paid request. The only place that does.

    It is sent again only after a failure that surely made no job: never delivered (three times), 429 (two minutes in
    all); and twice at most after Magic Hour's own 502, of which it documents that no job was made, while the balance
    is unchanged and no other task of this run can have changed it: a refund would hide a charge.

    :param account: the account right before the request, if it could be asked for.
    :param account_at: when it was asked for, in seconds since 1970.
    :param activity: what else may have changed the balance: other tasks of this run, and this one's earlier job;
        None: not known, so that the balance proves nothing.
    :param resubmits: whether the next attempt sends it again if the response is lost: the error says so.
    :param webhook_may_identify: whether a webhook may identify the job before the next attempt: the error says so.
    :returns: the record with the job's id, already written.
    :raises MagicHourError: refused or unreachable: the intent is withdrawn. Unknown: it stays.
    """
    budget = RetryBudget()
    while True:
        try:
            return _send(intent, client, tool, body)
        except errors.ConnectionFailedError:
            pause = budget.take_connection()
            if pause is None:
                raise
            clock.current().sleep(pause)
            account, account_at = _get_account(client), clock.current().now()
        except errors.RateLimitedError as error:
            pause = budget.take_rate_limit(error)
            if pause is None:
                raise
            log.info("Magic Hour asks us to slow down; sending the refused request again in %.0f s.", pause)
            clock.current().sleep(pause)
            account, account_at = _get_account(client), clock.current().now()
        except errors.SubmissionUnknownError as error:
            if error.created:
                raise
            may_repeat = error.not_created_per_docs and budget.bad_gateways > 0 and _has_exact_balance(account)
            if may_repeat:
                clock.current().sleep(_BAD_GATEWAY_S)
            if (identified := intent.find_identified()) is not None:
                log.info("A webhook has identified the job whose response was lost: %s.", identified.job_id)
                return identified
            balance = get_balance(client)
            if may_repeat and activity is not None and account is not None and balance == account.credits:
                active = activity.find_active(account_at)
                if active is None:
                    budget.bad_gateways -= 1
                    log.info("HTTP 502 made no job and the balance is unchanged: sending the request again.")
                    continue
                log.warning(
                    "The balance is unchanged, but %s may have changed it too, which would hide a charge.", active
                )
            raise intent.unknown_error(
                error.message,
                balance=balance,
                resubmits=resubmits,
                webhook_may_identify=webhook_may_identify,
                status_code=error.status_code,
                job_id=error.job_id,
            ) from error


def _send(intent: PaidIntent, client: MagicHourClient, tool: Tool, body: Mapping[str, Any]) -> Record:
    """Write the intent, send the request once, and write down what came of it: the job's id, or that there is none."""
    with defer_alarm() as is_alarm_pending:
        intent.write()
        try:
            submission = client.create(tool, body)
        except errors.MagicHourError as error:
            if error.failure in (RequestFailure.NEVER_DELIVERED, RequestFailure.REJECTED):
                intent.withdraw()
            elif is_alarm_pending() or getattr(error, "job_id", None):
                # Here too: the alarm that was held back takes the place of the error, and no id may be lost on the way.
                log.error("Paid request #%s: %s", intent.record.tag, error)
            raise
        except BaseException:
            log.error(
                "Stopped while the paid request #%s was being sent. %s",
                intent.record.tag,
                errors.Charge.UNKNOWN.sentence,
            )
            raise
        try:
            return intent.complete(submission)
        except errors.SubmissionUnknownError as error:
            if is_alarm_pending():
                log.error(str(error))  # else Airflow prints it
            raise


def _has_exact_balance(account: Account | None) -> bool:
    """Whether a charge would show in the account's credits."""
    return account is not None and not account.usage_based and account.credits is not None


def get_balance(client: MagicHourClient) -> int | None:
    """Return the account's credits, or None if they cannot be had now."""
    account = _get_account(client)
    return account.credits if account is not None else None


def _get_account(client: MagicHourClient) -> Account | None:
    try:
        return client.get_account()
    except errors.MagicHourError:
        return None


@contextmanager
def defer_alarm() -> Iterator[Callable[[], bool]]:
    """Hold back the alarm of Airflow's ``execution_timeout``, which raises wherever the code stands.

    Between the request and its record it would lose a paid job's id. The request has timeouts of its own, so the
    alarm is late by as much as those, and then raises as it would have.

    :returns: of the context: a function that says whether an alarm is held back.
    """
    alarm = signal.getsignal(signal.SIGALRM)
    pending_alarm: list[tuple[Any, Any]] = []
    try:
        if callable(alarm):
            signal.signal(signal.SIGALRM, lambda number, frame: pending_alarm.append((number, frame)))
    except ValueError:  # not in the main thread: no alarm rings here
        alarm = None
    try:
        yield lambda: bool(pending_alarm)
    finally:
        if callable(alarm):
            signal.signal(signal.SIGALRM, alarm)
            if pending_alarm:
                alarm(*pending_alarm[0])
