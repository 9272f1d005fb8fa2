"""The charge and the next step of a failed attempt, as the operator reported them with its error.

An attempt that was killed, timed out or marked as failed has reported no error. Then only its job tells something.
The reports are those of :attr:`TaskSnapshot.job`, so they may come from the record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from magic_hour_provider.api.errors import Charge
from magic_hour_provider.api.models import COMPLETE, is_id
from magic_hour_provider.ledger.record import NOT_KEPT, describe_download
from magic_hour_provider.plugin.web.sanitize import safe_number, safe_text

_CHARGES = {charge.value: charge for charge in Charge}
_LIBRARY = "https://magichour.ai/my-library"
# What a failure's message begins with, and a card shows anyway.
_LEAD = re.compile(r"Magic Hour job \S{1,200}(?: \([^()]{0,100}\))? (?:(?:was|is) |failed with \S{1,100}: )?")


def charge_of(report: Mapping[str, Any]) -> Charge | None:
    """Return the charge that an operator reported with an error; None if it did not.

    :param report: the operator's ``magic_hour_job``.
    """
    charge = report.get("charge")
    if isinstance(charge, str):
        return _CHARGES.get(charge)
    if not is_id(report.get("id")):
        return Charge.UNKNOWN if report.get("tag") else None
    return Charge.KEPT if report.get("status") == COMPLETE else None


def describe_charge(report: Mapping[str, Any]) -> str | None:
    """Return what a failed attempt means for the charge; None if nothing is known."""
    if words := safe_text(report.get("charge_words")):  # a batch's, of many jobs
        return words
    charge, credits = charge_of(report), safe_number(report.get("credits_charged"))
    amount = "" if credits is None else f" {credits:,} credit{'' if credits == 1 else 's'}."
    if charge is not None:
        return charge.sentence + (amount if charge is Charge.KEPT else "")
    return f"The job was paid for, and is refunded if it fails.{amount}" if is_id(report.get("id")) else None


def describe_next_step(report: Mapping[str, Any]) -> str | None:
    """Return what a person can do; None if nothing is known."""
    if report.get("charge") is None and is_id(report.get("id")):
        if report.get("is_recorded") is False:
            return f"{NOT_KEPT} {describe_download(str(report['id']))}"
        return "Clear the task: it resumes this job, unless on_clear says otherwise."
    if report.get("charge") is None and (tag := safe_text(report.get("tag"))):
        if report.get("is_recorded") is False:
            return f"Look for the job at {_LIBRARY} (tag #{tag}). {NOT_KEPT} {describe_download(None)}"
        return (
            f"Look for the job at {_LIBRARY} (tag #{tag}), and clear the task: unless on_unknown_submission says "
            "otherwise it pays nothing, and its error says how to resume that job or make a new one."
        )
    return safe_text(report.get("next_step"))


def describe_failure(report: Mapping[str, Any]) -> str | None:
    """Return an error's message without its last sentences, the charge and the next step; None if there is no error."""
    charge, next_step, message = charge_of(report), safe_text(report.get("next_step")), safe_text(report.get("error"))
    if message is None:
        return None
    for sentence in (next_step, safe_text(report.get("charge_words")), charge and charge.sentence):
        message = message.removesuffix(sentence or "").rstrip() or message
    return message


def describe_reason(message: str) -> str:
    """Return an error's message as a card shows it, which may cut it: the reason first, not the job."""
    reason = _LEAD.sub("", message, count=1) if message.startswith("Magic Hour job ") else message
    return reason[:1].upper() + reason[1:] if reason else message
