"""Where each item of a batch stands: to be paid for, under way, with another worker, or at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.models import COMPLETE
from magic_hour_provider.batch.jobs.collector import JobOfItem
from magic_hour_provider.batch.records.declaration.claims import TakenError
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState
from magic_hour_provider.batch.rows.items import Items
from magic_hour_provider.batch.spec import BatchSpec
from magic_hour_provider.batch.window.counts import Counts
from magic_hour_provider.batch.window.payments import Payments
from magic_hour_provider.batch.window.plan import Need, Planner, Step
from magic_hour_provider.batch.window.polls import JobPolls
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.times import format_duration

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_CHECK_S = 10.0  # between two reads of another worker's intent


class ItemBoard:
    """Puts items where their next step is made. For one thread.

    :param states: of all items, as they were loaded; kept up to date here.
    :param request_s: the connection's timeout, in seconds.
    """

    def __init__(
        self,
        spec: BatchSpec,
        client: MagicHourClient,
        items: Items,
        records: ItemRecords,
        planner: Planner,
        payments: Payments,
        polls: JobPolls,
        states: dict[str, ItemState],
        log: FilteringBoundLogger,
        *,
        request_s: float,
    ) -> None:
        self.counts = Counts(len(items))
        self.payments = payments
        self.polls = polls
        self.planner = planner
        self.waiting: dict[str, float] = {}
        """Keys of items of which another worker has written an intent, and when to read it again."""
        self._waiting_since: dict[str, float] = {}
        self._announced: set[str] = set()  # those whose wait the log has explained
        self._open: dict[str, tuple[float, float, float]] = {}  # when it was written, is known since, and settles
        self._spec, self._client, self._items, self._records = spec, client, items, records
        self._states, self._log, self._request_s = states, log, request_s
        for item in items:
            self.place(item.key)

    @property
    def states(self) -> Mapping[str, ItemState]:
        """The state of each item that has one, as far as this worker knows."""
        return self._states

    def place(self, key: str) -> Step:
        """Put an item where its next step is made, and return that."""
        state = self._states.get(key) or ItemState()
        step = self.planner.plan(key, state)
        match step.need:
            case Need.NOTHING:
                self.counts.complete += 1
            case Need.POLL:
                self.polls.follow(JobOfItem(key, state.number, self.record_of(state), self.planner.is_own(state)))
            case Need.PAY:
                self.payments.add(key, step.note)
            case Need.ADOPT:
                self._adopt(key, state, step)
            case Need.WAIT:
                self.waiting[key] = self.polls.now()
            case Need.FAILED:
                self.counts.failed.add(key)
                self.counts.retryable |= step.is_retryable
            case Need.UNKNOWN:
                self.counts.unknown.add(key)
                if step.note:
                    self.counts.disputed.add(key)
        return step

    def place_again(self, key: str) -> None:
        """Read an item's state, as somebody has changed it, and put the item where it belongs."""
        try:
            self._states[key] = self._records.get(key)
            if self.place(key).need is Need.NOTHING:
                self.payments.budget.completed(key)
        except errors.MagicHourError as error:
            self.leave_out(key, error)

    def refresh(self, key: str) -> ItemState:
        """Read an item's state, which this worker has changed, and return it.

        :raises MagicHourError: it cannot be read now.
        """
        state = self._states[key] = self._records.get(key)
        return state

    def leave_out(self, key: str, error: errors.MagicHourError) -> None:
        """Note that nothing can be done for an item in this attempt."""
        item = self._items.find(key)
        self._log.error("Item %s (%s) is left out: %s", key, item.label if item else "no row", error)
        self.counts.unpaid[key] = str(error)
        self.counts.retryable |= error.retryable

    def record_of(self, state: ItemState) -> Record:
        """Return the record of a job, as far as a state tells."""
        tool, submitted_at = self._spec.tool, state.submitted_at
        return Record(
            "submitted",
            tool.slug,
            tool.kind,
            "",
            {},
            conn_id=self._spec.conn_id,
            job_id=state.job_id,
            submitted_at=None if submitted_at is None else float(submitted_at),
            credits_charged=state.credits,
        )

    def find_other_connection(self, one: JobOfItem) -> str | None:
        """Return the connection that a job was paid for with, where it is not the one that polls it; else None.

        :raises MagicHourError: its record cannot be read now.
        """
        steps = [
            step for step in self._records.read(one.key) if (step.name.number, step.name.step) == (one.number, "job")
        ]
        paid_with = next((step.record.conn_id for step in steps if step.record is not None), None)
        return paid_with if paid_with != self._spec.conn_id else None

    def _adopt(self, key: str, state: ItemState, step: Step) -> None:
        """Resume the job that a person names for an item."""
        item = self._items.find(key)
        try:
            job = self._client.find_job(self._spec.tool.kind, step.note)
            if job.ended and job.status != COMPLETE:
                raise errors.InvalidInputError(
                    f"Job {step.note}, which is to be resumed, is {job.status}.",
                    next_step="Name another one for this item, or ask for a new one.",
                )
            record = replace(
                self.record_of(ItemState()),
                fingerprint=self._items.fingerprint(item) if item is not None else {},
                job_id=step.note,
                submitted_at=clock.current().now(),
                credits_charged=job.credits_charged,
                name=job.name,
            )
            name = item.item_id or key if item is not None else key
            self._records.adopt(key, state, record, note="a person names this job", item=name)
        except TakenError:
            self.waiting[key] = self.polls.now()
        except errors.MagicHourError as error:
            self.leave_out(key, error)
        else:
            self._log.info("Item %s resumes job %s, which a person names. Nothing is paid.", key, step.note)
            self.place_again(key)

    def check_intents(self) -> None:
        """Read the intents of other workers, where it is time: their items go where what they came to says."""
        now = self.polls.now()
        for key in [key for key, at in self.waiting.items() if at <= now]:
            del self.waiting[key]
            self._open.pop(key, None)
            since = self._waiting_since.setdefault(key, now)
            try:
                self._check_intent(key)
            except errors.MagicHourError as error:
                if now - since > self._spec.timeout_s:
                    self.leave_out(key, error)
                    continue
                self._log.warning("%s", error.message)
                self.waiting[key] = now + _CHECK_S
            if key not in self.waiting:
                del self._waiting_since[key]

    def find_settled_at(self, inline_s: float) -> float | None:
        """Return when all intents of other workers are settled, in seconds since 1970.

        :param inline_s: for how long after one was written a worker stays, as a living one records its job soon, and
            for how long before the end.
        :returns: None: the worker stays; or an intent could not be read.
        """
        now = self.polls.now()
        found = [self._open.get(key, (now, now, now)) for key in self.waiting]
        if any(now - written_at <= inline_s for written_at, *_ in found):
            return None
        settled_at = max(settles_at for *_, settles_at in found)
        return settled_at if settled_at - now > inline_s else None

    @property
    def waiting_since(self) -> float | None:
        """Since when an intent of another worker is known that is waited for, in seconds since 1970."""
        return min((known_since for _, known_since, _ in self._open.values()), default=None)

    def _check_intent(self, key: str) -> None:
        state = self.refresh(key)
        if state.status == "intent" and self._records.finish_staged(key):
            state = self.refresh(key)
        if state.status == "intent":
            intent = self._records.find_open_intent(key, state.number, self._request_s)
            if intent.unsent is not None:
                self._records.withdraw(intent.unsent)
            elif intent.adopts is not None:
                record = replace(self.record_of(state), job_id=intent.adopts, submitted_at=clock.current().now())
                self._records.finish_adoption(intent, record)
            elif intent.settles_in <= 0:
                why = f"The worker that was about to pay for it ({intent.step.owner or 'not known'}) has left no job."
                self._records.give_up(key, state.number, intent.step.record, why)
            else:
                now = self.polls.now()
                if key not in self._announced:
                    self._announced.add(key)
                    self._log.warning(
                        "Item %s is being paid for by another worker, or by one that was stopped while it was (%s): "
                        "what comes of that is waited for, at most %s. Nothing more is sent for it.",
                        key,
                        intent.step.owner or "not known",
                        format_duration(intent.settles_in),
                    )
                self.waiting[key] = now + min(_CHECK_S, intent.settles_in)
                self._open[key] = now - intent.age, now - intent.known_for, now + intent.settles_in
                return
        self.place_again(key)
