"""Delay before a deferred task may be resumed: one rule for everything that resumes tasks."""

from __future__ import annotations

from functools import cache

from airflow.providers.common.compat.sdk import conf


@cache  # reading the configuration takes as long as a tenth of a poll, for each of thousands of triggers
def min_resume_delay_s() -> float:
    """Return the seconds that a task must be away before it may be resumed.

    The worker's supervisor may still be closing the deferral (it waits out a heartbeat): resuming the task in its
    first seconds can fail the attempt (apache/airflow#72716, #71580). Rescheduled sensors meet the same.
    """
    heartbeat: float = conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0)
    return max(10.0, heartbeat + 5.0)


def resume_delay_s(deferred_at: float, now: float) -> float:
    """Return the seconds that are left of that time.

    :param deferred_at: time of the deferral, in seconds since 1970, by the worker's clock.
    :param now: the time by our clock; a worker's clock ahead of it is clamped.
    """
    delay = min_resume_delay_s()
    return min(delay, max(0.0, deferred_at + delay - now))
