"""Details of a task instance for the pages: its job, its files and its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from magic_hour_provider.api.catalog import KINDS, TOOLS
from magic_hour_provider.api.models import ENDED, is_id, library_url
from magic_hour_provider.plugin.media_tab.charges import describe_charge, describe_next_step
from magic_hour_provider.plugin.media_tab.media_types import expected_kind
from magic_hour_provider.plugin.media_tab.roots import FileNotShownError, MediaRoot, locate_file
from magic_hour_provider.plugin.media_tab.sanitize import (
    flatten_request,
    parse_time,
    safe_number,
    safe_text,
    to_safe_json,
)
from magic_hour_provider.xcoms import JOB_XCOM

RESULT_XCOM, MEDIA_XCOM, FILES_XCOM = "return_value", "media", "files"
KEYS = (JOB_XCOM, RESULT_XCOM, MEDIA_XCOM, FILES_XCOM)
"""Keys of the XComs that are read."""

# Airflow's states of a task instance by stage; any other state is "queued".
_SUCCEEDED, _FAILED, _SKIPPED = ("success",), ("failed", "upstream_failed"), ("skipped", "removed")
_RUNNING = ("running", "deferred", "up_for_retry", "up_for_reschedule", "restarting", "awaiting_input")
_MAX_FILES = 1000
_PROMPTS = ("prompt", "text", "content", "topic", "script")


@dataclass(frozen=True)
class TaskSnapshot:
    """A task instance and its XComs, as read from Airflow's database.

    :param state: in Airflow's words, or None where it was not scheduled yet.
    :param label: the rendered map index, if it has one.
    :param makes_media: False for an operator that only uploads or deletes.
    :param xcoms: values by key, of :data:`KEYS`.
    """

    task_id: str
    map_index: int
    state: str | None
    label: str | None = None
    makes_media: bool = True
    xcoms: Mapping[str, Any] = field(default_factory=dict)

    @property
    def job(self) -> Mapping[str, Any]:
        """The operator's report of its job; empty if there is none."""
        return _mapping(self.xcoms.get(JOB_XCOM))

    @property
    def result(self) -> Mapping[str, Any]:
        """The task's result; empty if it is not one of ours."""
        return _mapping(self.xcoms.get(RESULT_XCOM))

    @property
    def stage(self) -> str:
        """One of ``succeeded``, ``failed``, ``running``, ``queued`` and ``skipped`` (will not run)."""
        for stage, states in (
            ("succeeded", _SUCCEEDED),
            ("failed", _FAILED),
            ("skipped", _SKIPPED),
            ("running", _RUNNING),
        ):
            if self.state in states:
                return stage
        return "queued"

    @property
    def live(self) -> bool:
        """Whether it may change by itself."""
        return self.stage in ("running", "queued")

    @cached_property
    def media(self) -> list[tuple[str, Any]]:
        """The URIs of its files and their sizes in bytes, in order; not trusted."""
        rows = self.result.get("media", self.xcoms.get(MEDIA_XCOM))
        if isinstance(rows, list):
            found = [(row.get("uri"), row.get("size")) for row in rows if isinstance(row, Mapping)]
        else:
            files = self.result.get("files", self.xcoms.get(FILES_XCOM))
            found = [(uri, None) for uri in files] if isinstance(files, list) else []
        return [(uri, size) for uri, size in found if isinstance(uri, str)][:_MAX_FILES]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def file_of(task: TaskSnapshot, index: int, roots: tuple[MediaRoot, ...]) -> dict[str, Any]:
    """Return what is known of a file without a request to a storage.

    :param index: of the file among the task instance's files.
    """
    uri, size = task.media[index]
    name, problem = file_name(uri), None
    try:
        location = locate_file(uri, roots)
        problem = location.missing_message if location.is_absent else None
    except FileNotShownError as error:
        problem = str(error)
    kind = expected_kind(name)
    details = {"index": index, "uri": to_safe_json(uri), "name": name, "kind": kind, "size": safe_number(size)}
    return details | {"problem": problem}


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
        "status": safe_text(data.get("status")),
        "prompt": _prompt(fields),
        "model": model,
        "fields": fields,
        "credits": safe_number(data.get("credits_charged")),
        "polls": safe_number(data.get("polls")),
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
    if tool is None or submitted is None or job.get("ended_at") or job.get("status") in ENDED or not task.live:
        return None
    return submitted + (tool.median_s or tool.polling_class(_mapping(job.get("request"))).median_s)


def error_of(task: TaskSnapshot) -> dict[str, Any] | None:
    """Return a failure's message, what it means for the charge, and the next step; None if nothing failed."""
    message = safe_text(task.job.get("error"))
    if task.stage == "succeeded" or (message is None and task.stage != "failed"):
        return None  # the error of an earlier attempt, or one that a person overruled
    if task.state == "upstream_failed":
        return {"message": "This task did not run, as an upstream task failed.", "charge": None, "next_step": None}
    charge, next_step = describe_charge(task.job), describe_next_step(task.job)
    if message is None:
        message = "The attempt ended before its operator could report an error. Its log says why"
        message += "." if charge else ", and what it means for the charge."
    return {"message": message, "charge": charge, "next_step": next_step}
