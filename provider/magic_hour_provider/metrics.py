"""The names of all metrics, and the counter of credits. They go through Airflow's own metrics."""

from __future__ import annotations

import logging

CREDITS_CHARGED = "magic_hour.credits_charged"
"""Credits of jobs that are complete, counted on the worker, by tool."""
POLLS = "magic_hour.polls"
"""Status requests of a triggerer, by connection, as are all metrics below."""
POLL_FAILURES = "magic_hour.poll_failures"
"""Status requests that gave no status."""
RATE_LIMITED = "magic_hour.rate_limited"
"""Status requests that Magic Hour refused with 429."""
ACTIVE_JOBS = "magic_hour.active_jobs"
"""Jobs that a triggerer polls now."""
COMPLETION_LATENCY = "magic_hour.completion_latency"
"""Time from a job's completion to the event of its trigger."""

log = logging.getLogger(__name__)


def count_credits(credits_charged: int | None, tool: str) -> None:
    """Count the credits of a job that is complete. A metric only informs: nothing fails for it.

    :param credits_charged: credits, as settled when the job was complete; None: not known.
    """
    if not credits_charged:
        return
    try:
        # Imported here: parsing a DAG has no use for it.
        from airflow.providers.common.compat.sdk import Stats

        Stats.incr(CREDITS_CHARGED, credits_charged, tags={"tool": tool})
    except Exception:
        log.exception("The credits of a job could not be counted; that does not affect the job.")
