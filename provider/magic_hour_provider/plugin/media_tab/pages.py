"""The JSON of the two pages: one task instance, and a run as a contact sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from magic_hour_provider.api.models import CANCELED, ERROR, is_id
from magic_hour_provider.plugin.media_tab.files.media_types import expected_kind
from magic_hour_provider.plugin.media_tab.sanitize import safe_number
from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot
from magic_hour_provider.plugin.media_tab.task_details import error_of, file_of, job_of
from magic_hour_provider.times import parse_time

NOT_OUR_OPERATOR = "This task runs no Magic Hour operator, so it has no media to show."
PAGE, MAX_PAGE = 120, 1000
"""Number of tiles of a contact sheet in one response."""


def task_page(
    task: TaskSnapshot | None, problems: Mapping[str, str | None], now: float, *, live: bool
) -> dict[str, Any]:
    """Return the page of a task instance.

    :param task: None where the task does not run one of our operators.
    :param problems: why files cannot be shown, by their URIs.
    :param now: the time, in seconds since 1970.
    :param live: whether the run is active.
    """
    if task is None:
        return {"now": now, "live": False, "empty_reason": NOT_OUR_OPERATOR, "job": None, "error": None, "files": []}
    files = [file_of(task, index, problems) for index in range(len(task.media))]
    page = _head(task) | {"now": now, "live": live and task.live, "job": job_of(task), "files": files}
    page["error"] = error_of(task)
    return page | {"empty_reason": None if files or page["error"] else _empty_reason(task, page)}


def _head(task: TaskSnapshot) -> dict[str, Any]:
    head = {"task_id": task.task_id, "map_index": task.map_index, "label": task.label}
    return head | {"state": task.state, "stage": task.stage}


def _empty_reason(task: TaskSnapshot, page: dict[str, Any]) -> str | None:
    """Return why a task instance has nothing to show; None while its job is running."""
    job = page["job"]
    if not task.makes_media:
        return "This task makes no media: it uploads or deletes."
    if task.stage == "skipped":
        return "This task was skipped, so it made nothing."
    if page["live"]:
        return "Nothing to see yet." if job is None else None
    if job is None:
        return "This task has made no media."
    if job["faces"] is not None:
        return f"{job['faces']} face{'' if job['faces'] == 1 else 's'} found. A face detection makes no file."
    if job["status"] == "complete":
        return "The files were not stored, as the task has no output_path. They are in Magic Hour's library."
    return "This task did not wait for its job. The task that does has the files."


def _outline(task: TaskSnapshot) -> list[tuple[int | None, str | None]]:
    """Return the tiles of a task instance: the index of a file, or None without one, and its kind."""
    if task.media:
        return [(index, expected_kind(uri.rpartition("/")[2])) for index, (uri, _) in enumerate(task.media)]
    if task.stage == "skipped" or not task.makes_media:
        return []
    kind = {**task.result, **task.job}.get("kind")
    return [(None, kind if isinstance(kind, str) else None)]


@dataclass(frozen=True)
class Selection:
    """The tiles of one response.

    :param tiles: task instance, index of a file or None, and kind.
    :param counts: of all tiles of the run, and of those that match the filters.
    """

    tiles: Sequence[tuple[TaskSnapshot, int | None, str | None]]
    counts: Mapping[str, Any]


def select_tiles(
    tasks: Sequence[TaskSnapshot],
    *,
    kind: str | None = None,
    stage: str | None = None,
    offset: int = 0,
    limit: int = PAGE,
) -> Selection:
    """Return a part of a run's contact sheet.

    :param kind: only tiles of this kind.
    :param stage: only tiles of task instances at this stage.
    :param offset: number of these tiles to skip.
    :param limit: maximum number of tiles.
    """
    tiles = [(task, *tile) for task in tasks for tile in _outline(task)]
    matching = [one for one in tiles if kind in (None, one[2]) and stage in (None, one[0].stage)]
    counts = {
        "kinds": Counter(one[2] for one in tiles if one[2]),
        "stages": Counter(one[0].stage for one in tiles),
        "tasks": Counter(one[0].task_id for one in matching),
        "matching": len(matching),
        "with_file": sum(one[1] is not None for one in matching),
    }
    return Selection(matching[offset : offset + limit], counts)


def run_page(
    tasks: Sequence[TaskSnapshot], selection: Selection, problems: Mapping[str, str | None], now: float, *, live: bool
) -> dict[str, Any]:
    """Return a part of a run's contact sheet, and the totals of the whole run.

    :param problems: why files cannot be shown, by their URIs.
    :param live: whether the run is active.
    """
    tiles = [_tile(task, index, kind, problems) for task, index, kind in selection.tiles]
    return {"now": now, "live": live, "totals": _totals(tasks), **selection.counts, "tiles": tiles}


def _tile(
    task: TaskSnapshot, index: int | None, kind: str | None, problems: Mapping[str, str | None]
) -> dict[str, Any]:
    job, error = job_of(task), error_of(task)
    names = ("title", "prompt", "credits", "submitted_at", "expected_at", "library_url")
    tile = _head(task) | {"kind": kind} | {name: job[name] if job else None for name in names}
    tile["message"] = error["message"] if error else None
    tile["file"] = None if index is None else file_of(task, index, problems)
    if index is None and error is None and task.stage == "succeeded":
        tile["message"] = _empty_reason(task, {"job": job, "live": False})
    return tile


def _totals(tasks: Sequence[TaskSnapshot]) -> dict[str, Any]:
    """Return the number of files, the credits, and the seconds from submission to end of all jobs; each counts once."""
    files = {uri for task in tasks for uri, _ in task.media}
    jobs = {key: job for job, key in _jobs(tasks)}
    charged = (safe_number(job.get("credits_charged")) for job in jobs.values() if not _refunded(job))
    spans = ((parse_time(job.get("submitted_at")), parse_time(job.get("ended_at"))) for job in jobs.values())
    return {
        "files": len(files),
        "credits": sum(credits for credits in charged if credits is not None),
        "seconds": sum(max(end - start, 0) for start, end in spans if start is not None and end is not None),
    }


def _jobs(tasks: Sequence[TaskSnapshot]) -> Iterator[tuple[dict[str, Any], str]]:
    """Return the jobs with their ids; those of tasks that submitted them come last, as they know most."""
    for task in sorted(tasks, key=lambda one: bool(one.job.get("request"))):
        job = {**task.result, **task.job}
        if is_id(job.get("id")):
            yield job, job["id"]


def _refunded(job: dict[str, Any]) -> bool:
    return job.get("status") in (ERROR, CANCELED)
