"""Finished jobs, to download from."""

from __future__ import annotations

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
