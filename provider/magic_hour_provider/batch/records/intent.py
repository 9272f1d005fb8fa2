"""The intent of an item, in the form in which the one place that pays takes it (``execution.payment.submission``)."""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass, replace
from typing import Any

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.models import Submission
from magic_hour_provider.batch.records.declaration.declarer import Declared
from magic_hour_provider.batch.records.owner import RECORD_S
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState
from magic_hour_provider.ledger.messages import unknown_submission_error
from magic_hour_provider.ledger.places.directions import Directions, name_for_command
from magic_hour_provider.ledger.record import Record, RecordError

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 1.0


@dataclass(frozen=True)
class ItemDirections(Directions):
    """How a person gives an instruction for one item of a batch.

    :param item: its id, or its key where it has none.
    """

    item: str = ""

    def choose(self, job_id: str | None = None) -> str:
        """Say how to resume a job or to make a new one, as whole sentences."""
        job, item = job_id or "the id or library address of the job", f" --item {shlex.quote(self.item)}"
        commands = self._commands(f"{self._adopt_command(job_id)}{item}", f"{self._regenerate_command}{item}")
        return (
            f"Open item {self.item!r} in the task's Media tab: paste {job}, or ask for a new one. {commands}".rstrip()
        )

    def adopt(self, job_id: str) -> str:
        """Say how to resume a job that is known, as whole sentences."""
        return self.choose(job_id)

    def regenerate(self) -> str:
        """Say how to make a new job, as whole sentences."""
        command = self._commands(f"{self._regenerate_command} --item {shlex.quote(self.item)}")
        return f"For a new one open item {self.item!r} in the task's Media tab. {command}".rstrip()


class ItemIntent:
    """The intent to pay for one item. While it is written, the paid request may have been sent.

    :param records: of the batch.
    :param key: of the item.
    :param state: that the decision to pay was made on.
    :param record: of the intent.
    :param item: how a person knows the item: its id, or its key.
    :param note: why it is paid for, for a person.
    """

    def __init__(
        self, records: ItemRecords, key: str, state: ItemState, record: Record, *, item: str = "", note: str = ""
    ) -> None:
        self.record = record
        self._records, self._key, self._state, self._note = records, key, state, note
        owner = records.owner
        target = name_for_command(owner) if owner is not None else ""
        self._directions = ItemDirections(item=item or key, target=target)
        self._declared: Declared | None = None
        self.withdrawn: int | None = None
        """The number of the intent that was withdrawn last."""

    @property
    def is_written(self) -> bool:
        """Whether it is recorded now."""
        return self._declared is not None

    @property
    def number(self) -> int:
        """Its number, once it is written."""
        return self._written.number

    def write(self) -> None:
        """Write it, as the last thing before the paid request; also once more, after it was withdrawn for a pause.

        :raises RecordError: another worker has the item now, or the storage does not answer; nothing may be sent.
        """
        if self._declared is not None:
            self._records.check(self._declared)
            return
        # Written again it is another one, of another time.
        record = replace(self.record, written_at="")
        item = self._directions.item
        self._declared = self._records.declare(self._key, self._state, record, note=self._note, item=item)
        self.record = self._declared.record

    def withdraw(self) -> None:
        """Take it back, as surely no job was made."""
        declared, self._declared = self._written, None
        self.withdrawn = declared.number
        if self._records.withdraw(declared):
            self._state = replace(self._state, last=declared.number)

    def complete(self, submission: Submission) -> Record:
        """Complete it with the paid job's id, and return the record. Tried for two minutes: the id must not be lost.

        :raises SubmissionUnknownError: it could not be written; the error carries the id.
        """
        paid = replace(
            self.record,
            state="submitted",
            job_id=submission.id,
            submitted_at=clock.current().now(),
            credits_charged=submission.credits_charged,
        )
        # First of all, and in words: whatever happens to this process now, the id can be read in its log.
        log.info(
            "Submitted Magic Hour job %s of item %r, charged %s.",
            submission.id,
            self._directions.item,
            errors.describe_credits(paid.credits_charged),
        )
        end, pause = clock.current().now() + RECORD_S, _FIRST_PAUSE_S
        while True:
            try:
                self._records.complete(self._written, paid)
            except RecordError as error:
                if clock.current().now() + pause > end:
                    raise self._unrecorded_error(paid, error) from error
                log.warning("The record of paid job %s could not be written yet (%s).", submission.id, error.message)
                clock.current().sleep(pause)
                pause = min(pause * 2, 15.0)
            else:
                return paid

    def find_identified(self) -> Record | None:
        """Return the record of its job if somebody has recorded one meanwhile, else None."""
        try:
            steps = self._records.read(self._key)
        except errors.MagicHourError:  # what is known of the lost response must not be lost over it
            log.exception("The record of the paid request #%s could not be read.", self.record.tag)
            return None
        found = [step.record for step in steps if (step.name.number, step.name.step) == (self.number, "job")]
        return found[0] if found else None

    def unknown_error(self, why: str, **known: Any) -> errors.SubmissionUnknownError:
        """Return the error of its submission where the outcome is unknown.

        :param why: what happened, as a whole sentence.
        :param known: as of :func:`magic_hour_provider.ledger.messages.unknown_submission_error`.
        """
        return unknown_submission_error(self.record, why, directions=self._directions, **known)

    @property
    def _written(self) -> Declared:
        if self._declared is None:
            raise ValueError("the intent is not written")
        return self._declared

    def _unrecorded_error(self, paid: Record, error: RecordError) -> errors.SubmissionUnknownError:
        return errors.SubmissionUnknownError(
            f"Magic Hour job {paid.job_id} ({paid.tool}), of item {self._directions.item!r}, was created and charged "
            f"({errors.describe_credits(paid.credits_charged)}), but its id could not be recorded: {error.message}",
            next_step=f"See {paid.page or 'Magic Hour'}. {self._directions.adopt(paid.job_id or '')}",
            job_id=paid.job_id,
            created=True,
        )
