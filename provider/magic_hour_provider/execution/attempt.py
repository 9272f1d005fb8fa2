"""One attempt of one task, in the order that protects the money.

The ledger is opened first, so that whatever fails after it still says what was paid for before. Then it is decided
whether this attempt may pay (:mod:`magic_hour_provider.ledger.decision`); everything that can fail for free comes
before the intent (:mod:`.payment.preflight`); the paid request is sent from one place (:mod:`.payment.submission`);
then the attempt waits, on the worker or in the triggerer, and concludes (:mod:`.outcome`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from magic_hour_provider.api import errors
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.models import check_id
from magic_hour_provider.api.prices import estimate
from magic_hour_provider.api.prices.priced_fields import find_priced_fields
from magic_hour_provider.execution.connection import open_connection_of
from magic_hour_provider.execution.deadline import Deadline
from magic_hour_provider.execution.failures import (
    charge_before,
    describe_stop,
    judge_failure,
    report_early_failure,
    reporting_early_failure,
)
from magic_hour_provider.execution.outcome import OutcomeHandler, TaskResult
from magic_hour_provider.execution.payment.limits import report_overcharge
from magic_hour_provider.execution.payment.observed_prices import ObservedPrices
from magic_hour_provider.execution.payment.preflight import check_adopted_job, run_preflight
from magic_hour_provider.execution.payment.run_activity import RunActivity
from magic_hour_provider.execution.payment.run_budget import check_run_limit
from magic_hour_provider.execution.payment.submission import get_balance, submit_once
from magic_hour_provider.execution.report import Report
from magic_hour_provider.execution.spec import Deferral, JobSpec, JobTask
from magic_hour_provider.execution.waiting import wait_for_job
from magic_hour_provider.hooks.exceptions import find_cause, to_airflow_error
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.hooks.own_task import warn_of_test_run
from magic_hour_provider.ledger.decision import Decision, MappedItem
from magic_hour_provider.ledger.fingerprint import find_readable
from magic_hour_provider.ledger.intent import Intent
from magic_hour_provider.ledger.ledger import Ledger
from magic_hour_provider.ledger.messages import CLEAR_WARNING
from magic_hour_provider.ledger.record import Record, RecordError
from magic_hour_provider.ledger.tag import find_tag, generate_job_name
from magic_hour_provider.metrics import CREDITS_REFUSED, count_credits
from magic_hour_provider.polling.schedule import REFUSED, TIMEOUT

if TYPE_CHECKING:
    from airflow.sdk import Context
    from structlog.typing import FilteringBoundLogger


def run(task: JobTask, context: Context) -> TaskResult | Deferral:
    """Submit the task's job once, or resume the one already paid for; wait; store its files."""
    warn_of_test_run(context, task.log)
    with open_attempt(task, context) as attempt:
        decision = attempt.decide()
        is_new = decision.record is None
        record = attempt.submit(decision) if decision.record is None else attempt.resume(decision.record, decision.seen)
        if not attempt.spec.wait_for_completion:
            return attempt.outcome.conclude_unfinished(record, is_new=is_new)
        return attempt.wait(record, poll_now=not is_new)


def resume(
    task: JobTask, context: Context, event: Mapping[str, Any], deadline: Deadline | None
) -> TaskResult | Deferral:
    """Continue after the trigger's event, which only says that a poll is worthwhile: the worker polls itself.

    :param deadline: when this attempt gives up; None: not known any more.
    """
    with open_attempt(task, context) as attempt:
        record = attempt.seen
        if record is None or record.job_id is None:
            # No record is kept (Airflow before 3.3, no folder for it): the event itself carries the job.
            tool, job_id = attempt.spec.tool, check_id(event["id"])
            record = Record("submitted", tool.slug, tool.kind, "", {}, job_id=job_id, submitted_at=0.0)
        attempt.record = record
        attempt.use_connection_of(record)
        attempt.report.load_previous()
        is_over, tolerates = event["status"] == TIMEOUT, event["status"] != REFUSED
        return attempt.wait(record, poll_now=True, deadline=deadline, is_over=is_over, tolerate_invalid=tolerates)


@contextmanager
def open_attempt(task: JobTask, context: Context) -> Iterator[JobAttempt]:
    """Open what an attempt needs, the ledger first, and turn its errors into Airflow's."""
    tool = getattr(task, "tool", None)  # missing where a mapped task names one that does not exist
    slug = tool.slug if tool is not None else ""
    try:
        ledger = Ledger.open(context, str(task.output_path or ""), task.output_template)
        record = ledger.begin()
    except errors.MagicHourError as error:
        report_early_failure(context["ti"], slug, error, None, is_lost=True)
        raise to_airflow_error(error) from find_cause(error)
    if ledger.must_show_unpaid(record):
        Report(context["ti"], slug, {}).push_unpaid()
    with reporting_early_failure(context["ti"], slug, ledger, record):
        spec = task.job_spec()
        hook = MagicHourHook(spec.conn_id)
        settings = hook.settings()
        client = hook.get_conn(settings)
    with ExitStack() as clients:
        clients.enter_context(client)
        task.attempt = attempt = JobAttempt(
            spec, context, ledger, record, client, clients, task.log, has_webhooks=bool(settings.webhook_secrets)
        )
        attempt.report.has_lost_payments = ledger.has_lost_payments
        attempt.report.set_run_credits(record)
        if record is not None and record.state == "intent":
            # Airflow clears the XComs of an attempt as the next one begins, and a webhook may identify the job later.
            attempt.report.push_intent(record.tag, record.name, spec.conn_id)
        with attempt.translating_errors():
            yield attempt


class JobAttempt:
    """The steps of one attempt.

    :param spec: what the user asked for.
    :param context: Airflow's context.
    :param ledger: of the task instance.
    :param record: what it holds.
    :param client: the client, open.
    :param clients: closes the clients that the attempt opens.
    :param log: the task's log.
    :param has_webhooks: whether Magic Hour may tell Airflow's API server which job was made.
    """

    def __init__(
        self,
        spec: JobSpec,
        context: Mapping[str, Any],
        ledger: Ledger,
        record: Record | None,
        client: MagicHourClient,
        clients: ExitStack,
        log: FilteringBoundLogger,
        *,
        has_webhooks: bool,
    ) -> None:
        self.spec = spec
        self.seen = record
        """What the ledger held when the attempt began."""
        self.record: Record | None = None
        """The job that this attempt waits for."""
        self.intent: Intent | None = None
        """What this attempt is about to pay for."""
        self.report = Report(context["ti"], spec.tool.slug, spec.request.body, is_recorded=not ledger.is_ephemeral)
        self.outcome = OutcomeHandler(spec, client, ledger, self.report, log)
        self._context = context
        self._ledger = ledger
        self._client = client
        self._clients = clients
        self._log = log
        self._has_webhooks = has_webhooks
        self._fingerprint: dict[str, str] = {}
        self._has_failed = False

    @contextmanager
    def translating_errors(self) -> Iterator[None]:
        """Turn our errors into Airflow's, and push their message into the task's XComs."""
        try:
            yield
        except errors.MagicHourError as error:
            intent = self.intent.record if self.intent is not None else None
            may_learn_outcome = self.spec.on_unknown_submission == "resubmit" or (
                intent is not None and self._webhook_may_identify(intent.name, intent.tag)
            )
            is_ephemeral = self._ledger.is_ephemeral
            judge_failure(error, self.record, is_ephemeral=is_ephemeral, may_learn_outcome=may_learn_outcome)
            if isinstance(error, errors.CreditLimitError):
                count_credits(1, self.spec.tool.slug, self.report.dag_id, metric=CREDITS_REFUSED)
            self.report.push_failure(error)
            self._has_failed = True
            raise to_airflow_error(error) from find_cause(error)

    def _webhook_may_identify(self, name: str | None, tag: str) -> bool:
        """Whether a webhook may identify a job whose response was lost, before the next attempt: by its name."""
        return find_tag(name) == tag and self._has_webhooks and self._ledger.in_airflow

    def decide(self) -> Decision:
        """Decide from the record whether this attempt may pay."""
        spec, record = self.spec, self.seen
        try:
            self._fingerprint = spec.fingerprint(self._client.base_url)
            decision = self._ledger.decide(
                record,
                spec.tool,
                self._fingerprint,
                on_clear=spec.on_clear,
                on_unknown=spec.on_unknown_submission,
                conn_id=spec.conn_id,
                balance=get_balance(self._client) if record is not None and record.state == "intent" else None,
                item=self._find_item(),
                check_adopted=self._check_adopted,
            )
        except errors.MagicHourError as error:
            if record is None:
                self.report.keep_earlier()
            elif record.state in ("submitted", "delivered"):
                # By its key the next attempt knows of the job, should a clear discard the record.
                self.report.push_record(record, "resumed")
            if error.charge in (None, errors.Charge.NONE):
                error.charge = charge_before(record)
            raise
        if decision.log_message:
            self._log.info(decision.log_message)
        return decision

    def _find_item(self) -> MappedItem | None:
        map_index = self._context["ti"].map_index
        return MappedItem(map_index, self.spec.is_own_field) if map_index is not None and map_index >= 0 else None

    def _check_adopted(self, job_id: str, where: str) -> None:
        record = self.seen
        past = [] if record is None else [record.tag, *(str(one.get("key")) for one in record.history)]
        check_adopted_job(
            self._client,
            self.spec.tool.kind,
            job_id,
            tags=past,
            generated_name=generate_job_name(self._context["ti"]),
            place=where,
            log=self._log,
        )

    def resume(self, record: Record, seen: Record | None) -> Record:
        """Resume a job that is paid for, and return its record."""
        self.record = record
        self.use_connection_of(record)
        self.report.has_lost_payments = self._ledger.has_lost_payments  # not if that is the job that is resumed
        self.report.push_record(record, "resumed")  # first: a clear may discard a record that cannot be written now
        self.record = self._ledger.mark_resumed(record, seen)
        return self.record

    def use_connection_of(self, record: Record) -> None:
        """Use the connection that a job was paid for with, if it is another one."""
        client = open_connection_of(record, self.spec.conn_id, self._log)
        if client is None:
            return
        self._client = self._clients.enter_context(client)
        self.spec = replace(self.spec, conn_id=record.conn_id or self.spec.conn_id)
        self.outcome = OutcomeHandler(self.spec, self._client, self._ledger, self.report, self._log)

    def submit(self, decision: Decision) -> Record:
        """Submit a new job, and return its record: the only step that pays."""
        spec, seen = self.spec, decision.seen
        if seen is not None:
            self.report.push_earlier_job(seen)
            self.report.push_earlier_payments(seen)
        observed = ObservedPrices(spec.conn_id, self._client.base_url, spec.tool)
        priced = find_priced_fields(spec.tool, spec.request.body, find_readable(self._fingerprint))
        cost = estimate(spec.tool, spec.request.body, observed=observed.find(priced))
        self.report.set_estimate(cost.to_json())
        checked = run_preflight(spec, self._client, generate_job_name(self._context["ti"]), cost, self._log)
        if not (self._ledger.is_ephemeral or self._ledger.outlives_a_clear):
            self._log.warning(CLEAR_WARNING)
        self.intent = Intent(
            self._ledger,
            decision,
            spec.tool,
            self._fingerprint,
            tag=checked.tag,
            name=checked.name,
            conn_id=spec.conn_id,
            balance=checked.account.credits if checked.account else None,
            estimate=cost.to_json(),
            announce=self.report.push_unrecorded,
        )
        limit = check_run_limit(spec, cost, self.report.count_run_credits(seen), self._context)
        self.report.set_limits(spec.max_credits, limit.credits if limit is not None else None)
        # Before the intent: between that and the request nothing may come that could be interrupted.
        self.report.set_run_credits(self.intent.record)
        is_reserved = self.report.push_intent(checked.tag, checked.name, spec.conn_id)
        try:
            if limit is not None and not is_reserved:
                raise RecordError(f"What this task reserves under {limit.where} could not be written for the others.")
            self.record = record = submit_once(
                self.intent,
                self._client,
                spec.tool,
                checked.body,
                account=checked.account,
                account_at=checked.account_at,
                activity=RunActivity(self._context, seen),
                resubmits=spec.on_unknown_submission == "resubmit",
                webhook_may_identify=self._webhook_may_identify(checked.name, checked.tag),
            )
        except errors.MagicHourError:
            if not self.intent.is_written:
                # Surely no job was made: a key that stayed would be taken for one, should the record be missing.
                self.report.remove_intent(checked.tag)
                self.report.set_run_credits(seen)
            raise
        self.report.push_record(record, "queued")
        report_overcharge(spec, record, self.report.dag_id, self._log)
        observed.add(priced, record.credits_charged)
        return record

    def wait(
        self,
        record: Record,
        *,
        poll_now: bool,
        deadline: Deadline | None = None,
        is_over: bool = False,
        tolerate_invalid: bool = True,
    ) -> TaskResult | Deferral:
        """Wait as long as this worker should, then conclude, or say that the job is still active.

        :param poll_now: whether the job may have ended already.
        :param deadline: when to give up; None: it begins now.
        :param is_over: whether the triggerer has waited until then.
        :param tolerate_invalid: False: responses could not be read for long, and one more ends the wait.
        """
        spec = self.spec
        if deadline is None:
            deadline = Deadline.of(0.0 if is_over else spec.timeout_s, spec.execution_timeout, self._context["ti"])
        end = wait_for_job(
            spec,
            self._client,
            record,
            self.report,
            self._log,
            self._context,
            poll_now=poll_now,
            deadline=deadline,
            is_over=is_over,
            tolerate_invalid=tolerate_invalid,
        )
        if isinstance(end, Deferral):
            return end
        return self.outcome.conclude(
            record, end.observation, end.outcome, by_execution_timeout=end.by_execution_timeout
        )

    def describe_stop(self) -> str | None:
        """Say what becomes of the job when this attempt is killed; None: it has none, or its error has said it."""
        if self._has_failed:
            return None
        return describe_stop(self.record, self.intent, is_ephemeral=self._ledger.is_ephemeral)
