"""The ledger of one task instance: reads, decides on and writes the record of what was paid for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.models import check_id, parse_library_url
from magic_hour_provider.ledger.decision import Decision, MappedItem, RetryState, decide
from magic_hour_provider.ledger.file_store import open_file_store
from magic_hour_provider.ledger.instruction import PUT_RIGHT_ID
from magic_hour_provider.ledger.messages import deleted_run_error
from magic_hour_provider.ledger.places.directions import Directions, name_for_command
from magic_hour_provider.ledger.places.instructions import Instructions
from magic_hour_provider.ledger.places.mark import AttemptMark, EarlierXComs
from magic_hour_provider.ledger.places.several import Places, Store
from magic_hour_provider.ledger.places.trail import AttemptTrail
from magic_hour_provider.ledger.record import ADOPT, KEY, REGENERATE, Record, State, overtaken_error
from magic_hour_provider.times import format_time, parse_time

log = logging.getLogger(__name__)


class Ledger:
    """Reads and writes the record of one task instance.

    :param store: Airflow's task state store, or files in its place, or None where there is neither.
    :param retry_state: where this attempt stands.
    :param second: files beside Airflow's own store: what an Airflow before 3.3 has written there counts, and a process
        whose task instance was cleared can still write there.
    :param mark: of this attempt; None: it leaves none.
    :param earlier: what the attempt before has pushed.
    :param run_began_at: when the run began, in seconds since 1970, where nothing in it was cleared; None: not known.
    :param target: as the commands are given the task instance.
    """

    def __init__(
        self,
        store: Store | None,
        retry_state: RetryState,
        *,
        second: Store | None = None,
        mark: AttemptMark | None = None,
        earlier: EarlierXComs | None = None,
        run_began_at: float | None = None,
        target: str = "",
    ) -> None:
        self._places = Places(store, second, target=target)
        self.instructions = Instructions(self._places)
        """What a person asks for."""
        self.retry_state = retry_state
        self._earlier = earlier or EarlierXComs()
        self.trail = AttemptTrail(self._places, mark, self._earlier, run_began_at)
        """What this attempt and those before it leave beside the record."""
        self._in_airflow = False

    @classmethod
    def open(cls, context: Mapping[str, Any], output_path: str = "", output_template: Any = None) -> Ledger:
        """Open the ledger of the running task instance.

        :param output_path: the task's folder for files, rendered; or empty.
        :param output_template: the same before it was rendered.
        :raises InvalidInputError: the setting ``ledger_path`` cannot work.
        """
        ti, store, second = context["ti"], context.get("task_state_store"), None
        if store is None:
            store = open_file_store(ti, output_path, output_template)
        else:
            second = open_file_store(ti, "", None)
        if store is None:
            log.warning(
                "Nothing keeps a record of what this task pays for: if this attempt is lost, a retry pays for a new "
                "job. Set [magic_hour] ledger_path, upgrade to Airflow 3.3, or set retries=0, where paying twice "
                "matters."
            )
        state = RetryState.of(context)
        mark = AttemptMark.of(context, state.clear_number)
        run = context["dag_run"]
        # Each clear of a finished run resets its start_date, and raises its clear_number on every Airflow.
        began_at = None if getattr(run, "clear_number", 0) else parse_time(getattr(run, "start_date", None))
        earlier = EarlierXComs.of(ti)
        target = "" if store is None else name_for_command(ti)
        return cls(store, state, second=second, mark=mark, earlier=earlier, run_began_at=began_at, target=target)

    @property
    def is_ephemeral(self) -> bool:
        """Whether nothing outlives this attempt: there is no store."""
        return len(self._places) == 0

    @property
    def in_airflow(self) -> bool:
        """Whether the record is in Airflow's own store, where the API server can complete it."""
        return any(not place.is_files for place in self._places)

    @property
    def outlives_a_clear(self) -> bool:
        """Whether the record is still there after a clear, by itself."""
        return self._places.outlive_a_clear

    @property
    def has_lost_payments(self) -> bool:
        """Whether something shows that an earlier attempt has paid, or was about to, and no record tells of it."""
        is_unkept = self.is_ephemeral and bool(self._earlier.job_ids or self._earlier.tags)
        return is_unkept or self.trail.lost is not None

    def must_show_unpaid(self, record: Record | None) -> bool:
        """Whether a new job would not be a second one, and a clear leaves only XComs to show that.

        :param record: as :meth:`begin` has returned it.
        """
        is_unpaid = self.trail.lost is None if record is None else record.is_refunded
        return is_unpaid and not (self.is_ephemeral or self.outlives_a_clear)

    @property
    def directions(self) -> Directions:
        """How a person gives an instruction."""
        return self._places.directions

    def describe_location(self, key: str) -> str:
        """Name a key's place for a person."""
        return self._places.describe_location(key)

    # -- read and write ----------------------------------------------------------------------------------------------

    def read(self, *, tolerant: bool = False) -> Record | None:
        """Return the record, or None if every place says that there is none.

        :param tolerant: whether one place that can be read is enough.
        :raises MagicHourError: there is one that cannot be read, or two of different jobs.
        """
        record, self._in_airflow = self._places.read(tolerant=tolerant)
        return record

    def write(self, record: Record, *, declares: bool = False) -> Record:
        """Write the record, and return it with the time at which it was first written.

        :param declares: whether it is an intent, over what was read last: it must be in every place. Of any other
            record one place is enough: the one that knows most counts.
        :raises RecordError: it cannot be written, or another attempt is writing an intent: nothing may be sent.
        """
        record = replace(record, written_at=record.written_at or format_time(clock.current().now()))
        if declares:
            self._places.declare(record)
        else:
            self._places.set(KEY, record.to_json())
        return record

    def restore(self, record: Record) -> None:
        """Write a record over an intent that is taken back: an intent left in any place would count.

        :raises RecordError: a place could not be written.
        """
        if unwritten := self._places.set(KEY, record.to_json()):
            raise unwritten[0]

    def remove(self, key: str) -> None:
        """Remove a key; a missing one is no error."""
        self._places.delete(key)

    def new_record(self, tool: Tool, state: State, fingerprint: dict[str, str], **more: Any) -> Record:
        """Return a record of this attempt, not yet written."""
        return Record(
            state=state,
            tool=tool.slug,
            kind=tool.kind,
            fingerprint=fingerprint,
            **asdict(self.retry_state),
            **more,
        )

    def begin(self) -> Record | None:
        """Read the record as an attempt begins, and where there is none leave the attempt's mark.

        A place that knows less than another is brought up to date: a clear may discard the one that knows most.

        An intent is completed with the job that its attempt pushed but could not record: a clear or a heartbeat timeout
        during the paid request gives the task instance another id, and the old process can write nothing into
        Airflow's store any more, but XComs, whose keys Airflow names to the next attempt. Or it could record it in one
        place only, which a clear then discarded.

        :raises MagicHourError: as :meth:`read`; or a place cannot be written.
        """
        record = self.read()
        if record is None:
            self.trail.begin_without_record()
            return None
        tags = self._earlier.tags
        # A new job's attempt keeps the key of the one before until it has a job itself.
        past = {one.get("job_id") for one in record.history}
        job_ids = [job_id for job_id in self._earlier.job_ids if job_id not in past]
        # The intent's own key goes as soon as its job has one.
        if record.state != "intent" or len(job_ids) != 1 or (tags and record.tag not in tags):
            record = record.settle(self._earlier.settled)
            if self._in_airflow or not self.trail.is_of_deleted_run():
                self._places.bring_up_to_date(record)
            return record
        log.info("The attempt before could not record its job any more; its XComs name it: %s.", job_ids[0])
        return self.write(replace(record, state="submitted", job_id=job_ids[0], submitted_at=clock.current().now()))

    # -- decide ------------------------------------------------------------------------------------------------------

    def decide(
        self,
        record: Record | None,
        tool: Tool,
        fingerprint: dict[str, str],
        *,
        on_clear: str,
        on_unknown: str,
        conn_id: str | None = None,
        balance: int | None = None,
        item: MappedItem | None = None,
        check_adopted: Callable[[str, str], object] = lambda job_id, where: None,  # noqa: ARG005 (nobody looks)
    ) -> Decision:
        """Decide what this attempt does; see :func:`.decision.decide`. What a person asked for by hand comes first.

        :param record: what this ledger holds, as it was just read.
        :param conn_id: the connection that finds an adopted job.
        :param check_adopted: refuses the id of a job that cannot be adopted, which a place names, by an error: it
            takes the record's place.
        :raises InvalidInputError: what a person asked for cannot work.
        :raises MagicHourError: as :func:`.decision.decide`.
        """
        if given := self.instructions.find(ADOPT, record):
            job_id = self._parse_adopted_id(given[0].instruction.job, tool, given[0].where)
            if record is None or record.job_id != job_id:
                check_adopted(job_id, given[0].where)
            # Written over without a paid request in between: so what is there is read once more.
            adopted = self._adopt(self.read(), tool, fingerprint, job_id, conn_id)
            message = f"Resuming Magic Hour job {adopted.job_id}, adopted by hand. Nothing is paid."
            return Decision(adopted, adopted, message)
        if given := self.instructions.find(REGENERATE, record):
            self.trail.begin_again()
            message = f"A new job is made and paid for, as {given[0].where} asks."
            return Decision(seen=record, log_message=message)
        if record is None:
            if lost := self.trail.lost:
                # It may have been missing for a moment.
                raise lost if self.read() is None else overtaken_error(self.describe_location(KEY))
        elif not self._in_airflow and (place := self.trail.find_deleted_run()):
            raise deleted_run_error(record, place.describe_location(KEY), self.directions)
        return decide(
            record,
            self.retry_state,
            fingerprint,
            on_clear=on_clear,
            on_unknown=on_unknown,
            balance=balance,
            item=item,
            directions=self.directions,
        )

    @staticmethod
    def _parse_adopted_id(value: Any, tool: Tool, place: str) -> str:
        """Return the id of the job that a person wants: given as it is, or as its address in the web library."""
        try:
            kind, job_id = (isinstance(value, str) and parse_library_url(value)) or (tool.kind, check_id(value))
        except errors.InvalidInputError as error:
            raise errors.InvalidInputError(f"In {place}: {error.message}", next_step=PUT_RIGHT_ID) from None
        if kind != tool.kind:
            raise errors.InvalidInputError(
                f"{place} names a job of kind {kind}, and {tool.slug} makes jobs of kind {tool.kind}.",
                next_step=PUT_RIGHT_ID,
            )
        return job_id

    def _adopt(
        self, record: Record | None, tool: Tool, fingerprint: dict[str, str], job_id: str, conn_id: str | None
    ) -> Record:
        now = clock.current().now()
        if record is not None and record.job_id == job_id:
            # With this attempt's numbers, so that its own retries are no clear. What is delivered stays so: the job may
            # be deleted at Magic Hour since.
            adopted = replace(
                record,
                state="delivered" if record.state == "delivered" else "submitted",
                tool=tool.slug,
                fingerprint=fingerprint,
                submitted_at=now,
                reason=None,
                written_at="",
                **asdict(self.retry_state),
            )
        else:
            history = record.past() if record is not None else []
            adopted = self.new_record(
                tool,
                "submitted",
                fingerprint,
                tag="",
                conn_id=conn_id,
                history=history,
                job_id=job_id,
                submitted_at=now,
            )
        # The other one first: whoever finds the job wants no new one, and left alone it would pay at the next retry.
        self.remove(REGENERATE)
        adopted = self.write(adopted)
        self.trail.begin()
        self.remove(ADOPT)
        return adopted

    # -- what became of the job --------------------------------------------------------------------------------------

    def mark_resumed(self, record: Record, seen: Record | None) -> Record:
        """Note that this attempt resumes the record, so that its own retries are not taken for a clear.

        :param seen: what the ledger held when that was decided.
        """
        return record if record == seen else self._write_if_current(record)

    def mark_stored(self, record: Record, files: list[dict[str, Any]]) -> Record:
        """Note the files that are stored so far: an attempt that resumes need not download them again."""
        return self._write_if_current(replace(record, files=files))

    def mark_delivered(self, record: Record, files: list[dict[str, Any]], credits_charged: int | None) -> Record:
        """Note that the job's files are stored."""
        return self._write_if_current(replace(record, state="delivered", files=files, credits_charged=credits_charged))

    def mark_ended(self, record: Record, error: errors.MagicHourError) -> Record:
        """Note that the job ended without a result; whether a retry may pay for another is the error's to say."""
        state: State = "failed" if error.retryable else "ended"
        return self._write_if_current(replace(record, state=state, reason=str(error)))

    def _write_if_current(self, record: Record) -> Record:
        """Write what became of a job, unless the record is another job's by now: it must not fall back."""
        current = self.read(tolerant=True)
        if current is not None and not current.is_of_same_job(record):
            newer = current.job_id or current.tag
            log.warning("The record is of job %s by now; job %s is left out.", newer, record.job_id)
            return record
        return self.write(record)
