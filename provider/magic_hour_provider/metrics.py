"""What a worker counts through Airflow's own metrics."""

from __future__ import annotations

import logging

CREDITS = "magic_hour.credits_charged"

log = logging.getLogger(__name__)


def count_credits(credits_charged: int | None, tool: str) -> None:
    """Count what a job has cost in the end. What is counted informs: nothing fails for it.

    :param credits_charged: credits, as settled when the job was complete; None where that is not known.
    """
    if not credits_charged:
        return
    try:
        # Imported here: parsing a DAG has no use for it.
        from airflow.providers.common.compat.sdk import Stats

        Stats.incr(CREDITS, credits_charged, tags={"tool": tool})
    except Exception:
        log.exception("The credits of a job could not be counted; the job is not touched by that.")
