"""The items that are to be paid for: in which order, whether the budget allows the next, and when nothing more is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.prices import estimate
from magic_hour_provider.api.prices.priced_fields import PricedFields, find_priced_fields
from magic_hour_provider.batch.budget import Budget, Permission
from magic_hour_provider.batch.jobs.gate import AttemptStoppedError
from magic_hour_provider.batch.jobs.submitter import ItemToPay
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState
from magic_hour_provider.batch.rows.items import Items
from magic_hour_provider.batch.spec import BatchSpec, Passage
from magic_hour_provider.execution.payment.observed_prices import ObservedPrices
from magic_hour_provider.inputs.presigned import PresignedInputs
from magic_hour_provider.inputs.sources import check_inputs
from magic_hour_provider.ledger.fingerprint import find_readable
from magic_hour_provider.ledger.record import RecordError, RunCredits
from magic_hour_provider.metrics import CREDITS_REFUSED, count_credits

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_PAUSE_S = 30.0  # after a connection that failed three times, or 429s for two minutes
_MAX_CONNECTION_FAILURES = 3  # in a row
_MAX_LOST = 3  # responses in a row
# What another request would meet too.
_FOR_ALL = (errors.AuthenticationError, errors.InsufficientCreditsError, RecordError, AttemptStoppedError)


class Payments:
    """What is left to be paid for. For one thread.

    :param states: of all items, as they were loaded; kept up to date by the engine.
    :param passage: of the worker before.
    :param observed: what jobs of before were charged.
    :param presigned: gives files as links where it can; None: all are uploaded.
    """

    def __init__(
        self,
        spec: BatchSpec,
        items: Items,
        records: ItemRecords,
        owner: Owner,
        states: Mapping[str, ItemState],
        passage: Passage,
        observed: ObservedPrices,
        presigned: PresignedInputs | None,
        log: FilteringBoundLogger,
    ) -> None:
        self._spec, self._items, self._states, self._log = spec, items, states, log
        self.stop_reason, self.is_stop_retryable = passage.stop_reason, passage.is_stop_retryable
        self._queue: deque[str] = deque()
        self._notes: dict[str, str] = {}
        self._priced: tuple[str, PricedFields] | None = None
        self._estimates: dict[PricedFields, int | None] = {}
        self._paused_until = float("-inf")
        self._connection_failures = 0
        self._lost = 0
        self._limited_since: float | None = None
        self.is_refused = False
        """Whether a limit of credits refuses what is left."""
        self._observed, self._dag_id, self._presigned = observed, owner.dag_id, presigned
        self.budget = self._make_budget(records, owner)

    def _make_budget(self, records: ItemRecords, owner: Owner) -> Budget:
        """Return the budget with what this task instance has paid for before, and with the prices of all its items."""
        known = [(key, state) for key, state in self._states.items() if self._items.find(key) is not None]
        own = [(key, state) for key, state in known if state.status == "job" and state.owner == owner.digest]
        budget = Budget(
            self._spec.max_credits,
            # Those under way are reserved below.
            spent=records.spent(owner).credits - sum(state.credits or 0 for _, state in own),
            canary=self._spec.canary,
            completed=sum(state.status == "done" for _, state in known),
        )
        if self._spec.max_credits is not None:
            for key, state in known:
                if state.status in ("job", "done") and state.credits:
                    budget.learn(self.find_priced(key), state.credits)
            for key in self._find_lost(known, records, owner):
                priced = self.find_priced(key)
                budget.lost_before(priced, self._estimate(key, priced) if budget.price(priced) is None else None)
        else:
            budget.is_known = next(self._find_lost(known, records, owner), None) is None
        for key, state in own:
            priced = self.find_priced(key)
            budget.resume(key, priced, self._believe(budget, key, priced, state.credits))
        return budget

    @staticmethod
    def _find_lost(known: Iterable[tuple[str, ItemState]], records: ItemRecords, owner: Owner) -> Iterator[str]:
        """Yield the items of which a response to this task instance was lost."""
        for key, state in known:
            if state.status == "unknown":
                lost_by = records.read_intent(key, state.number).owner
                if lost_by is not None and lost_by.digest == owner.digest:
                    yield key

    def find_priced(self, key: str) -> PricedFields:
        """Return what an item's price depends on; nothing, where there is no limit."""
        if self._spec.max_credits is None:
            return PricedFields(None)
        if self._priced is None or self._priced[0] != key:
            self._priced = key, self._read_priced(key)
        return self._priced[1]

    def _read_priced(self, key: str) -> PricedFields:
        item = self._items.find(key)
        if item is None:
            return PricedFields(None)
        with suppress(errors.InvalidInputError):  # its row has changed, or its file is gone, since it was paid for
            body = self._items.prepare(item).body
            priced = find_priced_fields(self._spec.tool, body)
            if priced.digest is None:  # a file decides the price, and has to be known
                priced = find_priced_fields(self._spec.tool, body, find_readable(self._items.fingerprint(item)))
            return priced
        return PricedFields(None)

    # -- the queue ---------------------------------------------------------------------------------------------------

    def add(self, key: str, note: str = "", *, first: bool = False) -> None:
        """Add an item.

        :param note: why it is paid for, for a person.
        :param first: whether it comes before all others.
        """
        if note:
            self._notes[key] = note
        if first:
            self._queue.appendleft(key)
        else:
            self._queue.append(key)

    @property
    def left(self) -> int:
        """How many items are to be paid for."""
        return len(self._queue)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is submitted."""
        return not self._queue or self.stop_reason is not None

    def count_run_credits(self) -> dict[str, Any]:
        """Return what this task instance has paid in its run and what it may still spend, for the other tasks."""
        budget, limit = self.budget, self.budget.max_credits
        may_spend = 0 if limit is None or self.is_over else limit - budget.spent
        is_known = budget.is_known and (limit is not None or self.is_over)
        return asdict(RunCredits(budget.spent, max(budget.reserved, may_spend), is_known))

    @property
    def paused_until(self) -> float | None:
        """When the next may be submitted again, in seconds since 1970; None: no pause holds it back."""
        return self._paused_until if not self.is_over and self._paused_until > clock.current().now() else None

    def take_next(self, *, is_alone: bool) -> ItemToPay | None:
        """Return the next item, with its price reserved; None: nothing may be submitted now.

        :param is_alone: whether nothing is under way that could change a budget's mind.
        :raises UnpaidError: the next item cannot be sent; it is taken out.
        """
        if self.is_over or self.paused_until is not None:
            return None
        key = self._queue[0]
        item = self._items.find(key)
        try:
            if item is None:
                raise errors.InvalidInputError("Its row is not there any more.")
            priced = self.find_priced(key)
            expected = None
            if self._spec.max_credits is not None and self.budget.price(priced) is None:
                expected = self._estimate(key, priced)
                if expected is None and not self._spec.pays_unknown_prices:
                    raise errors.CreditLimitError(
                        f"What this {self._spec.tool.slug} job costs is not known before it is paid for, and "
                        f"max_credits is {self._spec.max_credits}.",
                        next_step="Name its model and its resolution, as far as the tool has them.",
                    )
            decision = self.budget.may_send(key, priced, expected)
            if decision.permission is Permission.STOP:
                reason = self.budget.describe_stop()
                if decision.is_over_limit:
                    self.count_refused()
                self.stop(f"{reason} {self._spec.limit_note}".rstrip(), is_retryable=False)
                return None
            if decision.permission is Permission.WAIT:
                if is_alone:  # what it waits for has been given up
                    self.stop(decision.reason, is_retryable=True)
                return None
            prepared = self._items.prepare(item)
            # Here, in Airflow's own thread: storages ask Airflow for their connections.
            sources = check_inputs(prepared.inputs, clock.current().now(), self._presigned)
            fingerprint = self._items.fingerprint(item)
        except errors.MagicHourError as error:
            self._queue.popleft()
            raise UnpaidError(key, error) from error
        self._queue.popleft()
        self.budget.sent(key, priced, expected)
        state = self._states.get(key) or ItemState()
        return ItemToPay(item, state, prepared, sources, fingerprint, self._notes.pop(key, ""))

    def _estimate(self, key: str, priced: PricedFields) -> int | None:
        """Return what an item probably costs, by what is published or was observed before; None: not known."""
        if priced not in self._estimates or priced.digest is None:
            item = self._items.find(key)
            self._estimates[priced] = None
            with suppress(errors.InvalidInputError):
                body = self._items.prepare(item).body if item is not None else {}
                self._estimates[priced] = estimate(self._spec.tool, body, observed=self._observed.find(priced)).credits
        return self._estimates[priced]

    def _believe(self, budget: Budget, key: str, priced: PricedFields, charged: int | None) -> int | None:
        """Return what an accepted job is said to cost; None: not known.

        Where there is a limit, that it costs nothing is believed only once it has settled: its price before counts.
        """
        if charged is None or charged > 0 or self._spec.max_credits is None:
            return charged
        known = budget.price(priced)
        if known is None:
            with suppress(errors.MagicHourError):  # a storage that is away: the job is paid for
                known = self._estimate(key, priced)
        return known

    def describe_missing(self) -> str:
        """Return what is not paid for and what it would cost, as whole sentences; empty: nothing is left."""
        with suppress(errors.MagicHourError):  # a storage that is away: how many items are left out is said elsewhere
            if self._queue and self._spec.max_credits is None:
                # Nobody needed a price up to now.
                for key, state in self._states.items():
                    if state.price:
                        self.budget.learn(self._read_priced(key), state.price)
            return self.budget.describe_missing(map(self._expect, self._queue))
        return ""

    def _expect(self, key: str) -> tuple[PricedFields, int | None]:
        priced = self._read_priced(key)
        return priced, self._estimate(key, priced) if self.budget.price(priced) is None else None

    # -- what came of a submission that made a job --------------------------------------------------------------------

    def charged(self, key: str, credits: int | None) -> None:
        """Record what an accepted submission was charged, for the budget and for later estimates."""
        priced = self.find_priced(key)
        is_news = credits is not None and self.budget.price(priced) != credits
        self.budget.charged(key, self._believe(self.budget, key, priced, credits))
        if is_news:
            self._observed.add(priced, credits)

    # -- what came of a submission that surely made no job -------------------------------------------------------------

    def hold_back(self, one: ItemToPay, error: errors.MagicHourError) -> bool:
        """Put an item back whose request failed for a reason that is not its own; return whether it was so."""
        self.budget.withdrawn(one.item.key)
        shared = (*_FOR_ALL, errors.RateLimitedError, errors.ConnectionFailedError)
        if not isinstance(error, shared):
            return False
        self.add(one.item.key, one.note, first=True)
        if isinstance(error, _FOR_ALL):
            self.stop(error.without_charge, is_retryable=error.retryable)
        elif isinstance(error, errors.RateLimitedError):
            now = clock.current().now()
            self._paused_until = now + max(_PAUSE_S, error.retry_after or 0.0)
            self._log.info("Magic Hour asks us to slow down: the next submission is some time away.")
            self._limited_since = now if self._limited_since is None else self._limited_since
            if self._paused_until - self._limited_since > self._spec.timeout_s:  # a worker is not held for ever
                self.stop(error.without_charge, is_retryable=True)
        else:
            self._connection_failures += 1
            self._paused_until = clock.current().now() + _PAUSE_S
            if self._connection_failures >= _MAX_CONNECTION_FAILURES:
                self.stop(error.without_charge, is_retryable=True)
        return True

    def note_response(self) -> None:
        """Note that the service has answered a submission."""
        self._connection_failures, self._lost, self._limited_since = 0, 0, None

    def note_lost(self, error: errors.SubmissionUnknownError) -> None:
        """Note that the response to a submission was lost: a service in trouble must not cost a person every item.

        Each such item waits for a person, as in a batch the balance proves of no request that it made no job.
        """
        self._lost += 1
        self._connection_failures, self._limited_since = 0, None
        self._paused_until = clock.current().now() + _PAUSE_S
        if self._lost >= _MAX_LOST:
            self.stop(f"{self._lost} responses in a row were lost, the last one so: {error.message}", is_retryable=True)

    def count_refused(self) -> None:
        """Count what is left for the metrics, as a limit of credits refuses it."""
        self.is_refused = True
        count_credits(self.left, self._spec.tool.slug, self._dag_id, metric=CREDITS_REFUSED)

    def stop(self, reason: str, *, is_retryable: bool) -> None:
        """Submit nothing more in this attempt.

        :param is_retryable: whether a retry may help.
        """
        if self.stop_reason is None:
            self.stop_reason, self.is_stop_retryable = reason, is_retryable
            self._log.error("Nothing more is submitted, and %s items are left: %s", len(self._queue), reason)


class UnpaidError(Exception):
    """An item cannot be sent.

    :param key: of the item.
    :param error: why.
    """

    def __init__(self, key: str, error: errors.MagicHourError) -> None:
        super().__init__(str(error))
        self.key, self.error = key, error
