"""The XCom keys that a task of ours pushes beside its result."""

from __future__ import annotations

JOB_XCOM = "magic_hour_job"
"""What people and views read of a task's job: while it runs, when it is done, and after it failed."""

LINK_XCOM = "magic_hour_link"
"""The job's library address, behind the task's link."""


INTENT_PREFIX = "magic_hour.intent."
"""Begins the keys of :func:`intent_xcom`."""

SUBMITTED_PREFIX = "magic_hour.job."
"""Begins the keys of :func:`submitted_xcom`."""


def intent_xcom(tag: str) -> str:
    """Return the key pushed before a paid request: a webhook delivery finds its task by the tag in the job's name."""
    return f"{INTENT_PREFIX}{tag}"


def submitted_xcom(job_id: str) -> str:
    """Return the key pushed after a paid request: a webhook delivery finds its task by the job's id."""
    return f"{SUBMITTED_PREFIX}{job_id}"
