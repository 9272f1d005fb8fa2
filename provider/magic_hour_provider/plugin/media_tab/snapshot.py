"""A task instance and its XComs, as read from Airflow's database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from magic_hour_provider.xcoms import JOB_XCOM

RESULT_XCOM, MEDIA_XCOM, FILES_XCOM = "return_value", "media", "files"
KEYS = (JOB_XCOM, RESULT_XCOM, MEDIA_XCOM, FILES_XCOM)
"""Keys of the XComs that are read."""

# Airflow's states of a task instance by stage; any other state is "queued".
_STAGES = {"success": "succeeded", "failed": "failed", "upstream_failed": "failed"}
_STAGES |= dict.fromkeys(("skipped", "removed"), "skipped")
_STAGES |= dict.fromkeys(
    ("running", "deferred", "up_for_retry", "up_for_reschedule", "restarting", "awaiting_input"), "running"
)
_MAX_FILES = 1000


def stage_of(state: str | None) -> str:
    """Return ``succeeded``, ``failed``, ``running``, ``queued`` or ``skipped`` (will not run).

    :param state: of a task instance, in Airflow's words; None where it was not scheduled yet.
    """
    return _STAGES.get(state or "", "queued")


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
        return as_mapping(self.xcoms.get(JOB_XCOM))

    @property
    def result(self) -> Mapping[str, Any]:
        """The task's result; empty if it is not one of ours."""
        return as_mapping(self.xcoms.get(RESULT_XCOM))

    @property
    def stage(self) -> str:
        """As :func:`stage_of` its state."""
        return stage_of(self.state)

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


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return a value that is a mapping; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}
