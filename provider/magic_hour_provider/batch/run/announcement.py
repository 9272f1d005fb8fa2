"""What the log says of a batch before anything is paid for: its rows, and which of them are to be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magic_hour_provider.api.redaction import redact
from magic_hour_provider.batch.rows.items import Items
from magic_hour_provider.batch.window.engine import Engine
from magic_hour_provider.batch.window.plan import Changes

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


def describe_rows(log: FilteringBoundLogger, items: Items) -> None:
    """Log how many rows there are, and what is not known to be accepted."""
    log.info("%s rows of %s make %s items.", f"{items.rows:,}", items.name, f"{len(items):,}")
    if not items.rows:
        log.warning("%s has no rows, so nothing is made and nothing is paid for.", items.name)
    if items.duplicates:
        log.info("%s rows ask for what a row before asks for: each is one item.", f"{items.duplicates:,}")
    for warning in items.warnings:
        log.warning(
            "%s (%s rows, the first is %s). They are sent all the same; a refusal costs nothing.",
            redact(warning.text),
            warning.rows,
            warning.label,
        )


def describe_plan(log: FilteringBoundLogger, engine: Engine, changes: Changes, on_changed: str) -> None:
    """Log what is to be paid for, and what has changed since it was.

    :param on_changed: ``new`` or ``keep``.
    """
    log.info("%s To be paid for now: %s.", engine.describe(), f"{engine.payments.left:,}")
    if changes.paid or changes.kept:
        fields = ", ".join(f"{name} ({count})" for name, count in (changes.fields or {}).items())
        kept = (
            "as on_changed is 'keep': with 'new', another run or a clear of the task buys them again"
            if on_changed == "keep"
            else "as a retry buys nothing again: clear the task for that"
        )
        log.warning(
            "Rows that have changed since they were paid for: %s, in these fields: %s.%s%s",
            len(changes.paid) + changes.kept,
            fields or "not known",
            f" Made and paid for again: {len(changes.paid)}." if changes.paid else "",
            f" Kept as recorded: {changes.kept}, {kept}." if changes.kept else "",
        )
