"""The end of a job: the task's result, or the error that says what it means."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from magic_hour_provider.api import errors
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.models import COMPLETE, GONE, Job
from magic_hour_provider.api.responses import job_error
from magic_hour_provider.execution.failures import describe_unrecorded
from magic_hour_provider.execution.payment.limits import report_overcharge
from magic_hour_provider.execution.payment.preflight import add_link_advice
from magic_hour_provider.execution.report import Report, redact_values
from magic_hour_provider.execution.spec import JobSpec
from magic_hour_provider.ledger.ledger import Ledger
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.metrics import count_credits
from magic_hour_provider.outputs.download import find_stored_files, store_outputs
from magic_hour_provider.outputs.result import StoredFile, task_result
from magic_hour_provider.polling.schedule import REFUSED, TIMEOUT, Outcome

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

TaskResult = dict[str, Any]
"""What a task returns: see :func:`magic_hour_provider.outputs.result.task_result`."""


class OutcomeHandler:
    """Concludes an attempt: stores the files of a job that is complete, and says what any other end means.

    :param spec: what the user asked for.
    :param client: the client, open.
    :param ledger: of the task instance.
    :param report: of this attempt.
    :param log: the task's log.
    """

    def __init__(
        self, spec: JobSpec, client: MagicHourClient, ledger: Ledger, report: Report, log: FilteringBoundLogger
    ) -> None:
        self._spec = spec
        self._client = client
        self._ledger = ledger
        self._report = report
        self._log = log

    def conclude(
        self,
        record: Record,
        observation: Job | errors.MagicHourError | None,
        outcome: Outcome,
        *,
        by_execution_timeout: bool = False,
    ) -> TaskResult:
        """Return the task's result, or raise what its job's end means.

        :param record: of the job.
        :param observation: what the last poll saw; None: there was none.
        :param outcome: how the wait ended.
        :param by_execution_timeout: whether its deadline was that of ``execution_timeout``, not of our own timeout.
        :raises MagicHourError: there is no result now, or never.
        """
        job = observation if isinstance(observation, Job) else Job.gone(record.kind, record.job_id or "")
        if outcome.status == COMPLETE:
            return self._store(record, job)
        if outcome.status == TIMEOUT:
            status = job.status if observation is job else "silent"
            error = errors.ExecutionTimedOutError if by_execution_timeout else errors.WaitTimedOutError
            timeout = "the task's execution_timeout" if by_execution_timeout else "this attempt's timeout"
            raise error(
                f"Magic Hour job {record.job_id} ({record.tool}) was still {status} when {timeout} ended.",
                next_step="It keeps running: a retry resumes waiting for it and pays nothing. See "
                f"{record.page or 'Magic Hour'}",
            )
        if outcome.status == REFUSED and isinstance(observation, errors.MagicHourError):
            raise type(observation)(
                f"Magic Hour job {record.job_id} ({record.tool}) keeps running, but it could not be polled: "
                f"{observation.message}",
                charge=errors.Charge.KEPT,
                next_step=f"{f'{observation.next_step} ' if observation.next_step else ''}"
                f"{self._how_to_resume(record)}",
            )
        if job.status == GONE and (files := self._find_stored_files(record)):
            # Deleted at Magic Hour, as a pipeline may do when its files are stored: nothing is missing.
            self._log.info("Magic Hour job %s is gone, and its files are where they were stored.", record.job_id)
            done = replace(job, status=COMPLETE, name=record.name, credits_charged=record.credits_charged)
            self._report.push_end(COMPLETE, credits_charged=record.credits_charged)
            return task_result(done, record.tool, files)
        self._report.set_job_end(job.status, job.credits_charged)
        failure = job_error(job, tool=record.tool, how_to_resume=self._ledger.directions.adopt(job.id))
        add_link_advice(failure, self._spec.input_transfer)
        if failure.charge is errors.Charge.REFUNDED:
            self._report.push_refunded(job.id)
        credits_charged = job.credits_charged or record.credits_charged
        ended = self._ledger.mark_ended(replace(record, credits_charged=credits_charged), failure)
        self._report.set_run_credits(ended)
        raise failure

    def conclude_unfinished(self, record: Record, *, is_new: bool) -> TaskResult:
        """Return the result of a task that does not wait; a job of an earlier attempt is polled once.

        :raises JobFailedError: that job has ended without a result.
        """
        job = Job(record.job_id or "", record.kind, "queued", record.name, record.credits_charged)
        if not is_new:
            try:
                job = self._client.get_job(job.kind, job.id)
            except errors.MagicHourError as error:
                self._log.info("The job could not be polled, which changes nothing: %s", error)
            if job.ended and job.status != COMPLETE:
                self.conclude(record, job, Outcome(job.status, job.error_code))
        return task_result(job, record.tool, ())

    def _store(self, record: Record, job: Job) -> TaskResult:
        result = store_outputs(
            self._client,
            job,
            record.tool,
            self._spec.output_path,
            request=redact_values(self._spec.request.body),
            tag=record.tag,
            may_be_empty=self._spec.may_store_nothing,
            stored=record.files,
            on_stored=lambda files: self._ledger.mark_stored(record, [one.to_json() for one in files]),
        )
        credits_charged = job.credits_charged if job.credits_charged is not None else record.credits_charged
        settled = replace(record, state="delivered", credits_charged=credits_charged)
        self._report.set_run_credits(settled)
        self._report.push_end(job.status, credits_charged=job.credits_charged)
        self._ledger.mark_delivered(record, result["media"], credits_charged)
        if record.state != "delivered":
            if self._spec.output_path or not self._report.has_result():
                count_credits(credits_charged, record.tool, self._report.dag_id)
            report_overcharge(self._spec, settled, self._report.dag_id, self._log, reported=record.credits_charged)
        return result

    def _find_stored_files(self, record: Record) -> list[StoredFile] | None:
        if record.state != "delivered" or not self._spec.output_path:
            return None
        return find_stored_files(record.files, self._spec.output_path)

    def _how_to_resume(self, record: Record) -> str:
        if self._ledger.is_ephemeral:
            return describe_unrecorded(record)
        clear = "clear the task: it resumes this job"
        if self._spec.on_clear == "regenerate":
            # There a clear alone would pay.
            clear = f"{self._ledger.directions.adopt(record.job_id or '')} It resumes this job"
        return f"When that is fixed, {clear} and pays nothing. See {record.page or 'Magic Hour'}"
