"""The JSON of a task's recovery: what was lost, the job that there is, and what a new one may cost."""

from __future__ import annotations

from typing import Any

from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot
from magic_hour_provider.plugin.media_tab.task_details import job_of
from magic_hour_provider.plugin.recovery.batch.items import ItemsToRegenerate
from magic_hour_provider.plugin.recovery.situation import Situation
from magic_hour_provider.plugin.web.sanitize import safe_number

_LIBRARY = "https://magichour.ai/my-library"


def recovery_page(situation: Situation | None, task: TaskSnapshot | None, others: str | None = None) -> dict[str, Any]:
    """Return what the form needs.

    :param situation: None where the task submits no jobs.
    :param task: with the situation's record.
    :param others: what becomes of other items of a batch, as a sentence; None: there are none.
    """
    page: dict[str, Any] = {"possible": False, "refusal": None, "replaces": None, "lost": None, "job": None}
    page |= {"others": others} if others is not None else {}
    if situation is None or task is None:
        return page | {"price": None}
    job = job_of(task) or {}
    lost = current = None
    if situation.is_lost:
        tag = job.get("tag") or next(iter(situation.tags), None)
        names = ("name", "title", "written_at")
        lost = {name: job.get(name) for name in names} | {"tag": tag, "library_url": _LIBRARY}
        lost |= {"tool": situation.tool, "kind": situation.kind}
    elif (job_id := situation.job_id or next(iter(situation.reported_jobs), None)) is not None:
        names = ("library_url", "status", "credits")
        current = {"id": job_id} | {name: job.get(name) for name in names if job.get("id") == job_id}
    return page | {
        "possible": situation.refusal is None and bool(lost or current),
        "refusal": situation.refusal if lost or current else None,
        "replaces": situation.replaces,
        "lost": lost,
        "job": current,
        "price": _find_price(situation),
    }


def items_page(items: ItemsToRegenerate) -> dict[str, Any]:
    """Return what a person has to know and to confirm of new jobs of many items."""
    names = ("count", "credits", "unpriced", "unknown", "missing", "price", "replaces")
    return {name: getattr(items, name) for name in names} | {"words": items.describe()}


def _find_price(situation: Situation) -> int | float | None:
    """Return the credits of the last job that was charged for; None: not known."""
    record = situation.record
    if record is None:
        return None
    past = record.history if isinstance(record.history, list) else []
    charges = [record.credits_charged, *(one.get("credits_charged") for one in reversed(past) if isinstance(one, dict))]
    return next((price for one in charges if (price := safe_number(one))), None)
