"""What the soak asks for: the requests of single jobs and of the batch, which the DAGs and the checker share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

JOBS_DAG, BATCH_DAG, BATCH_TASK = "soak_jobs", "soak_batch", "catalogue"
BATCH_RUN = "soak-batch"
TOOLS = {"picture": "ai-image-generator", "clip": "text-to-video", "preview": "text-to-video"}
"""The mapped tasks, and their tools: pictures are waited for on the worker first; a preview's file is not stored."""

_ORDER = ("picture", "clip", "picture", "clip", "preview")
_SECONDS = {"picture": (3, 8), "clip": (25, 90), "preview": (25, 90), "row": (8, 40)}
_IDENTITY = re.compile(r"soak (\S+) (\w+) (\d+)")


def single(number: int, run_id: str = "") -> tuple[str, dict[str, Any]]:
    """Return the task of a wave's job, and its request.

    :param number: which job of the wave, from 0.
    :param run_id: of the wave's run, or a template that is.
    """
    task_id = _ORDER[number % len(_ORDER)]
    style = {"prompt": _prompt(run_id, task_id, number)}
    if task_id == "picture":
        return task_id, {"image_count": 1, "aspect_ratio": "1:1", "resolution": "640px", "style": style}
    return task_id, {"end_seconds": 1.5, "resolution": "480p", "aspect_ratio": "1:1", "style": style}


def row(number: int) -> dict[str, Any]:
    """Return a row of the batch, numbered from 0."""
    style = {"prompt": _prompt("batch", "row", number)}
    return {"sku": f"sku-{number}", "image_count": 1, "aspect_ratio": "1:1", "resolution": "640px", "style": style}


def mapped(wave: int) -> dict[tuple[str, int], int]:
    """Return the numbers of a wave's jobs, by task and map index."""
    found: dict[tuple[str, int], int] = {}
    for task_id in TOOLS:
        numbers = [number for number in range(wave) if single(number)[0] == task_id]
        found |= {(task_id, index): number for index, number in enumerate(numbers)}
    return found


def identities(runs: Iterable[str], wave: int, rows: int) -> set[str]:
    """Return who all the requests are, as their prompts say."""
    found = {f"{run} {single(number)[0]} {number}" for run in runs for number in range(wave)}
    return found | {f"batch row {number}" for number in range(rows)}


def identity(prompt: str) -> str:
    """Return which request a prompt is of; empty: none of the soak's."""
    found = _IDENTITY.search(prompt)
    return " ".join(found.groups()) if found else ""


def _prompt(run: str, what: str, number: int) -> str:
    least, most = _SECONDS[what]
    # Spread, so that not all end at once: 37 is prime.
    return f"soak {run} {what} {number} [[seconds:{least + 37 * number % (most - least)}]]"
