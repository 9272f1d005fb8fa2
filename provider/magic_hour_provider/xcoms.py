"""The XCom keys that a task of ours pushes beside its result. Of the two that are unique to a task one is left."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

JOB_XCOM = "magic_hour_job"
"""What people and views read of a task's job: while it runs, when it is done, and after it failed."""

BATCH_XCOM = "magic_hour_batch"
"""What people and views read of a batch: while it runs, when it is done, and after it failed. It does not grow."""

RETURN_XCOM = "return_value"
"""Airflow's own key of what a task returns (``XCOM_RETURN_KEY``): pushed only where it succeeds."""

LINK_NAME = "Open in Magic Hour"
"""The name of a task's link: all of our tasks have one, also those of a user's own class."""

LINK_XCOM = "library_url"
"""The job's library address, behind the task's link: the result has it under the same key, so it is one XCom."""


INTENT_PREFIX = "magic_hour.intent."
"""Begins the keys of :func:`intent_xcom`."""

SUBMITTED_PREFIX = "magic_hour.job."
"""Begins the keys of :func:`submitted_xcom`."""

REFUNDED_PREFIX = "magic_hour.refunded."
"""Begins the keys of :func:`refunded_xcom`."""

SETTLED_PREFIX = "magic_hour.settled."
"""Begins the keys of :func:`settled_xcom`."""

FORWARD_PREFIX = "magic_hour.forward."
"""Begins the keys of :func:`forward_xcom`."""

UNPAID_XCOM = "magic_hour.unpaid"
"""Pushed by an attempt that knows, as it begins, that a new job would not be a second one, where a clear leaves nothing
else to show that: an attempt that knows nothing does not push it."""


def intent_xcom(tag: str) -> str:
    """Return the key pushed before a paid request: a webhook delivery finds its task by the tag in the job's name."""
    return f"{INTENT_PREFIX}{tag}"


def submitted_xcom(job_id: str) -> str:
    """Return the key pushed after a paid request: a webhook delivery finds its task by the job's id."""
    return f"{SUBMITTED_PREFIX}{job_id}"


def refunded_xcom(job_id: str) -> str:
    """Return the key pushed beside the job's own when it has failed: a clear that discards its record may pay again."""
    return f"{REFUNDED_PREFIX}{job_id}"


def settled_xcom(job_id: str, charged: int) -> str:
    """Return the key pushed by a trigger that ends its task: it cannot reach the record, so the next attempt does.

    :param charged: what the job was charged, in credits: Airflow names only keys to the next attempt.
    """
    return f"{SETTLED_PREFIX}{charged}.{job_id}"


def read_settled(keys: Iterable[Any]) -> dict[str, int]:
    """Return what each job was charged, in credits, by its id, of those that :func:`settled_xcom` names.

    :param keys: of the task's XComs, others among them.
    """
    charges: dict[str, int] = {}
    for key in keys:
        if isinstance(key, str) and key.startswith(SETTLED_PREFIX):
            charged, _, job_id = key.removeprefix(SETTLED_PREFIX).partition(".")
            with suppress(ValueError):  # another version's
                charges[job_id] = int(charged)
    return charges


def forward_xcom(digest: str) -> str:
    """Return the key pushed before a delivery is forwarded: by it the API server knows that a running task sends it."""
    return f"{FORWARD_PREFIX}{digest}"


def delete_xcom(ti: Any, key: str) -> None:
    """Remove an XCom of the task instance that runs."""
    from airflow.providers.common.compat.sdk import XCom

    XCom.delete(key=key, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index)
