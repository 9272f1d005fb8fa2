"""The intent to pay for one job: written before the paid request, completed or withdrawn after it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.models import Submission
from magic_hour_provider.ledger.decision import Decision
from magic_hour_provider.ledger.ledger import Ledger
from magic_hour_provider.ledger.messages import forgetful_place_error, unknown_submission_error
from magic_hour_provider.ledger.places.instructions import Given
from magic_hour_provider.ledger.places.mark import ATTEMPT
from magic_hour_provider.ledger.record import KEY, REGENERATE, Record, overtaken_error

log = logging.getLogger(__name__)

_WITHDRAW_PAUSES_S = (1.0, 4.0, None)
_FIRST_PAUSE_S = 1.0
_WRITE_S = 120.0  # how long a record is tried to be written once a job is paid for


class Intent:
    """The intent to pay for one job. While it is in the ledger, the paid request may have been sent.

    :param ledger: of the task instance.
    :param decision: to submit a new job.
    :param tool: the tool.
    :param fingerprint: of the request.
    :param tag: what ends the job's name.
    :param name: the job's name, if it gets one.
    :param conn_id: the connection: a webhook delivery completes the intents of its own account alone.
    :param balance: credits before the request, if known.
    :param estimate: what the job will probably cost, as of the record.
    :param announce: says elsewhere which job was paid for, where its record cannot be written at once.
    """

    def __init__(
        self,
        ledger: Ledger,
        decision: Decision,
        tool: Tool,
        fingerprint: dict[str, str],
        *,
        tag: str,
        name: str | None = None,
        conn_id: str | None = None,
        balance: int | None = None,
        estimate: dict[str, Any] | None = None,
        announce: Callable[[Record], None] | None = None,
    ) -> None:
        previous = decision.seen
        history = previous.past() if previous is not None else []
        self.record = ledger.new_record(
            tool,
            "intent",
            fingerprint,
            tag=tag,
            name=name,
            conn_id=conn_id,
            balance=balance,
            estimate=estimate,
            history=history,
        )
        self.is_written = False
        """Whether it is in the ledger now."""
        self._ledger = ledger
        self._previous = previous
        self._announce = announce
        self._consumed: list[Given] = []  # what a person asked for, and this request does

    def write(self) -> None:
        """Write it, as the last thing before the paid request; also once more, after it was withdrawn for a pause.

        The record is read once more: an attempt that was given up may still run beside its own retry.

        :raises RecordError: another attempt has written the record since this one decided; nothing may be sent.
        """
        is_first = self._previous is None
        unproven = self._ledger.trail.find_markless_place() if is_first else None
        if self._ledger.read() not in (self._previous, self.record):
            raise overtaken_error(self._ledger.describe_location(KEY))
        if unproven is not None:
            raise forgetful_place_error(unproven.describe_location(ATTEMPT))
        self._consumed = self._ledger.instructions.find(REGENERATE, self._previous) or self._consumed
        self.record = self._ledger.write(self.record, declares=True)
        self.is_written = True
        try:
            if is_first:
                self._ledger.trail.declare(self.record.tag)
            if self._consumed:
                # Before the request: one that outlived it would pay again.
                self._ledger.remove(REGENERATE)
                if left := self._ledger.instructions.read(REGENERATE):
                    raise forgetful_place_error(left[0].where)
        except BaseException:
            self.withdraw()
            raise

    def withdraw(self) -> None:
        """Take it back, as surely no job was made: what was recorded and asked for before counts again."""
        self.is_written = False
        for pause in _WITHDRAW_PAUSES_S:
            try:
                self._take_back()
            except Exception:  # any failure of the store: what the service said must not be lost over it
                if pause is None:
                    log.exception(
                        "The intent #%s could not be taken back: the next attempt will not know that no job was made.",
                        self.record.tag,
                    )
                    return
                clock.current().sleep(pause)
            else:
                return

    def _take_back(self) -> None:
        current = self._ledger.read()
        is_own = current is None or (current.tag, current.state) == (self.record.tag, "intent")
        if current is not None and not is_own and current != self._previous:
            log.error("The record has been written meanwhile, for job %s; it is left.", current.job_id)
            return
        if self._consumed:
            self._ledger.instructions.bring_back(self._consumed)
        if self._previous is not None:
            self._ledger.restore(self._previous)
        else:
            self._ledger.trail.declare(None)
            self._ledger.remove(KEY)

    def complete(self, submission: Submission) -> Record:
        """Complete it with the paid job's id, and return the record. Tried for two minutes: the id must not be lost.

        :raises SubmissionUnknownError: the store could not be written; the error carries the id.
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
            "Submitted Magic Hour job %s (%s), charged %s. It keeps running and stays charged whatever happens "
            "to this task; see %s",
            submission.id,
            paid.tool,
            errors.describe_credits(paid.credits_charged),
            paid.page or "no page for this kind",
        )
        end = clock.current().now() + _WRITE_S
        pause = _FIRST_PAUSE_S
        while True:
            try:
                current = self._ledger.read(tolerant=True)
                if current is not None and current.tag != paid.tag:
                    log.error("Another attempt has recorded job %s: it goes into the history.", current.job_id)
                    paid = replace(paid, history=current.past())
                return self._ledger.write(paid)
            except Exception as error:  # any failure of the store: the job is paid for already
                if pause == _FIRST_PAUSE_S and self._announce is not None:
                    # Airflow may have given the task instance to another attempt, and takes no record of this one.
                    self._announce(paid)
                if clock.current().now() + pause > end:
                    raise self._unrecorded_error(paid, error) from error
                log.warning("The record of paid job %s could not be written yet (%s).", submission.id, error)
                clock.current().sleep(pause)
                pause = min(pause * 2, 15.0)

    def _unrecorded_error(self, paid: Record, error: Exception) -> errors.SubmissionUnknownError:
        charge = errors.describe_credits(paid.credits_charged)
        return errors.SubmissionUnknownError(
            f"Magic Hour job {paid.job_id} ({paid.tool}) was created and charged ({charge}), but its id could not be "
            f"recorded: {error}.",
            next_step=f"See {paid.page or 'Magic Hour'}. {self._ledger.directions.adopt(paid.job_id or '')}",
            job_id=paid.job_id,
            created=True,
        )

    def find_identified(self) -> Record | None:
        """Return the record if a webhook has completed it meanwhile (``plugin.webhooks.recovery``), else None."""
        try:
            current = self._ledger.read(tolerant=True)
        except Exception:  # any failure of the store: what is known of the lost response must not be lost over it
            log.exception("The record of the paid request #%s could not be read.", self.record.tag)
            return None
        if current is None or (current.tag, current.state) != (self.record.tag, "submitted"):
            return None
        return current

    def unknown_error(self, why: str, **known: Any) -> errors.SubmissionUnknownError:
        """Return the error of its submission where the outcome is unknown.

        :param why: what happened, as a whole sentence.
        :param known: as of :func:`.messages.unknown_submission_error`.
        """
        return unknown_submission_error(self.record, why, directions=self._ledger.directions, **known)
