"""The JSON of the two pages: one task instance, and a run as a contact sheet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from magic_hour_provider.plugin.media_tab.batch_progress import batch_of, describe_batch
from magic_hour_provider.plugin.media_tab.charges import describe_reason
from magic_hour_provider.plugin.media_tab.database.run_summary import RunSummary, Selection
from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot
from magic_hour_provider.plugin.media_tab.task_details import error_of, file_of, job_of
from magic_hour_provider.plugin.web.sanitize import safe_text

log = logging.getLogger(__name__)

NOT_OUR_OPERATOR = "This task runs no Magic Hour operator, so it has no media to show."
PAGE, MAX_PAGE = 120, 1000
"""Number of tiles of a contact sheet in one response."""
_KEPT_ELSEWHERE = (
    "What this task has made is not known here: an XCom backend keeps its XComs, and Airflow has no record of its job."
)
_UNREADABLE = "The values of this task cannot be shown. The API server's log says why."
_NOT_READABLE = "The XComs of the task %s [%s] cannot be shown in the Media tab."


def task_page(
    task: TaskSnapshot | None, problems: Mapping[str, str | None], now: float, *, live: bool
) -> dict[str, Any]:
    """Return the page of a task instance.

    :param task: None where the task does not run one of our operators.
    :param problems: why files cannot be shown, by their URIs.
    :param now: the time, in seconds since 1970.
    :param live: whether the run is active.
    """
    page: dict[str, Any] = {"now": now, "live": False, "empty_reason": None, "job": None, "error": None, "files": []}
    page |= {"batch": None}
    if task is None:
        return page | {"empty_reason": NOT_OUR_OPERATOR}
    page |= _head(task) | {"live": live and task.live}
    try:
        page["job"], page["error"], page["batch"] = job_of(task), error_of(task), batch_of(task)
        page["files"] = [file_of(task, index, problems) for index in range(len(task.media))]
        is_empty = not (page["files"] or page["error"] or page["batch"])
        return page | {"empty_reason": _empty_reason(task, page) if is_empty else None}
    except Exception:  # anybody may have written these values
        log.exception(_NOT_READABLE, task.task_id, task.map_index)
        return page | {
            "job": None,
            "batch": None,
            "files": [],
            "error": {"message": _UNREADABLE, "charge": None, "next_step": None},
        }


def _head(task: TaskSnapshot) -> dict[str, Any]:
    head = {"task_id": task.task_id, "map_index": task.map_index, "label": safe_text(task.label)}
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
        return _KEPT_ELSEWHERE if task.is_kept_elsewhere else "This task has made no media."
    if job["faces"] is not None:
        return f"{job['faces']} face{'' if job['faces'] == 1 else 's'} found. A face detection makes no file."
    if job["kind"] == "face-detection":
        return "A face detection makes no file."
    if job["status"] == "complete":
        return "The files were not stored, as the task has no output_path. They are in Magic Hour's library."
    return "This task did not wait for its job. The task that does has the files."


def run_page(
    summary: RunSummary,
    selection: Selection,
    snapshots: Mapping[tuple[str, int], TaskSnapshot],
    problems: Mapping[str, str | None],
    now: float,
) -> dict[str, Any]:
    """Return a part of a run's contact sheet, and the totals of the whole run.

    :param snapshots: the task instances of the selected tiles, by task and map index.
    :param problems: why files cannot be shown, by their URIs.
    """
    tiles = [
        _tile(snapshots[one.task.task_id, one.task.map_index], one.index, one.kind, problems) for one in selection.tiles
    ]
    return {"now": now, "live": summary.live, "totals": summary.totals, **selection.counts, "tiles": tiles}


def _tile(
    task: TaskSnapshot, index: int | None, kind: str | None, problems: Mapping[str, str | None]
) -> dict[str, Any]:
    names = ("title", "prompt", "credits", "submitted_at", "expected_at", "library_url")
    tile: dict[str, Any] = _head(task) | {"kind": kind, "message": None, "file": None} | dict.fromkeys(names)
    try:
        job, error, batch = job_of(task), error_of(task), batch_of(task)
        if batch:
            tile |= {"title": batch["title"], "credits": batch["credits_charged"], "message": describe_batch(batch)}
        if index is None and task.media:  # it may have more files than the summary knew
            index = 0
        if index is not None and index < len(task.media):  # or fewer
            tile["file"] = file_of(task, index, problems)
        elif error is None and batch is None and task.stage == "succeeded":
            tile["message"] = _empty_reason(task, {"job": job, "live": False})
        tile |= {name: job[name] for name in names} if job else {}
        return tile | ({"message": describe_reason(error["message"])} if error else {})
    except Exception:  # anybody may have written these values
        log.exception(_NOT_READABLE, task.task_id, task.map_index)
        return tile | {"message": _UNREADABLE, "file": None}
