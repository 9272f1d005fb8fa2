"""Jobs: finished ones to download from, and what a trigger waits for one with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.models import Job
from magic_hour_provider.simulator import Simulator


def finished_job(sim: Simulator, count: int = 1) -> tuple[MagicHourClient, Job]:
    """Return a client and a finished image job.

    :param count: how many files it has.
    """
    client = MagicHourClient(api_key=KEY, base_url=sim.url)
    made = client.create("ai-image-generator", {"image_count": count, "style": {"prompt": "x"}})
    sim.advance(60)
    return client, client.get_job("image", made.id)


def trigger_arguments(job_id: str, at: float, **changes: Any) -> dict[str, Any]:
    """Return the arguments of the trigger of a job: a video that was submitted when its task deferred, for an hour.

    :param at: when its task deferred, in seconds since 1970.
    """
    arguments = {
        "kind": "video",
        "job_id": job_id,
        "tool": "text-to-video",
        "conn_id": "magic_hour_default",
        "submitted_at": at,
        "deferred_at": at,
        "deadline": at + 3600,
    }
    return arguments | changes


def batch_trigger_arguments(job_ids: Iterable[str], at: float, **changes: Any) -> dict[str, Any]:
    """Return the arguments of the trigger of a batch: videos submitted when its task deferred, an hour for all to end.

    :param at: when its task deferred, in seconds since 1970.
    """
    jobs = [[job_id, at] for job_id in job_ids]
    arguments = {
        "kind": "video",
        "tool": "text-to-video",
        "conn_id": "magic_hour_default",
        "jobs": jobs,
        "deferred_at": at,
        "deadline": at + 3600,
        "wake_at": len(jobs),
    }
    return arguments | changes
