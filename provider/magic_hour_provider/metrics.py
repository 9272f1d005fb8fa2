"""The names of all metrics, and the counter of credits. They go through Airflow's own metrics."""

from __future__ import annotations

import logging

CREDITS_CHARGED = "magic_hour.credits_charged"
"""Credits of jobs that are complete, counted where the task ends, by tool and DAG, as are the next two."""
CREDITS_OVER_LIMIT = "magic_hour.credits_over_limit"
"""Credits that jobs were charged above ``max_credits``: the estimate was too low."""
CREDITS_REFUSED = "magic_hour.credits_refused"
"""Jobs that a limit of credits refused before they were paid for."""
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


def count_credits(count: int | None, tool: str, dag_id: str, *, metric: str = CREDITS_CHARGED) -> None:
    """Count credits, or jobs, of a task. A metric only informs: nothing fails for it.

    :param count: for credits charged: as settled when the job was complete; None: not known.
    :param metric: one of those above.
    """
    if not count:
        return
    try:
        # Imported here: parsing a DAG has no use for it.
        from airflow.providers.common.compat.sdk import Stats

        Stats.incr(metric, count, tags={"tool": tool, "dag_id": dag_id})
    except Exception:
        log.exception("The credits of a job could not be counted; that does not affect the job.")
