"""Declares the intents of items, and withdraws them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from magic_hour_provider import clock
from magic_hour_provider.batch.records.content import ItemStep
from magic_hour_provider.batch.records.declaration.claims import TakenError, claim_number
from magic_hour_provider.batch.records.declaration.proof import Proof, prove
from magic_hour_provider.batch.records.folder import unlisted_error
from magic_hour_provider.batch.records.names import StepName
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.batch.records.reader import RecordReader
from magic_hour_provider.batch.records.state import ItemState
from magic_hour_provider.ledger.record import Record, RecordError
from magic_hour_provider.times import format_time

log = logging.getLogger(__name__)

_WITHDRAW_PAUSES_S = (1.0, 4.0, None)


@dataclass(frozen=True)
class Declared:
    """An intent that this worker has declared: it alone may send the request.

    :param key: of the item.
    :param number: of the intent.
    :param nonce: of the call that declared it.
    :param record: of the intent, with its time.
    """

    key: str
    number: int
    nonce: str
    record: Record


class Declarer:
    """Declares intents in one folder of records, for one attempt. Threads may share it.

    :param reader: of the records.
    :param owner: the attempt.
    """

    def __init__(self, reader: RecordReader, owner: Owner | None) -> None:
        self._reader, self._folder, self._owner = reader, reader.folder, owner
        self._proof: Proof | None = None
        # Nonces of intents that an error may hide, by key and number. Nothing was sent for them.
        self._ambiguous: dict[tuple[str, int], str] = {}
        self._left: dict[tuple[str, int], str] = {}

    def prove(self) -> Proof:
        """Make sure, once, that the storage can keep records.

        :raises MagicHourError: it cannot, or not now.
        """
        if self._proof is None:
            self._proof = prove(self._folder)
        return self._proof

    @property
    def proof(self) -> Proof | None:
        """What was proved; None: nothing yet."""
        return self._proof

    def declare(
        self,
        key: str,
        state: ItemState,
        record: Record,
        *,
        adopts: str | None = None,
        paid_by: str = "",
        note: str = "",
        item: str = "",
    ) -> Declared:
        """Write the intent after an item's state, and make sure that it is the only one and the state still the same.

        :param state: that the caller has decided on.
        :param record: of the intent.
        :param adopts: as of :class:`.content.ItemStep`, like what follows.
        :raises TakenError: another worker was first, or the state has changed.
        :raises RecordError: the storage does not answer.
        """
        if state.status == "intent":
            raise ValueError(f"a request of item {key!r} may be under way")
        is_exclusive, number = self.prove().is_exclusive, state.last + 1
        record = replace(record, written_at=record.written_at or format_time(clock.current().now()))
        # The call before may have written it although an error came: then what is found is this worker's own.
        nonce = self._ambiguous.pop((key, number), None) or secrets.token_hex(8)
        step = ItemStep(
            StepName(key, number, "intent", nonce="" if is_exclusive else nonce),
            self._owner,
            clock.current().now(),
            record,
            nonce,
            adopts,
            paid_by,
            None if state.instruction is None else state.instruction.to_json(),
            note,
            item,
        )
        if not is_exclusive:
            claim_number(self._folder, StepName(key, number, "claim", nonce=nonce))
        try:
            self._write(step)
        except TakenError:
            raise
        except RecordError:
            self._ambiguous[key, number] = nonce
            raise
        declared = Declared(key, number, nonce, record)
        try:
            self._check(step.name, state)
        except BaseException:
            self.withdraw(declared, "Nothing was sent: the state of the item could not be confirmed.")
            raise
        return declared

    def withdraw(self, declared: Declared, note: str = "") -> bool:
        """Take an intent back, as surely no job was made, and none will be.

        :param note: why, for a person.
        :returns: whether that could be written; else nobody else will know.
        """
        where = declared.key, declared.number
        nonce = "" if self.prove().is_exclusive else declared.nonce
        name = StepName(*where, "withdrawn", nonce=nonce)
        step = ItemStep(name, self._owner, clock.current().now(), declared.record, note=note)
        for pause in _WITHDRAW_PAUSES_S:
            try:
                self._folder.write(name.path, step.to_bytes())
            except RecordError:
                if pause is None:
                    log.exception(
                        "The intent #%s could not be taken back: the next attempt will not know that no job was made.",
                        declared.record.tag,
                    )
                    # It may be withdrawn later, but not used: what was just written may still arrive.
                    self._left[where] = declared.nonce
                    return False
                clock.current().sleep(pause)
            else:
                break
        for nonces in (self._left, self._ambiguous):
            nonces.pop(where, None)
        return True

    def find_unsent(self, step: ItemStep) -> Declared | None:
        """Return an intent that this worker has written and surely sent nothing for; None: it is another one's."""
        where = step.name.key, step.name.number
        if (
            not step.nonce
            or step.record is None
            or step.nonce not in (self._left.get(where), self._ambiguous.get(where))
        ):
            return None
        return Declared(*where, step.nonce, step.record)

    def _write(self, step: ItemStep) -> None:
        """Write the file of an intent: where the storage can, only where there is none."""
        name = step.name
        if name.nonce:
            self._folder.write(name.path, step.to_bytes())
            return
        try:
            self._folder.create(name.path, step.to_bytes())
        except FileExistsError:
            # A request that the storage's library sent again meets the file of its own first try.
            found = ItemStep.read(name, self._folder.read(name.path))
            if found.nonce != step.nonce:
                raise TakenError(name.key, f"{found.owner or 'another'} has declared intent {name.number}") from None

    def _check(self, own: StepName, state: ItemState) -> None:
        """Make sure that a listing shows the intent and no rival of it, and that the state before it is the same."""
        names = self._reader.list_names(own.key)
        if own not in names:
            raise unlisted_error(self._folder, own.path)
        others = [name for name in names if name.number == own.number and name != own]
        for name in others:
            if not self._is_harmless(name, own, others):
                raise TakenError(own.key, f"there is {self._folder.locate(name.path)}")
        if self._reader.resolve([name for name in names if name.number != own.number]) != state:
            raise TakenError(own.key, "its state has changed meanwhile")

    @staticmethod
    def _is_harmless(name: StepName, own: StepName, others: Sequence[StepName]) -> bool:
        """Whether a file of the same number leaves an intent its right to send.

        In storage that creates exclusively, a claim is of a worker that could not see that. It may have found itself
        alone before this intent was there; then it finds this one before it sends anything, and so does this one.
        """
        if name.step == "claim":
            return bool(own.nonce)
        if name.nonce == own.nonce or name.step not in ("intent", "withdrawn"):
            return False
        return replace(name, step="withdrawn") in others
