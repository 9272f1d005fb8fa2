"""One poll of the job that a person names, before the task is made to resume it."""

from __future__ import annotations

from magic_hour_provider.api.models import Job
from magic_hour_provider.plugin.recovery.situation import Situation


def check_job(situation: Situation, job: str, *, confirmed_tag: str | None = None) -> Job:
    """Poll a job once, and make sure that this task can resume it. Blocks, for some seconds at the most.

    :param job: its id, or its address in the web library.
    :param confirmed_tag: the tag in the job's name that a person has confirmed although it is none of this task's.
    :raises NeedsConfirmationError: its name carries the tag of something else, which is not confirmed.
    :raises RecoveryError: it cannot be resumed, or cannot be checked now.
    """
    raise NotImplementedError
