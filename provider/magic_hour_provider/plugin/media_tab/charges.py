"""What a failure means for the charge, and the next step, in short. The operator's own message says more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magic_hour_provider.api.models import CANCELED, ERROR, GONE
from magic_hour_provider.plugin.media_tab.sanitize import safe_number

UNKNOWN = "unknown"
"""The reported status of an attempt whose paid request got no response."""


def _submits_job(job: Mapping[str, Any]) -> bool:
    return bool(job.get("request"))  # sensors and downloads report none: their jobs were submitted elsewhere


def describe_charge(job: Mapping[str, Any], status: str | None) -> str:
    """Return what a failed attempt means for the charge.

    :param job: what the operator reported.
    :param status: of the job or, where it has none, of the attempt.
    """
    if not _submits_job(job):
        return "This task pays for nothing."
    if status == UNKNOWN:
        return "Not certain. The message says what is known of the charge."
    if not job.get("id"):
        return "Nothing was charged by this attempt."
    charged = safe_number(job.get("credits_charged"))
    if status == ERROR:
        return "Refunded. It costs 0 credits." if charged == 0 else "Refunded. Magic Hour refunds jobs that fail."
    if status == CANCELED:
        return "Canceled videos are refunded in full."
    if status == GONE:
        return "The job was paid for. It is gone, and nothing is paid again by itself."
    return f"{'The charge' if charged is None else f'{charged} credits'} stays. The job is recorded and not lost."


def describe_next_step(job: Mapping[str, Any], status: str | None, state: str | None) -> str:
    """Return what happens by itself, or what a person can do.

    :param state: of the task instance, in Airflow's words.
    """
    lost = bool(job.get("id")) and status in (CANCELED, GONE)
    kept = bool(job.get("id")) and status not in (ERROR, CANCELED, GONE, UNKNOWN)
    if state != "failed":
        if kept or not _submits_job(job):
            return "Airflow retries by itself, and that costs nothing."
        resubmits = status == ERROR and bool(job.get("id"))
        return "Airflow retries by itself, with one new job." if resubmits else "Airflow retries by itself."
    if status == UNKNOWN:
        return "Search for the job in the library; then adopt it or submit a new one, as the message says."
    if kept:
        return "Fix the problem above and clear the task. It resumes this job, unless on_clear says otherwise."
    if lost or not _submits_job(job):
        return "Do what the message says. By itself the task pays for nothing more."
    return "Fix the problem above and clear the task. Then it submits and pays for a new job."
