"""The paid request: the one place that sends it, and the only reasons to send it again."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import RequestFailure
from magic_hour_provider.api.models import Account
from magic_hour_provider.ledger.ledger import Ledger
from magic_hour_provider.ledger.record import Record, unknown_submission

log = logging.getLogger(__name__)

_RATE_LIMIT_S = 120.0  # the most a worker waits on 429 before the attempt ends
_BAD_GATEWAY_S = 30.0  # the vendor's advice is 30-60 s before a 502 is repeated


def submit_once(
    ledger: Ledger,
    client: MagicHourClient,
    tool: Tool,
    request: Mapping[str, Any],
    intend: Callable[[], Record],
    *,
    account: Account | None,
    resubmits: bool = False,
    webhook_may_identify: bool = False,
) -> Record:
    """Write the intent to pay and send the paid request. The only place that does.

    It is sent again only after an answer that surely made no job: never left (three times), 429 (two minutes in all),
    and 502, of which Magic Hour documents that no job was made, while the balance is unchanged (twice).

    :param intend: writes the intent, and returns it.
    :param account: the account before the request, if it could be asked for.
    :param resubmits: whether the next attempt sends it again if the answer is lost: the error says so.
    :param webhook_may_identify: whether a webhook may identify the job before the next attempt: the error says so.
    :returns: the record with the job's id, already written.
    :raises MagicHourError: refused or unreachable: the intent is taken back. Unknown: it stays.
    """
    sleep = clock.current().sleep
    patience, unreached, gateways = _RATE_LIMIT_S, 0, 0
    record: Record | None = None

    def written() -> Record:
        nonlocal record
        if record is None:
            record = intend()
        else:
            ledger.rewrite_intent(record)
        return record

    while True:
        try:
            return _send(ledger, client, tool, request, written)
        except errors.ConnectionFailedError:
            unreached += 1
            if unreached == 3:
                raise
            sleep(2.0 * unreached)
        except errors.RateLimitedError as error:
            pause = max(1.0, error.retry_after if error.retry_after is not None else 10.0)
            if pause > patience:
                raise
            log.info("Magic Hour asks us to slow down; sending the refused request again in %.0f s.", pause)
            patience -= pause
            sleep(pause)
        except errors.SubmissionUnknownError as error:
            if error.created or record is None:
                raise
            settled = account is not None and not account.usage_based and account.credits is not None
            if error.not_created_per_docs and settled and gateways < 2:
                sleep(_BAD_GATEWAY_S)
            if (found := ledger.find_identified(record)) is not None:
                log.info("A webhook has identified the job whose response was lost: %s. Resuming it.", found.job_id)
                return found
            after = get_balance(client)
            if error.not_created_per_docs and settled and gateways < 2 and account and after == account.credits:
                gateways += 1
                log.info("HTTP 502 made no job and the balance is unchanged: sending the request again.")
                continue
            raise unknown_submission(
                record,
                error.message,
                balance=after,
                describe_location=ledger.describe_location,
                resubmits=resubmits,
                webhook_may_identify=webhook_may_identify,
                status_code=error.status_code,
                job_id=error.job_id,
            ) from error


def _send(
    ledger: Ledger,
    client: MagicHourClient,
    tool: Tool,
    request: Mapping[str, Any],
    written: Callable[[], Record],
) -> Record:
    """Write the intent, send the request once, and write down what came of it: the job's id, or that there is none."""
    with defer_alarm():
        record = written()
        try:
            submission = client.create(tool, request)
        except errors.MagicHourError as error:
            if error.failure in (RequestFailure.NEVER_DELIVERED, RequestFailure.REJECTED):
                ledger.withdraw_intent(record)
            else:
                # Here too, as an alarm that was held back takes the place of the error.
                log.error("Paid request #%s: %s", record.tag, error)
            raise
        except BaseException:
            log.error(
                "Stopped while the paid request #%s was being sent. %s", record.tag, errors.Charge.UNKNOWN.sentence
            )
            raise
        return ledger.mark_submitted(record, submission)


@contextmanager
def defer_alarm() -> Iterator[None]:
    """Hold back the alarm of Airflow's ``execution_timeout``, which raises wherever the code stands.

    Between the request and its record it would lose a paid job's id. The request has timeouts of its own, so the
    alarm is late by as much as those, and then raises as it would have.
    """
    alarm = signal.getsignal(signal.SIGALRM)
    pending_alarm: list[tuple[Any, Any]] = []
    try:
        if callable(alarm):
            signal.signal(signal.SIGALRM, lambda number, frame: pending_alarm.append((number, frame)))
    except ValueError:  # not in the main thread: no alarm rings here
        alarm = None
    try:
        yield
    finally:
        if callable(alarm):
            signal.signal(signal.SIGALRM, alarm)
            if pending_alarm:
                alarm(*pending_alarm[0])


def get_balance(client: MagicHourClient) -> int | None:
    """Return the account's credits, or None if they cannot be had now."""
    try:
        return client.get_account().credits
    except errors.MagicHourError:
        return None


def check_min_credits(account: Account | None) -> None:
    """Refuse to pay when the account has fewer credits than ``[magic_hour] min_credits_left``.

    A minimum balance, not a lock: tasks that start together all see the same balance.
    """
    minimum = conf.getint("magic_hour", "min_credits_left", fallback=0)
    if minimum <= 0 or (account is not None and account.usage_based):
        return
    if account is None or account.credits is None:
        raise errors.ConnectionFailedError(
            f"[magic_hour] min_credits_left is {minimum}, and Magic Hour did not say how many credits the account has.",
            charge=errors.Charge.NONE,
            next_step="A retry asks again.",
        )
    if account.credits < minimum:
        raise errors.InsufficientCreditsError(
            f"The account has {account.credits} credits, and [magic_hour] min_credits_left keeps {minimum}.",
            charge=errors.Charge.NONE,
            next_step="Top up at https://magichour.ai/pricing or lower the setting, then clear the task.",
        )
