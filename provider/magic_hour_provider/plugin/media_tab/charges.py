"""The charge and the next step of a failed attempt, as the operator reported them with its error.

An attempt that was killed, timed out or marked as failed has reported no error. Then only its job tells something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magic_hour_provider.api.errors import Charge
from magic_hour_provider.api.models import is_id
from magic_hour_provider.plugin.media_tab.sanitize import safe_number, safe_text

_CHARGES = {charge.value: charge for charge in Charge}


def charge_of(report: Mapping[str, Any]) -> Charge | None:
    """Return the charge that an operator reported with an error; None if it did not.

    :param report: the operator's ``magic_hour_job``.
    """
    charge = report.get("charge")
    return _CHARGES.get(charge) if isinstance(charge, str) else None


def describe_charge(report: Mapping[str, Any]) -> str | None:
    """Return what a failed attempt means for the charge; None if nothing is known."""
    charge, credits = charge_of(report), safe_number(report.get("credits_charged"))
    amount = "" if credits is None else f" {credits:,} credits."
    if charge is not None:
        return charge.sentence + (amount if charge is Charge.KEPT else "")
    return f"The job was paid for, and is refunded if it fails.{amount}" if is_id(report.get("id")) else None


def describe_next_step(report: Mapping[str, Any]) -> str | None:
    """Return what a person can do; None if nothing is known."""
    if charge_of(report) is None and is_id(report.get("id")):
        return "Clear the task: it resumes this job, unless on_clear says otherwise."
    return safe_text(report.get("next_step"))


def describe_failure(report: Mapping[str, Any]) -> str | None:
    """Return an error's message without its last sentences, the charge and the next step; None if there is no error."""
    charge, next_step, message = charge_of(report), safe_text(report.get("next_step")), safe_text(report.get("error"))
    if message is None:
        return None
    for sentence in (next_step, charge and charge.sentence):
        message = message.removesuffix(sentence or "").rstrip() or message
    return message
