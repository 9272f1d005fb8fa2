"""The tag at the end of a job's name: the only thread back to a job whose response was lost."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from typing import Any

_NAME_LENGTH = 100


def new_tag() -> str:
    """Return a tag: 8 random base32 characters."""
    return "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(8))


def make_job_name(given: str | None, generated: str, tag: str, tag_job_names: str) -> str | None:
    """Return the name that a job is submitted with, at most 100 characters; None leaves it to the service.

    :param given: the user's own name, if any.
    :param generated: the name of a job that the user gave none.
    :param tag_job_names: ``all``, ``generated`` (the user's own names stay as they are) or ``none``.
    """
    if tag_job_names == "none" or (given and tag_job_names == "generated"):
        return given
    suffix = f" #{tag}"
    return f"{(given or generated)[: _NAME_LENGTH - len(suffix)]}{suffix}"


def generate_job_name(ti: Any) -> str:
    """Return the name of a job that the user gave none, without its tag: which task instance it is of.

    :param ti: Airflow's task instance.
    """
    is_mapped = ti.map_index is not None and ti.map_index >= 0
    return f"{ti.dag_id}.{ti.task_id}{f'[{ti.map_index}]' if is_mapped else ''} {ti.run_id}"


def find_tag(name: str | None) -> str | None:
    """Return the tag at the end of a job's name, or None if no task of ours has put one there."""
    found = re.search(r" #([A-Z2-7]{8})\Z", name or "")
    return found[1] if found else None


def find_foreign_tag(name: str | None, tags: Collection[str], generated_name: str) -> str | None:
    """Return the tag at the end of a job's name if it is none of a task instance's own, else None.

    :param tags: of the task instance's own requests.
    :param generated_name: as of :func:`generate_job_name`.
    """
    tag = find_tag(name)
    if tag is None or tag in tags or name == make_job_name(None, generated_name, tag, "all"):
        return None
    return tag
