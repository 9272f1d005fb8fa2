"""The window of jobs under way: what is submitted, polled and stored, until all has ended or a wait is worth no worker.

One thread, Airflow's own, decides; others send, poll and store. Of all that is under way only the keys and the jobs are
in memory: what an item is, the spool has, and what has become of it, the records.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.errors import describe_error
from magic_hour_provider.api.models import COMPLETE, GONE, Job
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.batch.jobs.collector import Collector, JobOfItem
from magic_hour_provider.batch.jobs.submitter import ItemToPay, NotSubmittedError, Submitter
from magic_hour_provider.batch.records.declaration.claims import TakenError
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState
from magic_hour_provider.batch.rows.items import Items
from magic_hour_provider.batch.spec import BatchDeferral, BatchSpec, Passage
from magic_hour_provider.batch.window.board import ItemBoard
from magic_hour_provider.batch.window.deferral import find_deferral
from magic_hour_provider.batch.window.payments import UnpaidError
from magic_hour_provider.batch.window.plan import Need
from magic_hour_provider.batch.window.polls import AT_ONCE, ActiveJob
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.polling.schedule import REFUSED, TIMEOUT, Outcome, is_refusal
from magic_hour_provider.times import format_duration

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_SUBMITTERS = 4
_STORERS = 4
_MAX_PAUSE_S = 5.0  # the longest sleep: so often an alarm of Airflow's is noticed
_MAX_WAIT_S = 0.5  # for threads
_LINE_S = 60.0
_RECORD_S = 10.0  # for the record of a response


class Engine:
    """Runs one worker's part of an attempt.

    :param board: where each item stands.
    :param passage: of the worker before.
    :param request_s: the connection's timeout, in seconds.
    :param on_progress: called about once a minute, on Airflow's own thread.
    :param deadline: when Airflow's ``execution_timeout`` ends the attempt, in seconds since 1970; None: it does not.
    """

    def __init__(
        self,
        spec: BatchSpec,
        items: Items,
        records: ItemRecords,
        board: ItemBoard,
        submitter: Submitter,
        collector: Collector,
        passage: Passage,
        log: FilteringBoundLogger,
        *,
        on_progress: Callable[[], object],
        request_s: float,
        deadline: float | None = None,
    ) -> None:
        self.board = board
        self._gate, self._request_s = submitter.gate, request_s
        self.counts, self.payments, self.polls = board.counts, board.payments, board.polls
        self._spec, self._items, self._records = spec, items, records
        self._submitter, self._collector = submitter, collector
        self._passage, self._log, self._on_progress, self._deadline = passage, log, on_progress, deadline
        self._futures: dict[Future[Any], Callable[[Future[Any]], None]] = {}
        self._submitting = 0
        self._refusal: errors.MagicHourError | None = None  # of a poll, which every other one would meet too
        self._logged_at = self.polls.now()

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self, is_alarm_pending: Callable[[], bool]) -> BatchDeferral | None:
        """Run until everything has ended (None), or until waiting is worth no worker.

        :param is_alarm_pending: whether Airflow wants to end this attempt. Then, and once the gate is closed, nothing
            is begun, and only what is being sent is waited for, as long as a response may take.
        """
        self._submit_pool = ThreadPoolExecutor(_SUBMITTERS, "magic-hour-submit")
        self._poll_pool = ThreadPoolExecutor(AT_ONCE, "magic-hour-poll")
        self._store_pool = ThreadPoolExecutor(_STORERS, "magic-hour-store")
        where = self._spec, self.board, self._passage, self._deadline
        try:
            while not (is_alarm_pending() or self._gate.is_closed):
                self._take_results()
                self.board.check_intents()
                self._submit_more()
                self._poll_due()
                if self._has_ended():
                    break
                if not self._futures and (deferral := find_deferral(*where)) is not None:
                    return deferral
                self._write_line()
                self._pause()
        finally:
            for pool in (self._submit_pool, self._poll_pool, self._store_pool):
                pool.shutdown(wait=False, cancel_futures=True)
            self._await_requests()
        if self._gate.is_closed and not self.payments.is_over:
            self.payments.stop("The attempt was stopped.", is_retryable=True)
        self.counts.running.update(self.polls.active)
        return None

    def _await_requests(self) -> None:
        """Wait for what is being sent, as its record must be written; the rest ends with its next step."""
        self._gate.close()
        for key in sorted(self._gate.wait(2 * self._request_s + _RECORD_S)):
            self.counts.unknown.add(key)
            self._log.error(
                "Item %s: its paid request had no response when the attempt was stopped. It is unknown whether a job "
                "was made; the next attempt waits for its record, and pays for nothing twice.",
                key,
            )
        self._take_results()

    def _start(self, future: Future[Any], then: Callable[[Future[Any]], None]) -> None:
        self._futures[future] = then

    def _take_results(self) -> None:
        for future in [one for one in self._futures if one.done()]:
            then = self._futures.pop(future)
            if not future.cancelled():
                then(future)

    def _has_ended(self) -> bool:
        if self._futures:
            return False
        if self._refusal is not None:
            return True
        is_late = self._deadline is not None and self.polls.now() >= self._deadline
        return (is_late or not self.board.waiting) and not self.polls.awaited and self.payments.is_over

    def _pause(self) -> None:
        now = self.polls.now()
        times = [now + _MAX_PAUSE_S, *self.board.waiting.values()]
        times += [at for at in (self.polls.next_at, self.payments.paused_until) if at is not None]
        left = max(0.0, min(times) - now)
        if self._futures:
            wait(self._futures, min(left, _MAX_WAIT_S) or 0.01, FIRST_COMPLETED)
        elif left > 0:
            clock.current().sleep(left)

    # -- submissions -------------------------------------------------------------------------------------------------

    def _submit_more(self) -> None:
        if self._deadline is not None and not self.payments.is_over and self.polls.now() >= self._deadline:
            self.payments.stop("The task's execution_timeout is over.", is_retryable=True)
        while self._refusal is None and self._submitting < _SUBMITTERS:
            is_alone = not self.polls.awaited and not self._futures
            if len(self.polls.active) + self._submitting >= self._spec.max_active_jobs:
                if is_alone and not self.board.waiting and not self.payments.is_over:
                    self.payments.stop(
                        f"Jobs that take longer than timeout={format_duration(self._spec.timeout_s)} still run at "
                        f"Magic Hour, and fill max_active_jobs={self._spec.max_active_jobs}.",
                        is_retryable=True,
                    )
                return
            try:
                one = self.payments.take_next(is_alone=is_alone)
            except UnpaidError as unpaid:
                self.board.leave_out(unpaid.key, unpaid.error)
                continue
            if one is None:
                return
            self._submitting += 1
            self._start(self._submit_pool.submit(self._submitter.submit, one), partial(self._on_submitted, one))

    def _on_submitted(self, one: ItemToPay, future: Future[tuple[Record, int]]) -> None:
        key, payments = one.item.key, self.payments
        self._submitting -= 1
        try:
            record, number = future.result()
        except TakenError as error:
            payments.budget.withdrawn(key)
            self._log.info("%s", error.message)
            self.board.place_again(key)
        except errors.SubmissionUnknownError as error:
            payments.note_lost(error)
            payments.budget.lost(key)
            self.counts.unknown.add(key)
            self._log.error("Item %s (%s): %s", key, one.item.label, error)
        except NotSubmittedError as end:
            refused = end.error
            if payments.hold_back(one, refused):
                self._refresh(key)
            elif end.number is not None and refused.failure is errors.RequestFailure.REJECTED:
                payments.note_response()
                self._reject(one, refused, end.number)
            else:
                self.board.leave_out(key, refused)
        except Exception as error:  # noqa: BLE001
            # Of the program, not of the service. What is recorded stays, and the others are finished.
            payments.budget.lost(key)
            self.counts.unknown.add(key)  # its request may have been sent
            why = redact(describe_error(error))
            payments.stop(f"Item {key} could not be submitted ({why}).", is_retryable=True)
            self._log.error("Item %s (%s) could not be submitted: %s", key, one.item.label, why)
        else:
            payments.note_response()
            payments.charged(key, record.credits_charged)
            self._refresh(key)
            self.polls.follow(JobOfItem(key, number, record, is_own=True))

    def _refresh(self, key: str) -> None:
        try:
            self.board.refresh(key)
        except errors.MagicHourError as error:
            self.payments.stop(error.message, is_retryable=True)

    def _reject(self, one: ItemToPay, error: errors.MagicHourError, number: int) -> None:
        """Write down that the service has read an item's request and rejects it: it would do so again.

        :param number: of the intent, which was withdrawn.
        """
        key = one.item.key
        rejected = replace(self.board.record_of(ItemState()), fingerprint=one.fingerprint, reason=str(error))
        self._log.error("Item %s (%s): %s", key, one.item.label, error)
        self.payments.budget.failed(key)
        self.counts.failed.add(key)
        try:
            self._records.fail(key, number, replace(rejected, state="ended"), refunded=True)
            self.board.refresh(key)
        except errors.MagicHourError as failure:
            self._log.warning("%s", failure.message)

    # -- jobs under way ----------------------------------------------------------------------------------------------

    def _poll_due(self) -> None:
        if self._refusal is None:
            for future, key, sent_at in self.polls.start_due(self._poll_pool.submit):
                self._start(future, partial(self._on_polled, key, sent_at))

    def _on_polled(self, key: str, sent_at: float, future: Future[Job | errors.MagicHourError]) -> None:
        seen = future.result()
        outcome = self.polls.record(key, sent_at, seen)
        if outcome is not None and self._refusal is None and not self._gate.is_closed:
            self._on_ended(self.polls.active[key], seen, outcome)

    def _on_ended(self, active: ActiveJob, seen: Job | errors.MagicHourError, outcome: Outcome) -> None:
        key, record = active.job.key, active.job.record
        if outcome.status == REFUSED and isinstance(seen, errors.MagicHourError) and is_refusal(seen):
            self._refusal = seen
            self.payments.stop(seen.without_charge, is_retryable=seen.retryable)
            return
        if outcome.status in (TIMEOUT, REFUSED):
            # It still runs at Magic Hour: another one in its place would be one more than max_active_jobs there.
            if not active.is_overdue:
                self._log.warning(
                    "Item %s: job %s is not waited for any longer (%s). It keeps running, stays charged and keeps its "
                    "place in the window; if it has not ended when all else has, the next attempt resumes it.",
                    key,
                    record.job_id,
                    seen.message if isinstance(seen, errors.MagicHourError) else outcome.status,
                )
            self.polls.mark_overdue(key)
            return
        job = seen if isinstance(seen, Job) else Job.gone(record.kind, record.job_id or "")
        if outcome.status == COMPLETE:
            future = self._store_pool.submit(self._collector.store, active.job, job, self._find_request(key))
            self._start(future, partial(self._on_stored, key, job))
        else:
            self.polls.end(key)
            self._on_failed(active.job, job)

    def _find_request(self, key: str) -> Mapping[str, Any]:
        """Return an item's request, for the sidecar; empty: its row is not there any more, or another one."""
        item = self._items.find(key)
        try:
            return self._items.prepare(item).body if item is not None else {}
        except errors.MagicHourError:
            return {}

    def _on_failed(self, one: JobOfItem, job: Job) -> None:
        key = one.key
        try:
            if job.status == GONE and (other := self.board.find_other_connection(one)) is not None:
                self.counts.running.add(key)
                self._log.error(
                    "Item %s: job %s was paid for with the connection %r, and %r does not find it. It is not given up: "
                    "with that connection the next attempt resumes it.",
                    key,
                    one.record.job_id,
                    other,
                    self._spec.conn_id,
                )
                return
            failure = self._collector.fail(one, job)
            step = self.board.planner.plan(key, self.board.refresh(key))
        except errors.MagicHourError as error:
            self.payments.stop(error.message, is_retryable=True)
            self.counts.running.add(key)
            return
        if one.is_own:
            is_refunded = failure.charge is errors.Charge.REFUNDED
            self.payments.budget.settled(key, 0 if is_refunded else job.credits_charged)
        self._log.warning("Item %s: %s", key, failure.message)
        if step.need is Need.PAY:
            self.payments.add(key, step.note, first=True)
            return
        self.payments.budget.failed(key)
        self.counts.failed.add(key)
        self.counts.retryable |= step.is_retryable

    def _on_stored(self, key: str, job: Job, future: Future[None]) -> None:
        active = self.polls.end(key)
        if active.job.is_own:
            self.payments.budget.settled(key, job.credits_charged)
        try:
            future.result()
        except errors.MagicHourError as error:
            self.counts.running.add(key)
            self.counts.retryable |= error.retryable
            self._log.error("Item %s: %s", key, error)
            return
        except Exception as error:  # noqa: BLE001 (of the program: one item's must not end the others)
            self.counts.running.add(key)
            self._log.error("Item %s: its files could not be stored: %s", key, redact(describe_error(error)))
            return
        self.payments.budget.completed(key)
        self.counts.complete += 1

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _write_line(self) -> None:
        now = self.polls.now()
        if now - self._logged_at >= _LINE_S:
            self._logged_at = now
            self._log.info(self.describe())
            self._on_progress()

    def describe(self) -> str:
        """Return the batch in one line: done, failed, under way, left, credits, expected end."""
        active, left = len(self.polls.active), self.payments.left
        to_come = active + (left if self.payments.stop_reason is None else 0)
        seconds = math.ceil(to_come / self._spec.max_active_jobs) * self.polls.usual_s if to_come else None
        others, credits = len(self.board.waiting), self.payments.budget.spent
        return self.counts.describe(active=active, waiting=others, left=left, credits=credits, seconds_left=seconds)
