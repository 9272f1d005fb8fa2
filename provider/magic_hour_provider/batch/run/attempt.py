"""One attempt of a batch, in the order that protects the money: rows, storage, records, window, results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import describe_error
from magic_hour_provider.api.models import Account
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.batch.jobs.collector import Collector
from magic_hour_provider.batch.jobs.gate import Gate
from magic_hour_provider.batch.jobs.submitter import Submitter
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState
from magic_hour_provider.batch.rows.items import Items, read_items
from magic_hour_provider.batch.run.announcement import describe_plan, describe_rows
from magic_hour_provider.batch.run.conclusion import find_failure, make_manifest
from magic_hour_provider.batch.run.earlier import add_earlier_payments
from magic_hour_provider.batch.run.file_events import FileEvents
from magic_hour_provider.batch.run.payment_settings import read_payment_settings
from magic_hour_provider.batch.run.results import write_results
from magic_hour_provider.batch.run.run_limit import limit_by_run
from magic_hour_provider.batch.spec import BatchDeferral, BatchSpec, BatchTask, Passage
from magic_hour_provider.batch.window.board import ItemBoard
from magic_hour_provider.batch.window.engine import Engine
from magic_hour_provider.batch.window.payments import Payments
from magic_hour_provider.batch.window.plan import Planner
from magic_hour_provider.batch.window.polls import JobPolls
from magic_hour_provider.execution.payment.observed_prices import ObservedPrices
from magic_hour_provider.execution.payment.preflight import check_min_credits
from magic_hour_provider.execution.payment.submission import defer_alarm
from magic_hour_provider.hooks.exceptions import find_cause, to_airflow_error
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.hooks.own_task import warn_of_test_run
from magic_hour_provider.hooks.settings import ConnectionSettings
from magic_hour_provider.inputs.saved_items import SavedItems
from magic_hour_provider.ledger.decision import RetryState
from magic_hour_provider.ledger.record import RunCredits
from magic_hour_provider.links import LIBRARY
from magic_hour_provider.outputs.assets import emit_file_events, emit_outlet_events, find_aliases
from magic_hour_provider.storage.paths import check_folder
from magic_hour_provider.times import format_time
from magic_hour_provider.xcoms import BATCH_XCOM, LINK_XCOM

if TYPE_CHECKING:
    from airflow.sdk import Context
    from structlog.typing import FilteringBoundLogger


def run_batch(task: BatchTask, context: Context, passage: Passage | None = None) -> dict[str, Any] | BatchDeferral:
    """Run one worker's part of an attempt.

    :param passage: of the worker before; None: the attempt begins.
    :returns: the manifest, or what is left to wait for.
    :raises AirflowException: items are missing, or nothing can be done now.
    """
    warn_of_test_run(context, task.log, is_batch=True)
    task.attempt = attempt = BatchAttempt(
        task.log, context, passage, str(task.output_path or ""), wants_files=bool(find_aliases(task.outlets))
    )
    with attempt.reporting_failure():
        outcome = attempt.run(task.batch_spec())
    if not isinstance(outcome, BatchDeferral):
        emit_outlet_events(task.outlets, context, outcome)
        emit_file_events(task.outlets, context, attempt.file_events)
    return outcome


class BatchAttempt:
    """One worker's part of an attempt.

    :param passage: of the worker before; None: the attempt begins.
    :param output_path: of the batch, rendered; empty: not known.
    :param wants_files: whether its files are to have asset events.
    """

    def __init__(
        self,
        log: FilteringBoundLogger,
        context: Mapping[str, Any],
        passage: Passage | None,
        output_path: str,
        *,
        wants_files: bool,
    ) -> None:
        self._log, self._context, self._ti = log, context, context["ti"]
        self._is_first = passage is None
        self.may_have_paid = passage is not None or (self._ti.try_number or 0) > 1
        """Whether this worker, or one before it, may have paid for items."""
        self._passage = passage or Passage(clock.current().now())
        self._map_index = -1 if self._ti.map_index is None else self._ti.map_index
        self.output_path = output_path
        self._facts: dict[str, Any] = {"output_path": output_path}  # with it an item can be recovered, whatever fails
        if not self.may_have_paid:
            self._facts["run_credits"] = asdict(RunCredits()) | {"map_index": self._map_index}
        self._is_pushed = False
        self._is_linked = False
        self._wants_files = wants_files
        self.file_events: list[dict[str, Any]] = []
        """The extras of the asset events of its files, once it has succeeded."""
        self._gate = Gate()

    def stop(self) -> None:
        """Send nothing more, and end soon: the process may be killed seconds from now."""
        self._gate.close()

    def run(self, spec: BatchSpec) -> dict[str, Any] | BatchDeferral:
        """Run it; see :func:`run_batch`."""
        self._facts |= {
            "tool": spec.tool.slug,
            "conn_id": spec.conn_id,
            "output_path": spec.output_path,
            "max_credits": spec.max_credits,
        }
        records = ItemRecords.open(spec.output_path, Owner.of(self._ti))
        states = cache(records.load)  # here only for rows whose files cannot be read
        hook = MagicHourHook(spec.conn_id)
        settings = hook.settings()
        with (
            hook.get_conn(settings) as client,
            read_items(
                spec.tool,
                spec.requests,
                request=spec.request,
                extra_request=spec.extra_request,
                item_id=spec.item_id,
                conn_id=spec.conn_id,
                host=client.base_url,
                is_first=self._is_first,
                is_paid=lambda key: _is_paid(states().get(key)),
            ) as items,
        ):
            return self._run(spec, settings, client, items, records)

    def _run(
        self,
        spec: BatchSpec,
        settings: ConnectionSettings,
        client: MagicHourClient,
        items: Items,
        records: ItemRecords,
    ) -> dict[str, Any] | BatchDeferral:
        if self._is_first:
            describe_rows(self._log, items)
        owner = Owner.of(self._ti)
        check_folder(spec.output_path)
        records.waiting_since = self._passage.waiting_since
        records.prove()
        states = records.load()
        retry_state = RetryState.of(self._context)
        self.check_states(states, records, items, settings.timeout)
        planner = Planner(spec, items, records, owner, retry_state, self._passage.started_at)
        if self._is_first or self._passage.has_changes:
            planner.find_changes(states)
            self._passage = replace(self._passage, has_changes=bool(planner.changes.paid))
        account = self._find_account(client)
        tier = account.tier if account is not None else None
        saved_items = SavedItems(client)
        items.check_account(tier, saved_items if self._is_first else None, lambda key: _is_paid(states.get(key)))
        spec, refusal = limit_by_run(spec, self._context, self._log)
        if spec.max_credits_per_run is not None:
            self._facts["max_credits_per_run"] = spec.max_credits_per_run
        observed = ObservedPrices(spec.conn_id, client.base_url, spec.tool)
        ways, unreadable = read_payment_settings(spec, client.base_url)
        payments = Payments(spec, items, records, owner, states, self._passage, observed, ways.presigned, self._log)
        deadline = self._find_deadline(spec)
        polls = JobPolls(spec, client, self._passage.started_at, settings.max_polls_per_second, deadline)
        board = ItemBoard(
            spec, client, items, records, planner, payments, polls, states, self._log, request_s=settings.timeout
        )
        engine = Engine(
            spec,
            items,
            records,
            board,
            Submitter(spec, client, records, retry_state, self._gate, self._ti, tier, saved_items, ways.tag_job_names),
            Collector(spec, client, records, self._ti.dag_id),
            self._passage,
            self._log,
            request_s=settings.timeout,
            on_progress=lambda: self._push(engine, payments.budget.spent),
            deadline=deadline,
        )
        if self._is_first:
            describe_plan(self._log, engine, planner.changes, spec.on_changed)
        # What may be spent is reserved before it is; and what was paid counts while its jobs are waited for, as Airflow
        # has removed the XCom of the attempt before.
        self._push(engine, payments.budget.spent)
        if refusal is not None and payments.left:
            payments.count_refused()
        # Also where nothing is left to be paid for: a job that fails may have a second one.
        for error in filter(None, (refusal, unreadable)):
            payments.stop(error.without_charge, is_retryable=False)
        if payments.left and refusal is None:
            if spec.max_credits_per_run is not None and not self._is_pushed:
                payments.stop("What this batch reserves could not be written for the other tasks.", is_retryable=True)
            try:
                check_min_credits(account)
            except errors.MagicHourError as error:  # what is under way is paid for, and is waited for
                payments.stop(error.without_charge, is_retryable=error.retryable)
        self.may_have_paid = True
        with defer_alarm() as is_alarm_pending:
            deferral = engine.run(is_alarm_pending)
        self._log.info(engine.describe())
        if deferral is not None:
            self._push(engine, payments.budget.spent)
            return deferral
        return self.conclude(spec, items, records, owner, engine)

    def check_states(
        self, states: Mapping[str, ItemState], records: ItemRecords, items: Items, request_s: float
    ) -> None:
        """Check what is recorded of all items under the folder, before anything is paid for.

        :param request_s: the connection's timeout, in seconds.
        :raises MagicHourError: nothing may be paid for.
        """

    def conclude(
        self, spec: BatchSpec, items: Items, records: ItemRecords, owner: Owner, engine: Engine
    ) -> dict[str, Any]:
        """Write the results and return the manifest.

        :raises MagicHourError: items are missing.
        """
        counts, payments = engine.counts, engine.payments
        files = FileEvents(spec.tool, owner) if self._wants_files else None
        results = write_results(
            items, records, counts, spec.output_path, owner, on_row=files.add if files is not None else None
        )
        spent = records.spent(owner)
        manifest = make_manifest(counts, spent.credits, results)
        self._facts["results"] = results
        self._push(engine, manifest["credits_charged"])
        failure = find_failure(spec, items, records, counts, manifest, payments, spent)
        if failure is not None:
            raise failure
        if files is not None:
            self.file_events = files.make_extras(results)
        return manifest

    def _find_account(self, client: MagicHourClient) -> Account | None:
        try:
            return client.get_account()
        except (errors.AuthenticationError, errors.ConnectionFailedError):
            raise
        except errors.MagicHourError as error:
            self._log.info("The balance could not be asked for, which changes nothing: %s", error)
            return None

    def _find_deadline(self, spec: BatchSpec) -> float | None:
        if spec.execution_timeout is None:
            return None
        # The same for each worker of the attempt: of its first one, unless Airflow knows an earlier time.
        started_at, start = self._passage.started_at, self._ti.start_date
        started_at = started_at if start is None else min(started_at, start.timestamp())
        return started_at + spec.execution_timeout.total_seconds()

    @contextmanager
    def reporting_failure(self) -> Iterator[None]:
        """Push why the attempt failed, and raise that as an exception of Airflow."""
        try:
            yield
        except errors.MagicHourError as error:
            if self.may_have_paid:
                add_earlier_payments(error, self.output_path, Owner.of(self._ti))
            self.push_failure(str(error), error)
            raise to_airflow_error(error) from find_cause(error)
        except BaseException as error:  # of a user's function, say: Airflow judges it, and has removed the XCom before
            self.push_failure(redact(describe_error(error)))
            raise

    # -- what others read --------------------------------------------------------------------------------------------

    def _push(self, engine: Engine, credits: int) -> None:
        self._facts |= self.count_facts(engine, credits)
        self.push_facts()

    def count_facts(self, engine: Engine, credits: int) -> dict[str, Any]:
        """Return what the batch has come to, in numbers.

        :param credits: that this task instance was charged, over all its tries.
        """
        counts = engine.counts
        return {
            "items": counts.items,
            "complete": counts.complete,
            "failed": len(counts.failed),
            "unknown": len(counts.unknown),
            "active": len(engine.polls.active),
            "left": engine.payments.left,
            "credits_charged": credits,
            "run_credits": engine.payments.count_run_credits() | {"map_index": self._map_index},
        }

    def push_failure(self, text: str, error: errors.MagicHourError | None = None) -> None:
        """Push why the attempt failed, with what is known of the batch.

        :param error: what failed it, if it is of ours: its charge and its next step are pushed beside the text.
        """
        self._facts["error"] = text
        if error is not None:
            charge = error.charge or errors.Charge.NONE
            self._facts |= {
                "charge": charge.value,
                "charge_words": error.charge_words or charge.sentence,
                "next_step": error.next_step,
            }
        self.push_facts()

    def push_facts(self) -> None:
        """Push what is known of the batch."""
        self._facts["updated_at"] = format_time(clock.current().now())
        try:
            self._ti.xcom_push(key=BATCH_XCOM, value=self._facts)
            self._is_pushed = True
            if self._is_first and not self._is_linked:  # Airflow itself does it when the attempt ends
                self._ti.xcom_push(key=LINK_XCOM, value=LIBRARY)
                self._is_linked = True
        except Exception:  # noqa: BLE001 (it informs; the batch is not touched by that)
            self._log.exception("The XCom %r could not be written; the batch is not touched by that.", BATCH_XCOM)


def _is_paid(state: ItemState | None) -> bool:
    return state is not None and state.status in ("job", "done")
