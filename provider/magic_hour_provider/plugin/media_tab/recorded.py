"""What Airflow's record of a task says, in the words of the operator's report.

The report may be missing: Airflow removes XComs when an attempt begins, and an XCom backend may keep them elsewhere.
"""

from __future__ import annotations

from typing import Any

from magic_hour_provider.api.errors import Charge
from magic_hour_provider.api.models import COMPLETE, ERROR
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.times import format_time

_MAX_TIME = 10**11  # seconds since 1970, which no job will reach


def describe_record(record: Record) -> dict[str, Any]:
    """Return the fields of a report that a record knows.

    Beside them ``tag`` and ``written_at``: of a job whose response was lost nothing else is known.
    """
    known = {"tool": record.tool, "kind": record.kind, "name": record.name, "tag": record.tag}
    if record.job_id is None:
        return known | {"written_at": record.written_at}
    known |= {"id": record.job_id, "submitted_at": _format(record.submitted_at)}
    known |= split_reason(record.reason) if record.state in ("failed", "ended") else {}
    if record.state == "delivered":
        known["status"] = COMPLETE
    if known.get("charge") == Charge.REFUNDED.value:
        return known | {"status": ERROR}  # its credits are those of before it failed
    return known | {"credits_charged": record.credits_charged}


def split_reason(reason: Any) -> dict[str, Any]:
    """Return an error's text as the parts that a report has: the charge stands in the middle, in its own words."""
    if not isinstance(reason, str):
        return {}
    for charge in Charge:
        _, found, next_step = reason.partition(charge.sentence)
        if found:
            return {"error": reason, "charge": charge.value, "next_step": next_step.strip() or None}
    return {"error": reason}


def _format(seconds: Any) -> str | None:
    return format_time(seconds) if isinstance(seconds, int | float) and 0 < seconds < _MAX_TIME else None
