"""What an item needs next: one table over its record, its request and where this attempt stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.records.content import ItemStep, digest_fingerprint
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState, conflict_error
from magic_hour_provider.batch.rows.items import Item, Items
from magic_hour_provider.batch.spec import BatchSpec
from magic_hour_provider.ledger.decision import RetryState
from magic_hour_provider.ledger.fingerprint import find_changed_fields

_READERS = 8


class Need(Enum):
    """What an item needs."""

    NOTHING = "complete"
    POLL = "under way"
    PAY = "to be paid for"
    ADOPT = "to be resumed by hand"
    WAIT = "being paid for by another worker, or by one that was stopped"
    FAILED = "failed"
    UNKNOWN = "of an unknown outcome"


@dataclass(frozen=True, slots=True)
class Step:
    """The next step of an item.

    :param need: what it is.
    :param note: why, for a person.
    :param is_retryable: of a failed item: whether another attempt pays for it again.
    """

    need: Need
    note: str = ""
    is_retryable: bool = False


@dataclass(frozen=True)
class Changes:
    """The rows whose request is another one than what was paid for under the same id.

    :param paid: those that are paid for again: the digest of the request that is wanted, by key.
    :param kept: how many keep what is recorded.
    :param fields: how many rows changed in which field.
    """

    paid: Mapping[str, str] = field(default_factory=dict)
    kept: int = 0
    fields: Counter[str] | None = None


class Planner:
    """Says what items need.

    :param owner: this attempt.
    :param retry_state: where it stands.
    :param started_at: when it began, in seconds since 1970.
    """

    def __init__(
        self,
        spec: BatchSpec,
        items: Items,
        records: ItemRecords,
        owner: Owner,
        retry_state: RetryState,
        started_at: float,
    ) -> None:
        self._spec, self._items, self._records = spec, items, records
        self._owner, self._retry_state, self._started_at = owner, retry_state, started_at
        self.changes = Changes()
        """What :meth:`find_changes` found."""

    def find_changes(self, states: dict[str, ItemState]) -> None:
        """Find the rows that have changed since they were paid for.

        :param states: of all items.
        :raises MagicHourError: records or files cannot be read now.
        """
        if self._spec.item_id is None:
            return  # another request is another item
        paid, kept, fields = dict[str, str](), 0, Counter[str]()
        changed = list(self._find_changed(states))
        with ThreadPoolExecutor(_READERS, thread_name_prefix="magic-hour-records") as pool:
            records = pool.map(lambda pair: self._records.read(pair[0].key), changed)
            for (item, fingerprint), steps in zip(changed, records, strict=True):
                state = states[item.key]
                record = next((one.record for one in steps if one.name.number == state.number and one.record), None)
                fields.update(find_changed_fields(record.fingerprint, fingerprint) if record is not None else ())
                is_again = not self.is_own(state) or (record is not None and self._retry_state.clears(record))
                # Two runs with different rows would else pay in turns.
                is_again &= not any(self._is_paid_here(one, digest_fingerprint(fingerprint)) for one in steps)
                if is_again and self._spec.on_changed == "new":
                    paid[item.key] = digest_fingerprint(fingerprint)
                else:
                    kept += 1
        self.changes = Changes(paid, kept, fields)

    def _find_changed(self, states: dict[str, ItemState]) -> Iterator[tuple[Item, dict[str, str]]]:
        for item in self._items:
            state = states.get(item.key)
            if state is None or not state.fingerprint or state.status not in ("job", "done", "failed"):
                continue
            try:
                fingerprint = self._items.fingerprint(item)
            except InvalidInputError:
                continue  # a file that is gone since it was paid for counts as unchanged, as that of a single job
            if digest_fingerprint(fingerprint) != state.fingerprint:
                yield item, fingerprint

    def plan(self, key: str, state: ItemState) -> Step:
        """Return what an item needs.

        :raises MagicHourError: its records cannot be read now.
        """
        try:
            instruction = state.instruction
        except InvalidInputError as error:
            return Step(Need.UNKNOWN, str(error))
        if instruction is not None and state.status != "intent":
            if instruction.action == "adopt":
                return Step(Need.ADOPT, instruction.job or "")
            return Step(Need.PAY, "a person asked for a new job")
        # Whoever has paid for the row as it is now, another run perhaps, has done what is wanted.
        if (
            state.fingerprint
            and state.status != "intent"
            and self.changes.paid.get(key, state.fingerprint) != state.fingerprint
        ):
            return Step(Need.PAY, "its row has changed")
        match state.status:
            case "new":
                return Step(Need.PAY)
            case "job":
                return Step(Need.POLL)
            case "done":
                return Step(Need.NOTHING)
            case "intent":
                return Step(Need.WAIT)
            case "conflict":
                return Step(Need.UNKNOWN, str(conflict_error(key, state)))
            case "unknown":
                return self._plan_unknown(key, state)
            case "failed":
                return self._plan_failed(key, state)

    def _plan_unknown(self, key: str, state: ItemState) -> Step:
        if self._spec.on_unknown_submission == "resubmit":
            owner = self._records.read_intent(key, state.number).owner
            # Once per attempt, as a task of one job does.
            if owner is None or (owner.digest, owner.try_number) != (self._owner.digest, self._owner.try_number):
                return Step(Need.PAY, "it is unknown whether a job was made, and on_unknown_submission is 'resubmit'")
        return Step(Need.UNKNOWN)

    def _plan_failed(self, key: str, state: ItemState) -> Step:
        if state.job_id is None and self._is_another_request(key, state):
            return Step(Need.PAY, "its row has changed since Magic Hour rejected it")
        if not state.retryable:
            return Step(Need.FAILED)
        # Those that another run has paid for too: two runs that each try again what failed for the other never end.
        failures = sum(
            step.name.step == "failed" and self._is_of_this_attempt(step) for step in self._records.read(key)
        )
        if failures <= self._spec.item_retries:
            return Step(Need.PAY, "its job failed and was refunded")
        return Step(Need.FAILED, is_retryable=True)

    def _is_another_request(self, key: str, state: ItemState) -> bool:
        """Whether an item asks for something else than what was rejected, and cost nothing."""
        item = self._items.find(key)
        records = [step.record for step in self._records.read(key) if step.name.number == state.number]
        before = next((record.fingerprint for record in reversed(records) if record is not None), {})
        return item is not None and bool(before) and before != self._items.fingerprint(item)

    def is_own(self, state: ItemState) -> bool:
        """Whether this task instance has paid for it, in any of its tries."""
        return state.owner == self._owner.digest

    def _is_paid_here(self, step: ItemStep, digest: str) -> bool:
        """Whether this attempt has paid for the request with this digest."""
        is_job = (step.name.step, step.name.owner, step.name.fingerprint) == ("job", self._owner.digest, digest)
        return is_job and self._is_of_this_attempt(step)

    def _is_of_this_attempt(self, step: ItemStep) -> bool:
        """Whether this attempt has written it, or another run while this attempt ran."""
        if step.owner is not None and step.owner.digest == self._owner.digest:
            return step.owner.ti_id == self._owner.ti_id
        return step.at is not None and step.at >= int(self._started_at)
