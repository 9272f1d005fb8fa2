"""One attempt of one task: from the rendered request to stored files. The order of its steps protects the money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.models import COMPLETE, GONE, Account, Job
from magic_hour_provider.api.protocol import create_request
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.api.responses import job_error
from magic_hour_provider.api.validation import Findings
from magic_hour_provider.execution.report import Report, without_secrets
from magic_hour_provider.execution.submission import check_min_credits, get_balance, submit_once
from magic_hour_provider.hooks.exceptions import to_airflow_error
from magic_hour_provider.inputs.fields import find_inputs, with_values
from magic_hour_provider.inputs.sources import check_inputs, input_fingerprint
from magic_hour_provider.inputs.upload import resolve_inputs
from magic_hour_provider.ledger.ledger import Ledger
from magic_hour_provider.ledger.record import ADOPT, Record, find_tag, fingerprint, make_job_name, new_tag
from magic_hour_provider.outputs.download import find_stored_files, store_outputs
from magic_hour_provider.outputs.result import StoredFile, task_result
from magic_hour_provider.polling.blocking import poll_until
from magic_hour_provider.polling.schedule import REFUSED, TIMEOUT, Outcome, PollState, Schedule
from magic_hour_provider.storage.paths import check_folder

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_TAG_JOB_NAMES = ("all", "generated", "none")


@dataclass(frozen=True)
class JobSpec:
    """What the user asked of the operator, rendered.

    :param request: the JSON body, ``extra_request`` merged in.
    :param output_path: folder for files, or empty.
    :param timeout: seconds this attempt waits.
    :param findings: what is wrong with the request; matters only if it is sent.
    :param webhooks: whether Magic Hour may tell Airflow's API server which job was made.
    """

    tool: Tool
    request: Mapping[str, Any]
    conn_id: str
    output_path: str
    deferrable: bool
    timeout: float
    findings: Findings
    on_unknown_submission: str
    on_clear: str
    webhooks: bool = False


@dataclass(frozen=True)
class Deferral:
    """The job is still active and this worker has waited long enough: defer.

    :param deadline: when to give up, in seconds since 1970.
    """

    record: Record
    deadline: float


class JobAttempt:
    """Runs one attempt.

    :param spec: what is asked for.
    :param ti: Airflow's task instance.
    :param ledger: what it has paid for.
    :param client: the client, open.
    :param log: the task's log.
    """

    def __init__(
        self,
        spec: JobSpec,
        ti: Any,
        ledger: Ledger,
        client: MagicHourClient,
        log: FilteringBoundLogger,
    ) -> None:
        self.spec = spec
        self.client = client
        self.ledger = ledger
        self.record: Record | None = None
        """What this attempt has paid for, or is about to."""
        self.report = Report(ti, spec.tool.slug, spec.request)
        self._ti = ti
        self._log = log

    @contextmanager
    def translating_errors(self) -> Iterator[None]:
        """Turn our errors into Airflow's, and keep their sentence where people look for it."""
        try:
            yield
        except errors.MagicHourError as error:
            paid = self.report.facts.get("id") and not isinstance(error, errors.JobFailedError)
            if error.charge in (None, errors.Charge.NONE):
                # What was raised by a free request, or before any, says nothing of a job that was paid for before.
                error.charge = errors.Charge.KEPT if paid else errors.Charge.NONE
            if self.ledger.is_ephemeral and error.retryable and paid:
                # A retry would know nothing of the job and pay for another one.
                error.retryable = False
                error.append(
                    charge=error.charge or errors.Charge.KEPT,
                    next_step="There is no record of paid jobs here ([magic_hour] ledger_path, or Airflow 3.3, keeps "
                    "one), so the task is not retried, which would pay again: download the job's files with "
                    "MagicHourDownloadOperator(job=...).",
                )
            if isinstance(error, errors.SubmissionUnknownError) and not error.created:
                error.retryable = self.spec.on_unknown_submission == "resubmit" or (
                    self.record is not None and self._webhook_may_identify(self.record.name, self.record.tag)
                )
            self.report.failed(error, clock.current().now())
            raise to_airflow_error(error) from error

    def _webhook_may_identify(self, name: str | None, tag: str) -> bool:
        """Whether a webhook may identify a job whose answer was lost, before the next attempt: by its name."""
        return find_tag(name) == tag and self.spec.webhooks and self.ledger.in_airflow

    def submit_or_resume(self) -> tuple[Record, bool]:
        """Return the record of the job to wait for, and whether it was just submitted."""
        spec = self.spec
        inputs = find_inputs(spec.tool, spec.request)
        now = fingerprint(
            with_values(spec.request, [(one, input_fingerprint(one)) for one in inputs]),
            connection=spec.conn_id,
            host=self.client.base_url,
            tool=spec.tool.slug,
        )
        decision = self.ledger.decide(
            spec.tool,
            now,
            on_clear=spec.on_clear,
            on_unknown=spec.on_unknown_submission,
            get_balance=lambda: get_balance(self.client),
        )
        if decision.log_message:
            self._log.info(decision.log_message)
        if decision.record is not None:
            self.record = self.ledger.mark_resumed(decision.record)
            self.report.job(self.record, "resumed")
            return self.record, False
        for warning in spec.findings.warnings:
            words = redact(warning)
            self._log.warning("%s: %s. It is sent all the same; a refusal costs nothing.", spec.tool.slug, words)
        # From here on a job will be paid for: everything that can fail for free comes first.
        spec.findings.raise_errors(spec.tool)
        create_request(spec.tool, spec.request)  # what is no JSON is said here, in words
        sources = check_inputs(inputs, clock.current().now())
        if spec.output_path:
            check_folder(spec.output_path)
        account = self._account()
        check_min_credits(account)
        tier = account.tier if account else None
        body = resolve_inputs(self.client, spec.request, inputs, sources, tier=tier)
        return self._pay(now, body, account), True

    def _account(self) -> Account | None:
        """Ask for the balance; also the first thing a wrong key meets."""
        try:
            return self.client.get_account()
        except (errors.AuthenticationError, errors.ConnectionFailedError):
            raise
        except errors.MagicHourError as error:
            self._log.info("The balance could not be asked for, which changes nothing: %s", error)
            return None

    def _pay(self, now: dict[str, str], body: dict[str, Any], account: Account | None) -> Record:
        tool, tag = self.spec.tool, new_tag()
        name: str | None = body.get("name")
        if tool.accepts_name:
            tag_job_names = conf.get("magic_hour", "tag_job_names", fallback="all").strip().lower()
            if tag_job_names not in _TAG_JOB_NAMES:
                raise errors.InvalidInputError(
                    f"[magic_hour] tag_job_names is {tag_job_names!r}; it must be one of {', '.join(_TAG_JOB_NAMES)}."
                )
            name = make_job_name(name, self._generated_name(), tag, tag_job_names)
            body = {**body, "name": name} if name else body
        if conf.getboolean("state_store", "clear_on_success", fallback=False):
            self._log.warning(
                "[state_store] clear_on_success is on: once this task has succeeded its record is gone, and clearing "
                "it makes and pays for a new job."
            )
        # Before the intent: between that and the request nothing may come that could be interrupted.
        self.report.intent(tag, name, self.spec.conn_id)

        def intend() -> Record:
            balance = account.credits if account else None
            self.record = intent = self.ledger.write_intent(tool, now, tag=tag, name=name, balance=balance)
            return intent

        resubmits = self.spec.on_unknown_submission == "resubmit"
        self.record = record = submit_once(
            self.ledger,
            self.client,
            tool,
            body,
            intend,
            account=account,
            resubmits=resubmits,
            webhook_may_identify=self._webhook_may_identify(name, tag),
        )
        self.report.job(record, "queued")
        self._log.info(
            "Submitted Magic Hour job %s (%s), charged %s credits. It keeps running and stays charged whatever happens "
            "to this task; see %s",
            record.job_id,
            tool.slug,
            record.credits_charged,
            record.page or "no page for this kind",
        )
        return record

    def _generated_name(self) -> str:
        mapped = self._ti.map_index is not None and self._ti.map_index >= 0
        index = f"[{self._ti.map_index}]" if mapped else ""
        return f"{self._ti.dag_id}.{self._ti.task_id}{index} {self._ti.run_id}"

    def wait(
        self, record: Record, *, look_now: bool, deadline: float | None = None, tolerate_invalid: bool = True
    ) -> dict[str, Any] | Deferral:
        """Wait as long as this worker should, then collect the files or say that the job is still active.

        :param look_now: whether the job may have ended already.
        :param deadline: when to give up, in seconds since 1970; None: after the attempt's timeout.
        :param tolerate_invalid: False: answers could not be read for long, and one more ends the wait.
        """
        now = clock.current().now()
        deadline = now + self.spec.timeout if deadline is None else deadline
        schedule = Schedule.of(self.spec.tool.polling_class(self.spec.request), self.spec.tool)
        submitted_at = record.submitted_at if record.submitted_at is not None else now
        wait = PollState(schedule, submitted_at=submitted_at, deadline=deadline, tolerate_invalid=tolerate_invalid)
        first = now if look_now else wait.first_poll_at(now)
        until = deadline
        if self.spec.deferrable:
            # A short job is not worth a second process; a long one is not worth a held worker.
            inline = conf.getfloat("magic_hour", "inline_wait_seconds", fallback=30.0)
            until = min(deadline, submitted_at + inline) if schedule.median_s <= inline else 0.0
        if look_now:
            until = max(until, first)  # also after the deadline: the job may have ended in time
        job_id = record.job_id or ""
        seen, outcome = poll_until(
            self.client, record.kind, job_id, wait, first=first, until=until, on_poll=self._on_poll
        )
        return Deferral(record, deadline) if outcome is None else self._finish(record, seen, outcome)

    def _on_poll(self, seen: Job | errors.MagicHourError, sentence: str | None) -> None:
        self.report.looked(seen.status if isinstance(seen, Job) else str(seen))
        if sentence is not None:
            self._log.info(sentence)

    def _finish(self, record: Record, seen: Job | errors.MagicHourError | None, outcome: Outcome) -> dict[str, Any]:
        job = seen if isinstance(seen, Job) else Job.gone(record.kind, record.job_id or "")
        if outcome.status == COMPLETE:
            return self._deliver(record, job)
        if outcome.status == TIMEOUT:
            raise errors.WaitTimedOutError(
                f"Magic Hour job {record.job_id} ({record.tool}) was still {job.status if seen is job else 'silent'} "
                "when this attempt's timeout ended.",
                next_step="It keeps running: a retry resumes waiting for it and pays nothing. See "
                f"{record.page or 'Magic Hour'}",
            )
        if outcome.status == REFUSED and isinstance(seen, errors.MagicHourError):
            raise type(seen)(
                f"Magic Hour job {record.job_id} ({record.tool}) keeps running, but it could not be polled: "
                f"{seen.message}",
                charge=errors.Charge.KEPT,
                next_step=f"{f'{seen.next_step} ' if seen.next_step else ''}When that is fixed, "
                f"{self._collect_again(record)} See {record.page or 'Magic Hour'}",
            )
        if job.status == GONE and (media := self._still_there(record)):
            # Deleted at Magic Hour, as a pipeline may do when its files are stored: nothing is missing.
            self._log.info("Magic Hour job %s is gone, and its files are where they were stored.", record.job_id)
            done = replace(job, status=COMPLETE, name=record.name, credits_charged=record.credits_charged)
            self.report.ended(COMPLETE, clock.current().now(), credits_charged=record.credits_charged)
            return task_result(done, record.tool, media)
        self.report.settled(job.status, job.credits_charged)
        failure = job_error(job, tool=record.tool, adopt=self.ledger.describe_location(ADOPT))
        self.ledger.mark_ended(replace(record, credits_charged=job.credits_charged or record.credits_charged), failure)
        raise failure

    def _still_there(self, record: Record) -> list[StoredFile] | None:
        if record.state != "delivered" or not self.spec.output_path:
            return None
        return find_stored_files(record.files, self.spec.output_path)

    def _collect_again(self, record: Record) -> str:
        clear = "clear the task: it resumes this job and pays nothing."
        if self.spec.on_clear == "regenerate":
            # There a clear alone would buy.
            return f'put "{record.job_id}" into {self.ledger.describe_location(ADOPT)} and {clear}'
        return clear

    def submitted(self, record: Record, *, new: bool) -> dict[str, Any]:
        """Return the result of a task that does not wait; a job of an earlier attempt is looked at once.

        :raises JobFailedError: that job has ended without a result.
        """
        job = Job(record.job_id or "", record.kind, "queued", record.name, record.credits_charged)
        if not new:
            try:
                job = self.client.get_job(job.kind, job.id)
            except errors.MagicHourError as error:
                self._log.info("The job could not be polled, which changes nothing: %s", error)
            if job.ended and job.status != COMPLETE:
                self._finish(record, job, Outcome(job.status, job.error_code))
        return task_result(job, record.tool, ())

    def _deliver(self, record: Record, job: Job) -> dict[str, Any]:
        result = store_outputs(
            self.client,
            job,
            record.tool,
            self.spec.output_path,
            request=without_secrets(self.spec.request),
            stored=record.files,
            on_stored=lambda some: self.ledger.mark_stored(record, [asdict(one) for one in some]),
        )
        self.report.ended(job.status, clock.current().now(), credits_charged=job.credits_charged)
        charged = job.credits_charged if job.credits_charged is not None else record.credits_charged
        self.ledger.mark_delivered(record, result["media"], charged)
        return result
