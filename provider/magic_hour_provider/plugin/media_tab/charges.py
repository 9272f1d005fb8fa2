"""The charge and the next step of a failed attempt, in short: as the operator reported them with its error.

An attempt that was killed, timed out or marked as failed has reported no error. Then only its job tells something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magic_hour_provider.api.models import is_id
from magic_hour_provider.plugin.media_tab.sanitize import safe_number, safe_text

_KEPT = "kept"
_CHARGES = {
    "none": "Nothing was charged.",
    "refunded": "Refunded. It costs 0 credits.",
    "unknown": "It is unknown whether credits were charged. The error says what is known.",
}


def describe_charge(report: Mapping[str, Any]) -> str | None:
    """Return what a failed attempt means for the charge; None if nothing is known.

    :param report: the operator's ``magic_hour_job``.
    """
    charge = report.get("charge")
    if isinstance(charge, str) and charge in _CHARGES:
        return _CHARGES[charge]
    if charge != _KEPT and not is_id(report.get("id")):
        return None
    credits = safe_number(report.get("credits_charged"))
    amount = "The charge stays" if credits is None else f"{credits:,} credits stay charged"
    return f"{amount}." if charge == _KEPT else f"{amount}, unless the job itself fails."


def describe_next_step(report: Mapping[str, Any]) -> str | None:
    """Return what happens by itself, or what a person can do; None if nothing is known."""
    if "charge" not in report and is_id(report.get("id")):
        return "Clear the task. It resumes this job, unless on_clear says otherwise."
    return safe_text(report.get("next_step"))
