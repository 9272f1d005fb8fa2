"""The worker's part of the wait: how long it polls before the triggerer takes over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider import clock
from magic_hour_provider.api.catalog import default_polling_class
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.api.models import Job
from magic_hour_provider.execution.deadline import Deadline
from magic_hour_provider.execution.report import Report
from magic_hour_provider.execution.second_worker import plan_task_end
from magic_hour_provider.execution.spec import Deferral, JobSpec
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.polling.blocking import poll_until
from magic_hour_provider.polling.schedule import Outcome, PollState, Schedule

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


@dataclass(frozen=True)
class JobEnd:
    """The end of a job, or of the wait for it.

    :param observation: what the last poll saw; None: there was none.
    :param outcome: how the wait ended.
    :param by_execution_timeout: whether its deadline was that of ``execution_timeout``, not of our own timeout.
    """

    observation: Job | MagicHourError | None
    outcome: Outcome
    by_execution_timeout: bool


def wait_for_job(
    spec: JobSpec,
    client: MagicHourClient,
    record: Record,
    report: Report,
    log: FilteringBoundLogger,
    context: Mapping[str, Any],
    *,
    poll_now: bool,
    deadline: Deadline,
    is_over: bool,
    tolerate_invalid: bool,
) -> JobEnd | Deferral:
    """Poll a job as long as this worker should.

    :param report: counts the polls.
    :param log: the task's log, which gets what is news.
    :param context: Airflow's context.
    :param poll_now: whether the job may have ended already.
    :param deadline: when to give up.
    :param is_over: whether the triggerer has waited until then: one more poll, and that is the end.
    :param tolerate_invalid: False: responses could not be read for long, and one more ends the wait.
    """

    def on_poll(observation: Job | MagicHourError, message: str | None) -> None:
        report.record_poll(observation.status if isinstance(observation, Job) else str(observation))
        if message is not None:
            log.info(message)

    now = clock.current().now()
    ends_at = min(now, deadline.at) if is_over else deadline.at
    schedule = Schedule.of(spec.polling_class, spec.tool)
    submitted_at = record.submitted_at if record.submitted_at is not None else now
    state = PollState(
        schedule,
        submitted_at=submitted_at,
        deadline=ends_at,
        tolerate_invalid=tolerate_invalid,
        needs_files=bool(spec.output_path),
    )
    first = now if poll_now else state.first_poll_at(now)
    until = ends_at
    if spec.deferrable:
        # A short job is not worth a second process; a long one is not worth a held worker.
        inline = conf.getfloat("magic_hour", "inline_wait_seconds", fallback=30.0)
        until = min(ends_at, submitted_at + inline) if schedule.median_s <= inline else 0.0
    if poll_now:
        until = max(until, first)  # also after the deadline: the job may have ended in time
    observation, outcome = poll_until(
        client, record.kind, record.job_id or "", state, first=first, until=until, on_poll=on_poll
    )
    if outcome is not None:
        return JobEnd(observation, outcome, deadline.by_execution_timeout)
    is_default = spec.polling_class == default_polling_class(record.tool, record.kind)
    polling = None if is_default else spec.polling_class.name
    return Deferral(record, spec.conn_id, deadline, polling, plan_task_end(spec, record, report, context))
