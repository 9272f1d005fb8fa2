"""The XComs about a task's job: what people and views read while it runs, when it is done and after it failed."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from magic_hour_provider import clock
from magic_hour_provider.api.errors import (
    Charge,
    MagicHourError,
    SubmissionUnknownError,
    TransferError,
    WaitTimedOutError,
)
from magic_hour_provider.api.models import CANCELED, ERROR, GONE, library_url
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.ledger.places.mark import EarlierXComs
from magic_hour_provider.ledger.record import Record, RunCredits
from magic_hour_provider.times import format_time
from magic_hour_provider.xcoms import (
    JOB_XCOM,
    LINK_XCOM,
    RETURN_XCOM,
    UNPAID_XCOM,
    delete_xcom,
    intent_xcom,
    refunded_xcom,
    submitted_xcom,
)

log = logging.getLogger(__name__)

PENDING = "pending"
"""The status of a task that has no job yet."""
SUBMITTING = "submitting"
"""The status of a task whose paid request may be under way."""

_MAX_REQUEST = 16 * 1024  # bytes of JSON


def redact_values(value: Any) -> Any:
    """Return a request, or a part of it, as JSON without anything secret: the queries of signed links are cut."""
    if isinstance(value, Mapping):
        return {redact(str(name)): redact_values(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_values(inner) for inner in value]
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    if isinstance(value, int) and value.bit_length() > 1024:
        return "a number of hundreds of digits"  # Python refuses to write one of thousands
    return value if isinstance(value, int | float | bool | None) else redact(str(value))


def _shorten(request: Any) -> Any:
    text = json.dumps(request)
    return request if len(text) <= _MAX_REQUEST else {"shortened": text[: _MAX_REQUEST - 100]}


def error_code(error: MagicHourError) -> str:
    """Return a failure as a word for programs: the service's own code, else the kind of error (``wait_timed_out``)."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()
    return error.code or kind


def read_reported_request(ti: Any) -> dict[str, Any]:
    """Return the request that this attempt has reported before it was deferred; empty: it cannot be read.

    It is shown, not sent: signed links are cut, and one that is too long is shortened.
    """
    try:
        reported = ti.xcom_pull(task_ids=ti.task_id, key=JOB_XCOM, map_indexes=ti.map_index)
    except Exception:
        log.exception("The XCom %r could not be read; the job is not touched by that.", JOB_XCOM)
        return {}
    request = reported.get("request") if isinstance(reported, Mapping) else None
    return dict(request) if isinstance(request, Mapping) else {}


class Report:
    """The XComs of one attempt. They inform; where one cannot be written the attempt continues all the same.

    :param ti: Airflow's task instance.
    :param tool: slug of the tool.
    :param request: the request as the user gave it; empty for a task that submits none.
    :param is_recorded: whether a record is kept of what the task pays for; said where it is not.
    """

    def __init__(self, ti: Any, tool: str, request: Mapping[str, Any], *, is_recorded: bool = True) -> None:
        self._ti = ti
        self.dag_id: str = ti.dag_id
        self._facts: dict[str, Any] = {"tool": tool, "request": _shorten(redact_values(request)), "polls": 0}
        if not is_recorded:
            self._facts["is_recorded"] = False
        self.has_lost_payments = False
        """Whether the task instance has paid for what no record tells of."""
        self._intents: list[str] = []  # keys that this attempt has pushed
        self._intended_name: str | None = None
        self._earlier_jobs: list[str] = []

    def load_previous(self) -> None:
        """Take over what the attempt's first half, before the deferral, has pushed."""
        try:
            before = self._ti.xcom_pull(task_ids=self._ti.task_id, key=JOB_XCOM, map_indexes=self._ti.map_index)
        except Exception:
            log.exception("The XCom %r could not be read; the job is not touched by that.", JOB_XCOM)
            return
        if isinstance(before, Mapping):
            own = [name for name in ("tool", "request") if self._facts[name]]
            self._facts.update({name: before[name] for name in before if name not in own})

    def has_result(self) -> bool:
        """Whether the task has its result before this attempt returns one; False also where nobody knows.

        Then its trigger was about to end it, and has counted its credits, when a webhook resumed it.
        """
        try:
            result = self._ti.xcom_pull(task_ids=self._ti.task_id, key=RETURN_XCOM, map_indexes=self._ti.map_index)
        except Exception:
            log.exception("The XCom %r could not be read; the job is not touched by that.", RETURN_XCOM)
            return False
        return result is not None

    def record_poll(self, status: str) -> None:
        """Count one poll and what it saw."""
        self._facts["polls"] += 1
        self._facts["status"] = status

    def set_estimate(self, estimate: Mapping[str, Any]) -> None:
        """Note what the job will probably cost; pushed with whatever comes next.

        :param estimate: ``{"credits", "basis"}``.
        """
        self._facts["estimate"] = dict(estimate)

    def set_limits(self, max_credits: int | None, max_credits_per_run: int | None) -> None:
        """Note what limits the job, in credits; None: nothing does. Pushed with whatever comes next."""
        limits = {"max_credits": max_credits, "max_credits_per_run": max_credits_per_run}
        self._facts.update({name: limit for name, limit in limits.items() if limit is not None})

    def set_run_credits(self, record: Record | None) -> None:
        """Note what the task instance has paid in its run, which the other tasks of the run read.

        :param record: as of :meth:`count_run_credits`.
        """
        self._facts["run_credits"] = self._describe_run_credits(record)

    def _describe_run_credits(self, record: Record | None) -> dict[str, Any]:
        index = self._ti.map_index
        return asdict(self.count_run_credits(record)) | {"map_index": -1 if index is None else index}

    def count_run_credits(self, record: Record | None) -> RunCredits:
        """Return what the task instance has paid in its run.

        :param record: its ledger's; None: there is none.
        """
        credits = record.count_run_credits() if record is not None else RunCredits()
        return credits + RunCredits(is_known=not self.has_lost_payments)

    def push_earlier_payments(self, record: Record) -> None:
        """Push what was paid before a new job is made, as the XCom of the attempt before is gone.

        :param record: what the ledger holds by then.
        """
        if record.count_run_credits() != RunCredits():
            self._push(JOB_XCOM, {**self._facts, "status": PENDING})

    def push_intent(self, tag: str, name: str | None, conn_id: str) -> bool:
        """Push that a request is about to be sent; its tag finds the task instance (XCom keys are indexed).

        It also is what other tasks of the run know of this one while nobody knows whether it has a job.

        :returns: whether they can know it: the XCom could be written.
        """
        written_at = format_time(clock.current().now())
        intent = {"tool": self._facts["tool"], "name": name, "conn_id": conn_id, "written_at": written_at}
        self._push(intent_xcom(tag), intent)
        self._intents.append(intent_xcom(tag))
        self._intended_name = name
        return self._push(JOB_XCOM, {**self._facts, "name": name, "status": SUBMITTING})

    def keep_earlier(self) -> None:
        """Push the keys of an earlier attempt again: Airflow removes them, and the next attempt must find them too."""
        earlier = EarlierXComs.of(self._ti)
        jobs = (*earlier.job_ids, *earlier.refunded)
        for key in (*map(intent_xcom, earlier.tags), *map(submitted_xcom, jobs), *map(refunded_xcom, earlier.refunded)):
            self._push(key, {"tool": self._facts["tool"]})
        if earlier.knew_unpaid:
            self.push_unpaid()

    def push_unpaid(self) -> None:
        """Push that a new job would not be a second one, as far as this attempt knows."""
        self._push(UNPAID_XCOM, {"tool": self._facts["tool"]})

    def push_record(self, record: Record, status: str) -> None:
        """Push the job that a record is of; see :meth:`push_job`."""
        if record.estimate is not None:
            self.set_estimate(record.estimate)
        self.set_run_credits(record)
        self.push_job(
            record.job_id or "",
            record.kind,
            status,
            name=record.name,
            submitted_at=record.submitted_at,
            credits_charged=record.credits_charged,
        )

    def push_earlier_job(self, record: Record) -> None:
        """Push the key of the job before, until there is a new one: the record may get lost meanwhile.

        :param record: what the ledger holds as a new job is to be made.
        """
        if record.job_id is not None and record.state in ("submitted", "delivered"):
            self._push(submitted_xcom(record.job_id), {"kind": record.kind, "tool": record.tool})
            self._earlier_jobs.append(submitted_xcom(record.job_id))

    def push_unrecorded(self, record: Record) -> None:
        """Push a paid job whose record cannot be written yet; its intent's key stays, and says whose job it is."""
        self._push(submitted_xcom(record.job_id or ""), {"kind": record.kind, "tool": record.tool})

    def push_job(
        self,
        job_id: str,
        kind: str,
        status: str,
        *,
        name: str | None = None,
        submitted_at: float | None = None,
        credits_charged: int | None = None,
    ) -> None:
        """Push which job the task has; its id finds the task instance.

        :param submitted_at: in seconds since 1970.
        """
        page = library_url(kind, job_id)
        self._facts.update(
            id=job_id,
            kind=kind,
            name=name,
            library_url=page,
            submitted_at=None if submitted_at is None else format_time(submitted_at),
            credits_charged=credits_charged,
            status=status,
        )
        if self._push(submitted_xcom(job_id), {"kind": kind, "tool": self._facts["tool"]}):
            # The job's own key finds the task from here on.
            self._remove(self._intents)
            self._remove(self._earlier_jobs)
        if page:
            self._push(LINK_XCOM, page)
        self._push(JOB_XCOM, self._facts)

    def push_refunded(self, job_id: str) -> None:
        """Push that a job was refunded."""
        self._push(refunded_xcom(job_id), {"tool": self._facts["tool"]})

    def describe_deferral(self, free: Record) -> dict[str, Any]:
        """Return the job's XCom for a trigger, with what the task instance has paid in its run beside the job.

        :param free: the record as if the job were complete and had cost nothing.
        """
        return {**self._facts, "run_credits": self._describe_run_credits(free)}

    def set_job_end(self, status: str, credits_charged: int | None) -> None:
        """Note how the job itself ended; pushed with the attempt's end."""
        self._facts["status"] = status
        if credits_charged is not None:
            self._facts["credits_charged"] = credits_charged

    def push_failure(self, error: MagicHourError) -> None:
        """Push that the attempt failed: the message, the charge and the next step.

        The status stays the job's own where the job is known to keep running or has ended.
        """
        status, job = "failed", self._facts.get("status")
        if isinstance(error, SubmissionUnknownError):
            status = "unknown"
            self._facts.setdefault("name", self._intended_name)  # by its tag a person finds the job, if there is one
        elif isinstance(error, WaitTimedOutError | TransferError) or job in (ERROR, CANCELED, GONE):
            status = str(job or status)
        charge = error.charge or Charge.NONE
        self._facts.update(
            error=str(error), error_code=error_code(error), charge=charge.value, next_step=error.next_step
        )
        self.push_end(status)

    def push_end(self, status: str, *, credits_charged: int | None = None) -> None:
        """Push how the attempt ended, and when."""
        self.set_job_end(status, credits_charged)
        self._facts["ended_at"] = format_time(clock.current().now())
        self._push(JOB_XCOM, self._facts)

    def _push(self, key: str, value: Any) -> bool:
        try:
            self._ti.xcom_push(key=key, value=value)
        except Exception:
            log.exception("The XCom %r could not be written; the job is not touched by that.", key)
            return False
        return True

    def remove_intent(self, tag: str) -> None:
        """Remove the key of an intent that has surely no job; that of a lost response stays."""
        self._intents.remove(intent_xcom(tag))
        self._remove([intent_xcom(tag)])

    def _remove(self, keys: list[str]) -> None:
        while keys:
            key = keys.pop()
            try:
                delete_xcom(self._ti, key)
            except Exception as error:  # noqa: BLE001 (a row too many harms nobody)
                log.debug("The XCom %r could not be removed: %s", key, error)
