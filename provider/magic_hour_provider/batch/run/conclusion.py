"""The end of an attempt: the manifest, or the error that says what is missing and what to do."""

from __future__ import annotations

from typing import Any

from magic_hour_provider.api.errors import Charge, MagicHourError, NotRetryableError, describe_credits
from magic_hour_provider.batch.records.reader import RecordReader
from magic_hour_provider.batch.records.state import Spent
from magic_hour_provider.batch.rows.items import Items
from magic_hour_provider.batch.spec import BatchSpec
from magic_hour_provider.batch.window.counts import Counts
from magic_hour_provider.batch.window.payments import Payments
from magic_hour_provider.ledger.places.directions import COMMAND

_SHOWN = 10
_EXPLAINED = 3
_REASON = 300  # characters


class BatchIncompleteError(MagicHourError):
    """Items of a batch are not complete. What is complete stays so: the next attempt makes only what is missing."""


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
    spec: BatchSpec,
    items: Items,
    records: RecordReader,
    counts: Counts,
    manifest: dict[str, Any],
    payments: Payments,
    spent: Spent,
) -> MagicHourError | None:
    """Return the error of a batch that is not complete; None: it is, or what failed is tolerated.

    :param payments: which may have been stopped.
    :param spent: what this task instance has paid for, over all its tries.
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
    stop = payments.stop_reason
    if stop is not None:
        words += [f"Nothing more was submitted: {stop}", payments.describe_missing()]
    for name, keys in (("failed", counts.failed), ("unknown", counts.unknown), ("not paid for", counts.unpaid)):
        if keys:
            shown = ", ".join(_name(items, key) for key in sorted(keys)[:_SHOWN])
            more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
            words.append(f"{name[:1].upper()}{name[1:]}: {shown}{more}.")
        if name == "failed":
            words += [_explain(items, records, key) for key in sorted(keys)[:_EXPLAINED]]
    # Another attempt sends these again, unless a limit cannot be kept as nobody knows what they have cost.
    is_limited = spec.max_credits is not None and not payments.budget.is_known
    is_resent = spec.on_unknown_submission == "resubmit" and not is_limited and bool(counts.unknown - counts.disputed)
    is_stopped = stop is not None and not payments.is_stop_retryable
    is_going_on = not is_stopped and (is_resent or stop is not None)
    is_worth_it = counts.retryable or bool(counts.running) or is_going_on
    steps = []
    if is_worth_it:
        steps.append(f"A retry makes only what is missing{'' if is_resent else ', and pays for nothing twice'}.")
    elif is_stopped:
        steps.append("Once that has changed, clear the task: it makes only what is missing.")
    if is_resent:
        steps.append(
            "As on_unknown_submission is 'resubmit', the next attempt sends the request of each unknown one again, "
            "which may pay twice."
        )
    if counts.unknown:
        steps.append(
            ("To prevent that" if is_resent else "Of an unknown one nothing is sent again by itself")
            + ": look for its job at https://magichour.ai/my-library by its name, and resume it or ask for a new one: "
            f"open the item in the task's Media tab, or {COMMAND} adopt, or regenerate, with --item."
        )
    if counts.failed and not counts.retryable:
        steps.append("What failed for good fails again: change its row and clear the task, or set max_failed_items.")
    charge, charge_words = _find_charge(counts, spent)
    message = " ".join(filter(None, words))
    error: MagicHourError
    if is_worth_it:
        error = BatchIncompleteError(message, charge=charge, next_step=" ".join(steps))
    else:
        message = " ".join([message, charge_words, *steps])
        error = NotRetryableError(message, charge=charge, next_step=" ".join(steps) or None)
    error.charge_words = charge_words
    error.retryable = is_worth_it
    return error


def _find_charge(counts: Counts, spent: Spent) -> tuple[Charge, str]:
    """Return what all of it means for the charge, also in words."""
    words = spent.describe()
    if counts.unknown:
        of = "1 more item" if len(counts.unknown) == 1 else f"{len(counts.unknown):,} more items"
        return Charge.UNKNOWN, f"{words} Of {of} it is unknown whether a job was created and charged."
    if spent.credits or spent.unpriced:
        return Charge.KEPT, words
    return Charge.REFUNDED if spent.refunded else Charge.NONE, words


def _explain(items: Items, records: RecordReader, key: str) -> str:
    """Return why an item has failed, as its record says it; empty: nothing does."""
    try:
        reasons = [step.record.reason for step in records.read(key) if step.record is not None and step.record.reason]
    except MagicHourError:
        return ""
    if not reasons:
        return ""
    reason = reasons[-1]
    for charge in Charge:  # of this one item; that of all is said once
        reason = reason.replace(f" {charge.sentence}", "")
    short = reason if len(reason) <= _REASON else f"{reason[:_REASON]}…"
    return f"{_name(items, key)}: {short}"


def _name(items: Items, key: str) -> str:
    item = items.find(key)
    return f"{item.item_id or key} ({item.label})" if item is not None else key
