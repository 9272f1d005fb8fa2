"""A task instance and its XComs, as read from Airflow's database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from magic_hour_provider.api.errors import Charge
from magic_hour_provider.api.models import is_id
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.plugin.media_tab.recorded import describe_record
from magic_hour_provider.xcoms import BATCH_XCOM, INTENT_PREFIX, JOB_XCOM, SUBMITTED_PREFIX, intent_xcom

RESULT_XCOM, MEDIA_XCOM, FILES_XCOM = "return_value", "media", "files"
KEYS = (JOB_XCOM, BATCH_XCOM, RESULT_XCOM, MEDIA_XCOM, FILES_XCOM)
"""Keys of the XComs that are read."""
PREFIXES = (SUBMITTED_PREFIX, INTENT_PREFIX)
"""What the keys of other XComs begin with that are read: they say more than their values."""

# Airflow's states of a task instance by stage; any other state is "queued".
_STAGES = {"success": "succeeded", "failed": "failed", "upstream_failed": "failed"}
_STAGES |= dict.fromkeys(("skipped", "removed"), "skipped")
_STAGES |= dict.fromkeys(
    ("running", "deferred", "up_for_retry", "up_for_reschedule", "restarting", "awaiting_input"), "running"
)
_MAX_FILES = 1000
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]{0,30}:/)?/\S")


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
    :param xcoms: values by key, of :data:`KEYS` and :data:`PREFIXES`.
    :param record: of what the task has paid for, where Airflow has one.
    """

    task_id: str
    map_index: int
    state: str | None
    label: str | None = None
    makes_media: bool = True
    xcoms: Mapping[str, Any] = field(default_factory=dict)
    record: Record | None = None

    @cached_property
    def job(self) -> Mapping[str, Any]:
        """The operator's report of its job, completed from the record; empty if there is neither."""
        report = as_mapping(self.xcoms.get(JOB_XCOM))
        known = self._recorded
        if report.get("id") not in (None, known.get("id")):
            return report  # of another job by now
        if report and report.get("id") is None and known.get("error") is not None:
            return report  # the recorded job has ended, and this attempt has none
        return {**known, **{name: value for name, value in report.items() if value is not None}}

    @property
    def _recorded(self) -> dict[str, Any]:
        if self.record is not None:
            return {} if self._is_record_past else describe_record(self.record)
        tag = next((key.removeprefix(INTENT_PREFIX) for key in self.xcoms if key.startswith(INTENT_PREFIX)), None)
        if tag is None or self.job_ids or as_mapping(self.xcoms.get(JOB_XCOM)).get("charge") == Charge.NONE.value:
            return {}
        intent = as_mapping(self.xcoms[intent_xcom(tag)])
        return {"tag": tag, **{name: intent.get(name) for name in ("name", "tool", "written_at")}}

    @property
    def _is_record_past(self) -> bool:
        """Whether the recorded job has ended, and an attempt is under way that has not reported it as its own yet."""
        is_over = self.record is not None and self.record.state not in ("intent", "submitted")
        return is_over and self.state in ("running", "deferred")

    @cached_property
    def job_ids(self) -> frozenset[str]:
        """The jobs of the task: those of its record, or, where Airflow has none, those that it has reported."""
        if self.record is None:
            keys = (key.removeprefix(SUBMITTED_PREFIX) for key in self.xcoms if key.startswith(SUBMITTED_PREFIX))
            return frozenset(job_id for job_id in keys if is_id(job_id))
        history = self.record.history if isinstance(self.record.history, list) else []
        past = [entry.get("job_id") for entry in history if isinstance(entry, dict)]
        return frozenset(job_id for job_id in (self.record.job_id, *past) if is_id(job_id))

    @property
    def is_kept_elsewhere(self) -> bool:
        """Whether an XCom backend keeps the operator's report in another storage: its address stands in its place."""
        report = self.xcoms.get(JOB_XCOM)
        return isinstance(report, str) and _ADDRESS.match(report) is not None

    @property
    def batch(self) -> Mapping[str, Any]:
        """What a batch has reported of its items; empty if the task is none, or has not reported yet."""
        return as_mapping(self.xcoms.get(BATCH_XCOM))

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
        files = self.result.get("files", self.xcoms.get(FILES_XCOM))
        is_told = isinstance(rows, list) or isinstance(files, list)
        if not is_told and self.record is not None and not self._is_record_past:
            rows = self.record.files
        if isinstance(rows, list):
            found = [(row.get("uri"), row.get("size")) for row in rows if isinstance(row, Mapping)]
        else:
            found = [(uri, None) for uri in files] if isinstance(files, list) else []
        return [(uri, size) for uri, size in found if isinstance(uri, str)][:_MAX_FILES]


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return a value that is a mapping; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}
