"""What a run has paid for, from what its tasks recorded. Each job counts once."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from magic_hour_provider.api.errors import Charge, InvalidInputError
from magic_hour_provider.api.models import CANCELED, ERROR, GONE, is_id
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.plugin.web.sanitize import parse_number, safe_number, safe_text
from magic_hour_provider.xcoms import BATCH_XCOM, JOB_XCOM, REFUNDED_PREFIX

REPORT_FIELDS = (
    "tool",
    "id",
    "status",
    "charge",
    "credits_charged",
    "request",
    "complete",
    "failed",
    "unknown",
    "active",
    "max_credits",
    "max_credits_per_run",
    "run_credits",
)
"""Fields of an operator's or a batch's report that are counted."""

NO_TOOL = "unknown tool"
_EMPTY = (None, "", "{}", "null")


class TaskReport(NamedTuple):
    """An XCom of a task instance: light values, as texts, in the order of :data:`REPORT_FIELDS`.

    :param run: row id of the DAG run.
    :param request: the beginning of it.
    """

    run: int
    task_id: str
    map_index: int
    key: str
    tool: str | None = None
    id: str | None = None
    status: str | None = None
    charge: str | None = None
    credits_charged: str | None = None
    request: str | None = None
    complete: str | None = None
    failed: str | None = None
    unknown: str | None = None
    active: str | None = None
    max_credits: str | None = None
    max_credits_per_run: str | None = None
    run_credits: str | None = None


class TaskRecord(NamedTuple):
    """What Airflow's own record of a task instance holds.

    :param run: row id of the DAG run.
    :param text: the record as it is stored; None where it is too long to be one.
    """

    run: int
    task_id: str
    map_index: int
    text: str | None


class _PaidJob(NamedTuple):
    """A job that was paid for.

    :param credits: that stay charged; None: not known.
    """

    tool: str
    credits: float | None
    is_failed: bool = False
    is_refunded: bool = False


@dataclass
class RunSpend:
    """What a run has paid for.

    :param row_id: of the DAG run.
    :param time: of the run, in seconds since 1970.
    :param tools: credits that stay charged, by tool.
    :param jobs: number of jobs; of a batch, of its items.
    :param failed: number of those that have ended without a result.
    :param refunded: number of those that Magic Hour has refunded, as far as that is recorded.
    :param unknown: number of those whose credits are not known, or that may not exist: the response was lost.
    :param unreadable: number of values that are not as our operators write them.
    :param limit: the most that the run may spend, in credits, where each task of it has recorded a limit; or None.
    :param is_partial: whether it has more task instances than are counted.
    """

    row_id: int
    run_id: str
    state: str
    time: float
    tools: dict[str, float] = field(default_factory=dict)
    jobs: int = 0
    failed: int = 0
    refunded: int = 0
    unknown: int = 0
    unreadable: int = 0
    limit: float | None = None
    is_partial: bool = False

    @property
    def credits(self) -> float:
        """Credits that stay charged."""
        return sum(self.tools.values())


def count_run(
    run: RunSpend, reports: Sequence[TaskReport], records: Iterable[TaskRecord], idle: Collection[str]
) -> None:
    """Count what the tasks of a run have recorded.

    :param run: to be completed.
    :param idle: names of tasks that surely submit no jobs: what they report was paid for elsewhere.
    """
    jobs: dict[str, _PaidJob] = {}
    tools: defaultdict[str, float] = defaultdict(float)
    recorded = set()
    for record in records:
        try:
            jobs |= _read_jobs(record.text)
        except (ValueError, RecursionError, InvalidInputError):  # somebody has written it by hand
            run.unreadable += 1
        recorded.add((record.task_id, record.map_index))
    limits: list[float | None] = []
    run_limits: set[float] = set()
    for report in reports:
        if report.task_id in idle:
            continue
        if report.key.startswith(REFUNDED_PREFIX):
            job_id = report.key.removeprefix(REFUNDED_PREFIX)
            jobs.setdefault(job_id, _PaidJob(_name_tool(report.tool), 0, is_failed=True, is_refunded=True))
            continue
        if report.tool is None:
            run.unreadable += (report.task_id, report.map_index) not in recorded
            continue
        if report.key == BATCH_XCOM:
            _count_batch(run, report, tools)
        elif report.key == JOB_XCOM:
            if not _count_job(run, report, jobs):
                continue
            if (report.task_id, report.map_index) not in recorded:
                tools[_name_tool(report.tool)] += _earlier_credits(report, jobs)
        limits.append(parse_number(report.max_credits))
        run_limits |= {limit for limit in [parse_number(report.max_credits_per_run)] if limit is not None}
    for job in jobs.values():
        run.jobs += 1
        run.failed += job.is_failed
        run.refunded += job.is_refunded
        run.unknown += job.credits is None
        tools[job.tool] += job.credits or 0
    run.tools = {tool: credits for tool, credits in tools.items() if credits}
    known = [limit for limit in limits if limit is not None]
    if run_limits:
        run.limit = min(run_limits)
    elif limits and len(known) == len(limits):
        run.limit = sum(known)


def _count_job(run: RunSpend, report: TaskReport, jobs: dict[str, _PaidJob]) -> bool:
    """Count what a task of one job has reported; whether it pays for jobs at all."""
    if report.request in _EMPTY and report.charge is None:
        return False  # it waits for a job, or downloads it
    if not is_id(report.id):
        is_lost = Charge.UNKNOWN.value in (report.status, report.charge)
        run.jobs, run.unknown = run.jobs + is_lost, run.unknown + is_lost
        run.unreadable += report.id is not None
        return True
    refunded = report.status in (ERROR, CANCELED) or report.charge == Charge.REFUNDED.value
    credits = 0 if refunded else parse_number(report.credits_charged)
    if credits is None or credits < 0:
        run.unreadable += report.credits_charged is not None
        credits = None
    before = jobs.get(str(report.id))
    if before is None or not before.is_refunded:  # what ended the job, it has reported before or not at all
        known = before.credits if before is not None and credits is None else credits
        jobs[str(report.id)] = _PaidJob(_name_tool(report.tool), known, refunded or report.status == GONE, refunded)
    return True


def _earlier_credits(report: TaskReport, jobs: dict[str, _PaidJob]) -> float:
    """Return what a task has paid in earlier attempts: its own total less its last job, where no record names them."""
    try:
        total = safe_number(json.loads(report.run_credits or "{}").get("paid"))
    except (ValueError, AttributeError):  # cut, or of another shape
        return 0
    last = jobs.get(str(report.id))
    return max(0, (total or 0) - ((last.credits or 0) if last is not None else 0))


def _count_batch(run: RunSpend, report: TaskReport, tools: dict[str, float]) -> None:
    """Count what a batch has reported: all its tries together, as it counts itself."""
    items = {name: _count(getattr(report, name)) for name in ("complete", "failed", "unknown", "active")}
    credits = parse_number(report.credits_charged)
    if credits is None or credits < 0:
        run.unreadable += report.credits_charged is not None
        credits = 0
    tools[_name_tool(report.tool)] += credits
    run.jobs += sum(items.values())
    run.failed += items["failed"]
    run.unknown += items["unknown"]


def _count(text: str | None) -> int:
    number = parse_number(text)
    return int(number) if number is not None and number > 0 else 0


def _read_jobs(text: str | None) -> Iterator[tuple[str, _PaidJob]]:
    """Return the jobs of a task's record: those of its history first.

    :raises ValueError: it is no record.
    """
    record = Record.read(json.loads(text or ""))
    history = record.history if isinstance(record.history, list) else []
    for entry in (*(past for past in history if isinstance(past, dict)), vars(record)):
        job_id = entry.get("job_id")
        if is_id(job_id):
            is_refunded = entry.get("state") == "failed" or Charge.REFUNDED.sentence in str(entry.get("reason"))
            charged = 0 if is_refunded else safe_number(entry.get("credits_charged"))
            credits = charged if charged is not None and charged >= 0 else None
            is_failed = entry.get("state") in ("failed", "ended")
            tool = entry.get("tool")
            tool = _name_tool(tool if isinstance(tool, str) else None)
            yield job_id, _PaidJob(tool, credits, is_failed, is_refunded)
            left_out = entry.get("earlier")  # of the jobs that a long history has no place for
            paid = safe_number(left_out.get("paid")) if isinstance(left_out, dict) else None
            if paid is not None and paid > 0:
                yield f"before {job_id}", _PaidJob(tool, paid)


@lru_cache(maxsize=256)  # thousands of jobs share a few names
def _name_tool(tool: str | None) -> str:
    return safe_text(tool) or NO_TOOL
