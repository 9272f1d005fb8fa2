"""What people and views read of a task's job while it runs and after it failed: the ``magic_hour_job`` XCom."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from magic_hour_provider.api.errors import (
    Charge,
    MagicHourError,
    SubmissionUnknownError,
    TransferError,
    WaitTimedOutError,
)
from magic_hour_provider.api.models import CANCELED, ERROR, GONE
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.times import format_time
from magic_hour_provider.xcoms import JOB_XCOM, LINK_XCOM, intent_xcom, submitted_xcom

log = logging.getLogger(__name__)

_MAX_REQUEST = 16 * 1024  # bytes of JSON


def without_secrets(value: Any) -> Any:
    """Return the request, or a part of it, without anything secret: the signatures of signed links are cut."""
    if isinstance(value, Mapping):
        return {str(name): without_secrets(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    if isinstance(value, str):
        return redact(value)
    return value if isinstance(value, int | float | bool | None) else str(value)


def shown_request(request: Mapping[str, Any]) -> Any:
    """Return a request for people to read: no secrets, at most 16 KiB as JSON."""
    shown = without_secrets(request)
    text = json.dumps(shown)
    if len(text) <= _MAX_REQUEST:
        return shown
    return {"shortened": text[: _MAX_REQUEST - 100]}


class Report:
    """The XComs of one attempt. They inform; if one cannot be written the job goes on all the same.

    :param ti: Airflow's task instance.
    :param tool: slug of the tool.
    :param request: the request as the user gave it.
    """

    def __init__(self, ti: Any, tool: str, request: Mapping[str, Any]) -> None:
        self._ti = ti
        self._facts: dict[str, Any] = {"tool": tool, "request": shown_request(request), "polls": 0}

    @property
    def facts(self) -> Mapping[str, Any]:
        """What would be pushed now."""
        return self._facts

    def go_on(self) -> None:
        """Take over what the attempt's first half, before the deferral, has pushed."""
        try:
            before = self._ti.xcom_pull(task_ids=self._ti.task_id, key=JOB_XCOM, map_indexes=self._ti.map_index)
        except Exception:
            log.exception("The XCom %r could not be read; the job is not touched by that.", JOB_XCOM)
            return
        if isinstance(before, Mapping):
            self._facts.update({name: before[name] for name in before if name not in ("tool", "request")})

    def looked(self, status: str) -> None:
        """Count one look and what it saw."""
        self._facts["polls"] += 1
        self._facts["status"] = status

    def intent(self, tag: str, name: str | None, conn_id: str) -> None:
        """Say that a request is about to be sent; its tag finds the task instance (XCom keys are indexed)."""
        self._push(intent_xcom(tag), {"tool": self._facts["tool"], "name": name, "conn_id": conn_id})

    def job(self, record: Record, status: str) -> None:
        """Say which job the task has."""
        self._facts.update(
            id=record.job_id,
            kind=record.kind,
            name=record.name,
            library_url=record.page,
            submitted_at=None if record.submitted_at is None else format_time(record.submitted_at),
            credits_charged=record.credits_charged,
            status=status,
        )
        self._push(submitted_xcom(str(record.job_id)), {"kind": record.kind, "tool": record.tool})
        if record.page:
            self._push(LINK_XCOM, record.page)
        self.push()

    def settled(self, status: str, credits_charged: int | None) -> None:
        """Note how the job itself ended; pushed with the attempt's end."""
        self._facts["status"] = status
        if credits_charged is not None:
            self._facts["credits_charged"] = credits_charged

    def failed(self, error: MagicHourError, now: float) -> None:
        """Say that the attempt failed: the message, the charge and the next step.

        The status stays the job's own where the job is known to keep running or has ended.
        """
        status, job = "failed", self._facts.get("status")
        if isinstance(error, SubmissionUnknownError):
            status = "unknown"
        elif isinstance(error, WaitTimedOutError | TransferError) or job in (ERROR, CANCELED, GONE):
            status = str(job or status)
        charge = error.charge or Charge.NONE
        self._facts.update(error=str(error), charge=charge.value, next_step=error.next_step)
        self.ended(status, now)

    def ended(self, status: str, now: float, *, credits_charged: int | None = None) -> None:
        """Say how the attempt ended, and when (in seconds since 1970)."""
        self._facts.update(status=status, ended_at=format_time(now))
        if credits_charged is not None:
            self._facts["credits_charged"] = credits_charged
        self.push()

    def push(self) -> None:
        """Write the ``magic_hour_job`` XCom."""
        self._push(JOB_XCOM, self._facts)

    def _push(self, key: str, value: Any) -> None:
        try:
            self._ti.xcom_push(key=key, value=value)
        except Exception:
            log.exception("The XCom %r could not be written; the job is not touched by that.", key)
