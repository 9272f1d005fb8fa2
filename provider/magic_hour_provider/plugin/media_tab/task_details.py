"""What the pages show of a task instance: what made its files, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from magic_hour_provider.api.catalog import KINDS, TOOLS
from magic_hour_provider.api.models import ENDED, is_id, library_url
from magic_hour_provider.links import JOB_XCOM
from magic_hour_provider.plugin.media_tab.charges import next_step, what_was_paid
from magic_hour_provider.plugin.media_tab.media_types import expected_kind
from magic_hour_provider.plugin.media_tab.roots import RefusedError, Root, locate
from magic_hour_provider.plugin.media_tab.sanitize import number_of, plain, rows_of, seconds_of, text_of

RESULT_XCOM, MEDIA_XCOM, FILES_XCOM = "return_value", "media", "files"
KEYS = (JOB_XCOM, RESULT_XCOM, MEDIA_XCOM, FILES_XCOM)
"""The XComs that are read."""

# Airflow's words for a task instance's state, by ours; any other one is "waiting".
_DONE, _FAILED, _IDLE = ("success",), ("failed", "upstream_failed"), ("skipped", "removed")
_WORKING = ("running", "deferred", "up_for_retry", "up_for_reschedule", "restarting", "awaiting_input")
_MOST_FILES = 1000
_PROMPTS = ("prompt", "text", "content", "topic", "script")


@dataclass(frozen=True)
class Attempt:
    """A task instance as Airflow keeps it.

    :param state: Airflow's word, or None where it was not scheduled yet.
    :param label: Airflow's own name for a mapped one, if it has one.
    :param makes_media: False for an operator that only uploads or deletes.
    :param xcoms: those of :data:`KEYS` that there are.
    """

    task_id: str
    map_index: int
    state: str | None
    label: str | None = None
    makes_media: bool = True
    xcoms: Mapping[str, Any] = field(default_factory=dict)

    @property
    def job(self) -> Mapping[str, Any]:
        """What the operator reported of its job; empty if nothing."""
        return _mapping(self.xcoms.get(JOB_XCOM))

    @property
    def result(self) -> Mapping[str, Any]:
        """What the task returned; empty if it is nothing of ours."""
        return _mapping(self.xcoms.get(RESULT_XCOM))

    @property
    def stage(self) -> str:
        """One of ``done``, ``failed``, ``working``, ``waiting`` and ``idle`` (will not run)."""
        for stage, states in (("done", _DONE), ("failed", _FAILED), ("idle", _IDLE), ("working", _WORKING)):
            if self.state in states:
                return stage
        return "waiting"

    @property
    def live(self) -> bool:
        """Whether it changes without anybody doing anything."""
        return self.stage in ("working", "waiting")

    @cached_property
    def media(self) -> list[tuple[str, Any]]:
        """The addresses of its files and their sizes in bytes, in order; not to be trusted."""
        rows = self.result.get("media", self.xcoms.get(MEDIA_XCOM))
        if isinstance(rows, list):
            found = [(row.get("uri"), row.get("size")) for row in rows if isinstance(row, Mapping)]
        else:
            files = self.result.get("files", self.xcoms.get(FILES_XCOM))
            found = [(uri, None) for uri in files] if isinstance(files, list) else []
        return [(uri, size) for uri, size in found if isinstance(uri, str)][:_MOST_FILES]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def file_of(attempt: Attempt, index: int, roots: tuple[Root, ...]) -> dict[str, Any]:
    """Return what may be said of a file without a request to a storage.

    :param index: its place among the task instance's files.
    """
    uri, size = attempt.media[index]
    name, problem = name_of(uri), None
    try:
        place = locate(uri, roots)
        problem = place.missing if place.is_absent else None
    except RefusedError as refused:
        problem = str(refused)
    kind = expected_kind(name)
    shown = {"index": index, "uri": plain(uri), "name": name, "kind": kind, "size": number_of(size)}
    return shown | {"problem": problem}


def name_of(uri: str) -> str:
    """Return the file name of an address."""
    return str(plain(uri.rstrip("/").rpartition("/")[2]))


def job_of(attempt: Attempt) -> dict[str, Any] | None:
    """Return what made the files, from the operator's report and from the result; None if neither names a tool."""
    told = {**attempt.result, **attempt.job}
    slug = text_of(told.get("tool"))
    if slug is None:
        return None
    tool, kind, job_id = TOOLS.get(slug), told.get("kind"), told.get("id")
    kind = kind if kind in KINDS else tool.kind if tool else None
    job_id = job_id if is_id(job_id) else None
    fields, faces = rows_of(attempt.job.get("request")), told.get("faces")
    model = next((row["value"] for row in fields if str(row["name"]).rpartition(".")[2] == "model"), None)
    return {
        "tool": slug,
        "title": tool.title if tool else slug,
        "kind": kind,
        "id": job_id,
        "name": text_of(told.get("name")),
        "status": text_of(told.get("status")),
        "prompt": _prompt(fields),
        "model": model,
        "fields": fields,
        "credits": number_of(told.get("credits_charged")),
        "looks": number_of(told.get("looks")),
        "submitted_at": seconds_of(told.get("submitted_at")),
        "ended_at": seconds_of(told.get("ended_at")),
        "expected_at": _expected_at(attempt),
        "library_url": library_url(str(kind), job_id) if job_id else None,
        "faces": len(faces) if isinstance(faces, list) else None,
    }


def _prompt(fields: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what a person asked for: the first field that holds a prompt, else a text."""
    texts = [row for row in fields if isinstance(row["value"], str) and row["value"].strip()]
    for ending in _PROMPTS:
        for row in texts:
            if str(row["name"]).endswith(ending):
                return str(row["value"])
    return None


def _expected_at(attempt: Attempt) -> float | None:
    """Return when an active job should end, going by its tool's usual duration; None if that is not known."""
    job = attempt.job
    tool, submitted = TOOLS.get(str(job.get("tool"))), seconds_of(job.get("submitted_at"))
    if tool is None or submitted is None or job.get("ended_at") or job.get("status") in ENDED or not attempt.live:
        return None
    return submitted + (tool.median_s or tool.polling_class(_mapping(job.get("request"))).median_s)


def trouble_of(attempt: Attempt) -> dict[str, Any] | None:
    """Return what went wrong: the sentence, what became of the money, and the next step; None if nothing did."""
    error, state = text_of(attempt.job.get("error")), attempt.state
    if attempt.stage == "done" or (error is None and attempt.stage != "failed"):
        return None  # the error of an earlier attempt, or one that a person overruled
    if state == "upstream_failed":
        return {"sentence": "This task did not run, as a task before it failed.", "money": None, "next": None}
    if error is None:
        return {
            "sentence": "The task failed before its operator could report anything. Its log says why, and what it "
            "means for the charge.",
            "money": None,
            "next": None,
        }
    status = text_of(attempt.job.get("status"))
    paid, then = what_was_paid(attempt.job, status), next_step(attempt.job, status, state)
    return {"sentence": error, "money": paid, "next": then}
