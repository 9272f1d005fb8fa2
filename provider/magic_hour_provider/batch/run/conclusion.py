"""The end of an attempt: the manifest, or the error that says what is missing and what to do."""

from __future__ import annotations

from typing import Any

from magic_hour_provider.api.errors import Charge, MagicHourError, NotRetryableError, describe_credits
from magic_hour_provider.batch.rows.items import Items
from magic_hour_provider.batch.spec import BatchSpec
from magic_hour_provider.batch.window.counts import Counts

_SHOWN = 10


class BatchIncompleteError(MagicHourError):
    """Items of a batch are not complete. What is complete stays so: the next attempt makes only what is missing."""

    charge = Charge.KEPT


def make_manifest(counts: Counts, credits: int, results: str) -> dict[str, Any]:
    """Return what the task returns: it does not grow with the items.

    :param credits: that this task instance was charged, over all its tries.
    :param results: address of the file with one line for each item.
    """
    known = counts.complete + len(counts.failed) + len(counts.unknown)
    return {
        "items": counts.items,
        "complete": counts.complete,
        "failed": len(counts.failed),
        "unknown": len(counts.unknown),
        "left_out": counts.items - known,
        "credits_charged": credits,
        "results": results,
    }


def find_failure(
    spec: BatchSpec, items: Items, counts: Counts, manifest: dict[str, Any], stop: str | None, *, is_retryable: bool
) -> MagicHourError | None:
    """Return the error of a batch that is not complete; None: it is, or what failed is tolerated.

    :param stop: why not everything was submitted; None: it was.
    :param is_retryable: whether a retry may help then.
    """
    limit = spec.max_failed_items
    tolerated = limit if limit >= 1 else limit * counts.items
    missing = counts.unknown or manifest["left_out"]
    if not missing and len(counts.failed) <= tolerated:
        return None
    words = [
        f"Of {counts.items} items {counts.complete} are complete, {len(counts.failed)} failed, {len(counts.unknown)} "
        f"are of an unknown outcome and {manifest['left_out']} are missing; "
        f"{describe_credits(manifest['credits_charged'])} charged. Each is listed in {manifest['results']}.",
    ]
    if stop is not None:
        words.append(f"Nothing more was submitted: {stop}")
    for name, keys in (("failed", counts.failed), ("unknown", counts.unknown), ("not paid for", counts.unpaid)):
        if keys:
            shown = ", ".join(_name(items, key) for key in sorted(keys)[:_SHOWN])
            more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
            words.append(f"{name[:1].upper()}{name[1:]}: {shown}{more}.")
    steps = []
    is_worth_it = counts.retryable or bool(counts.running) or (stop is not None and is_retryable)
    if is_worth_it:
        steps.append("A retry makes only what is missing, and pays for nothing twice.")
    if counts.unknown:
        steps.append(
            "Of an unknown one nothing is sent again by itself: look for its job at https://magichour.ai/my-library "
            "by its name, and resume it or ask for a new one: open the item in the task's Media tab, or airflow "
            "magic-hour adopt, or regenerate, with --item."
        )
    if counts.failed and not counts.retryable:
        steps.append("What failed for good fails again: change its row and clear the task, or set max_failed_items.")
    charge = Charge.UNKNOWN if counts.unknown else Charge.KEPT if manifest["credits_charged"] else Charge.NONE
    kind = BatchIncompleteError if is_worth_it else NotRetryableError
    message = " ".join(words) if is_worth_it else " ".join([*words, charge.sentence, *steps])
    error = kind(message, charge=charge, next_step=" ".join(steps) or None)
    error.retryable = is_worth_it
    return error


def _name(items: Items, key: str) -> str:
    item = items.find(key)
    return f"{item.item_id or key} ({item.label})" if item is not None else key
