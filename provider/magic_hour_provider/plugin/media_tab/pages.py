"""The JSON behind the two pages: one task instance, and all of a run as a contact sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from magic_hour_provider.api.models import CANCELED, ERROR, is_id
from magic_hour_provider.plugin.media_tab.media_types import expected_kind
from magic_hour_provider.plugin.media_tab.roots import Root
from magic_hour_provider.plugin.media_tab.sanitize import number_of, seconds_of
from magic_hour_provider.plugin.media_tab.task_details import Attempt, file_of, job_of, trouble_of

NOT_OURS = "This task runs no Magic Hour operator, so it has no media to show."
PAGE, LARGEST_PAGE = 120, 1000
"""Tiles of a contact sheet that are sent at a time."""


def task_page(attempt: Attempt | None, roots: tuple[Root, ...], now: float, *, live: bool) -> dict[str, Any]:
    """Return what the page of a task instance shows.

    :param attempt: None where the task is not ours.
    :param now: the time, in seconds since 1970.
    :param live: whether the run goes on.
    """
    if attempt is None:
        return {"now": now, "live": False, "line": NOT_OURS, "job": None, "trouble": None, "files": []}
    files = [file_of(attempt, index, roots) for index in range(len(attempt.media))]
    page = _head(attempt) | {"now": now, "live": live and attempt.live, "job": job_of(attempt), "files": files}
    page["trouble"] = trouble_of(attempt)
    return page | {"line": None if files or page["trouble"] else _line(attempt, page)}


def _head(attempt: Attempt) -> dict[str, Any]:
    head = {"task_id": attempt.task_id, "map_index": attempt.map_index, "label": attempt.label}
    return head | {"state": attempt.state, "stage": attempt.stage}


def _line(attempt: Attempt, page: dict[str, Any]) -> str | None:
    """Return the one line of a task instance that shows nothing; None while its job is under way."""
    job = page["job"]
    if not attempt.makes_media:
        return "This task makes no media: it uploads or deletes."
    if attempt.stage == "idle":
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


def _outline(attempt: Attempt) -> list[tuple[int | None, str | None]]:
    """Return the tiles of a task instance: the index of a file, or None where there is none, and its kind."""
    if attempt.media:
        return [(index, expected_kind(uri.rpartition("/")[2])) for index, (uri, _) in enumerate(attempt.media)]
    if attempt.stage == "idle" or not attempt.makes_media:
        return []
    kind = {**attempt.result, **attempt.job}.get("kind")
    return [(None, kind if isinstance(kind, str) else None)]


def run_page(
    attempts: Sequence[Attempt],
    roots: tuple[Root, ...],
    now: float,
    *,
    live: bool,
    kind: str | None = None,
    stage: str | None = None,
    offset: int = 0,
    limit: int = PAGE,
) -> dict[str, Any]:
    """Return a part of a run's contact sheet, and the sums of the whole.

    :param live: whether the run goes on.
    :param kind: only tiles of this kind.
    :param stage: only tiles of task instances at this stage.
    :param offset: how many of these tiles to leave out at the beginning.
    :param limit: how many to send.
    """
    every = [(attempt, *tile) for attempt in attempts for tile in _outline(attempt)]
    chosen = [one for one in every if kind in (None, one[2]) and stage in (None, one[0].stage)]
    part = chosen[offset : offset + limit]
    return {
        "now": now,
        "live": live,
        "totals": _totals(attempts),
        "kinds": Counter(one[2] for one in every if one[2]),
        "stages": Counter(one[0].stage for one in every),
        "tasks": Counter(one[0].task_id for one in chosen),
        "matching": len(chosen),
        "with_file": sum(one[1] is not None for one in chosen),
        "tiles": [_tile(attempt, index, its_kind, roots) for attempt, index, its_kind in part],
    }


def _tile(attempt: Attempt, index: int | None, kind: str | None, roots: tuple[Root, ...]) -> dict[str, Any]:
    job, trouble = job_of(attempt), trouble_of(attempt)
    names = ("title", "prompt", "credits", "submitted_at", "expected_at", "library_url")
    tile = _head(attempt) | {"kind": kind} | {name: job[name] if job else None for name in names}
    tile["sentence"] = trouble["sentence"] if trouble else None
    tile["file"] = None if index is None else file_of(attempt, index, roots)
    if index is None and trouble is None and attempt.stage == "done":
        tile["sentence"] = _line(attempt, {"job": job, "live": False})
    return tile


def _totals(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Return the files, the credits and the seconds from order to end of all jobs; each counts once."""
    files = {uri for attempt in attempts for uri, _ in attempt.media}
    jobs = {key: job for job, key in _jobs(attempts)}
    charged = (number_of(job.get("credits_charged")) for job in jobs.values() if not _refunded(job))
    spans = ((seconds_of(job.get("submitted_at")), seconds_of(job.get("ended_at"))) for job in jobs.values())
    return {
        "files": len(files),
        "credits": sum(credits for credits in charged if credits is not None),
        "seconds": sum(max(end - start, 0) for start, end in spans if start is not None and end is not None),
    }


def _jobs(attempts: Sequence[Attempt]) -> Iterator[tuple[dict[str, Any], str]]:
    """Return the jobs with their ids; those of tasks that paid come last, as they know most."""
    for attempt in sorted(attempts, key=lambda one: bool(one.job.get("request"))):
        job = {**attempt.result, **attempt.job}
        if is_id(job.get("id")):
            yield job, job["id"]


def _refunded(job: dict[str, Any]) -> bool:
    return job.get("status") in (ERROR, CANCELED)
