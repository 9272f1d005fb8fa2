"""The progress of a batch, from what its task has reported in one XCom: it does not grow with the items."""

from __future__ import annotations

from typing import Any

from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.plugin.media_tab.recorded import split_reason
from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot
from magic_hour_provider.plugin.web.sanitize import safe_number, safe_text
from magic_hour_provider.times import parse_time

_NUMBERS = ("items", "complete", "failed", "unknown", "active", "left", "credits_charged", "max_credits")


def batch_of(task: TaskSnapshot) -> dict[str, Any] | None:
    """Return what is known of a batch; None if the task has reported none.

    :returns: numbers of items, which are whole and not negative, or None where they are not known; the credits charged
        to this task instance and their limit; the address of the results; and when that was so, in seconds since 1970.
    """
    report = task.batch
    if not report:
        return None
    slug = safe_text(report.get("tool"))
    tool = TOOLS.get(slug or "")
    return {
        "tool": slug,
        "title": tool.title if tool else slug or "Batch",
        **{name: _count(report.get(name)) for name in _NUMBERS},
        "output_path": safe_text(report.get("output_path")),
        "results": safe_text(report.get("results")),
        "updated_at": parse_time(report.get("updated_at")),
    }


def describe_batch(batch: dict[str, Any]) -> str:
    """Return what has become of a batch's items, for a tile.

    :param batch: as of :func:`batch_of`.
    """
    if batch["items"] is None:
        return "This batch has not read its rows yet."
    parts = [f"{batch['complete'] or 0:,} of {batch['items']:,} items are complete"]
    words = {"failed": "failed", "unknown": "of an unknown outcome", "active": "under way"}
    parts += [f"{batch[name]:,} {words[name]}" for name in words if batch[name]]
    return f"{', '.join(parts)}."


def batch_report(task: TaskSnapshot) -> dict[str, Any]:
    """Return why a batch's attempt has failed, as the report of a task of one job says it."""
    report = task.batch
    if report.get("charge") is not None:
        return {name: report.get(name) for name in ("error", "charge", "charge_words", "next_step")}
    known = split_reason(report.get("error"))
    return known | ({"credits_charged": report.get("credits_charged")} if known else {})


def _count(value: Any) -> int | None:
    number = safe_number(value)
    return int(number) if number is not None and number >= 0 else None
