"""Details of a task instance for the pages: its job, its files and its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from magic_hour_provider.api.catalog import KINDS, TOOLS
from magic_hour_provider.api.models import ENDED, is_id, library_url
from magic_hour_provider.plugin.media_tab.batch_progress import batch_report
from magic_hour_provider.plugin.media_tab.charges import describe_charge, describe_failure, describe_next_step
from magic_hour_provider.plugin.media_tab.files.media_types import expected_kind
from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot, as_mapping
from magic_hour_provider.plugin.web.sanitize import (
    flatten_request,
    safe_number,
    safe_text,
    to_safe_json,
)
from magic_hour_provider.times import parse_time

_UNREPORTED = "The attempt ended before its operator could report an error. Its log says why"
_KEPT_ELSEWHERE = "What its operator reported is kept by an XCom backend, and not read here. The task's log says why"
_PROMPTS = ("prompt", "text", "content", "topic", "script")


def file_of(task: TaskSnapshot, index: int, problems: Mapping[str, str | None]) -> dict[str, Any]:
    """Return what is known of a file.

    :param index: of the file among the task instance's files.
    :param problems: why files cannot be shown, by their URIs.
    """
    uri, size = task.media[index]
    name = file_name(uri)
    reported = {"index": index, "uri": to_safe_json(uri), "name": name, "kind": expected_kind(name)}
    return reported | {"size": safe_number(size), "problem": problems.get(uri)}


def file_name(uri: str) -> str:
    """Return the file name of a URI."""
    return str(to_safe_json(uri.rstrip("/").rpartition("/")[2]))


def job_of(task: TaskSnapshot) -> dict[str, Any] | None:
    """Return the job from the operator's report and the result; None if neither names a tool."""
    data = {**task.result, **task.job}
    slug = safe_text(data.get("tool"))
    if slug is None:
        return None
    tool, kind, job_id = TOOLS.get(slug), data.get("kind"), data.get("id")
    kind = kind if kind in KINDS else tool.kind if tool else None
    job_id = job_id if is_id(job_id) else None
    fields, faces = flatten_request(task.job.get("request")), data.get("faces")
    model = next((row["value"] for row in fields if str(row["name"]).rpartition(".")[2] == "model"), None)
    return {
        "tool": slug,
        "title": tool.title if tool else slug,
        "kind": kind,
        "id": job_id,
        "name": safe_text(data.get("name")),
        "tag": safe_text(data.get("tag")),
        "status": safe_text(data.get("status")),
        "prompt": _prompt(fields),
        "model": model,
        "fields": fields,
        "credits": safe_number(data.get("credits_charged")),
        "polls": safe_number(data.get("polls")),
        "written_at": parse_time(data.get("written_at")),
        "submitted_at": parse_time(data.get("submitted_at")),
        "ended_at": parse_time(data.get("ended_at")),
        "expected_at": _expected_at(task),
        "library_url": library_url(str(kind), job_id) if job_id else None,
        "faces": len(faces) if isinstance(faces, list) else None,
    }


def _prompt(fields: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the text of the first prompt field, else of another text field."""
    texts = [row for row in fields if isinstance(row["value"], str) and row["value"].strip()]
    for ending in _PROMPTS:
        for row in texts:
            if str(row["name"]).endswith(ending):
                return str(row["value"])
    return None


def _expected_at(task: TaskSnapshot) -> float | None:
    """Return when an active job should end, by its tool's median duration; None if that is not known."""
    job = task.job
    tool, submitted = TOOLS.get(str(job.get("tool"))), parse_time(job.get("submitted_at"))
    if tool is None or submitted is None or job.get("ended_at") or str(job.get("status")) in ENDED or not task.live:
        return None
    return submitted + (tool.median_s or tool.polling_class(as_mapping(job.get("request"))).median_s)


def error_of(task: TaskSnapshot) -> dict[str, Any] | None:
    """Return a failure's message, what it means for the charge, and the next step; None if nothing failed."""
    report = batch_report(task) if task.batch else task.job
    message = describe_failure(report)
    if task.stage == "succeeded" or (message is None and task.stage != "failed" and task.state != "up_for_retry"):
        return None  # the error of an earlier attempt, or one that a person overruled
    if task.state == "upstream_failed":
        return {"message": "This task did not run, as an upstream task failed.", "charge": None, "next_step": None}
    charge, next_step = describe_charge(report), describe_next_step(report)
    if message is None:
        message = _KEPT_ELSEWHERE if task.is_kept_elsewhere else _UNREPORTED
        message += "." if charge else ", and what it means for the charge."
    return {"message": message, "charge": charge, "next_step": next_step}
