"""The records of a batch as its workers write them, one small file for each step of an item."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from magic_hour_provider import clock
from magic_hour_provider.api.models import parse_library_url
from magic_hour_provider.batch.records.content import ItemStep, digest_fingerprint
from magic_hour_provider.batch.records.declaration.claims import TakenError
from magic_hour_provider.batch.records.declaration.declarer import Declared, Declarer
from magic_hour_provider.batch.records.declaration.proof import Proof
from magic_hour_provider.batch.records.folder import RecordFolder
from magic_hour_provider.batch.records.names import IN_THE_FILE, StepName, name_id, parse_staged
from magic_hour_provider.batch.records.owner import Owner, settles_after
from magic_hour_provider.batch.records.reader import RecordReader
from magic_hour_provider.batch.records.regenerate_list import RegenerateList
from magic_hour_provider.batch.records.state import ItemState, resolve
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.times import format_time

log = logging.getLogger(__name__)

# Steps that say what has come of a request; of the second ones the name alone says all that matters for the money.
_OUTCOMES = ("withdrawn", "unknown", "job", "failed", "done")
_SAID_BY_NAME = ("withdrawn", "unknown", "job")


@dataclass(frozen=True)
class OpenIntent:
    """An intent of which nothing more is recorded: its request may be under way.

    :param step: what was written, as far as it can be read.
    :param age: seconds since then, as well as that can be known.
    :param known_for: seconds for which it is known, to this worker or to one before it in the same attempt.
    :param settles_in: seconds after which its outcome counts as unknown; 0: now.
    :param unsent: the intent, where this very worker wrote it and surely sent nothing: it can be withdrawn at once.
    """

    step: ItemStep
    age: float
    known_for: float
    settles_in: float
    unsent: Declared | None

    @property
    def adopts(self) -> str | None:
        """The id of a job that exists already; nothing was sent: see :meth:`ItemRecords.finish_adoption`."""
        return self.step.adopts


class ItemRecords(RecordReader):
    """The records of all items under one ``output_path``. Threads may share it.

    :param folder: where the files are.
    :param owner: the attempt that writes; None: a person, who only reads and gives instructions.
    """

    def __init__(self, folder: RecordFolder, owner: Owner | None = None) -> None:
        super().__init__(folder)
        self.owner = owner
        self._declarer = Declarer(self, owner)
        self._first_seen: dict[tuple[str, int], float] = {}
        self.waiting_since: float | None = None
        """Since when workers of this attempt have known intents that were still open, in seconds since 1970."""

    @classmethod
    def open(cls, output_path: str, owner: Owner | None = None) -> ItemRecords:
        """Return the records under a folder for files; nothing is read or written yet.

        :raises InvalidInputError: the folder cannot be used.
        """
        return cls(RecordFolder(output_path), owner)

    # -- before the paid request -------------------------------------------------------------------------------------

    def prove(self) -> Proof:
        """Make sure, once, that this storage can keep records; before the first payment.

        :raises InvalidInputError: it cannot.
        :raises RecordError: it does not answer now.
        """
        return self._declarer.prove()

    def declare(self, key: str, state: ItemState, record: Record, *, note: str = "", item: str = "") -> Declared:
        """Write the intent after an item's state, which must still be the one that the caller decided on.

        Of any number of workers one at most returns. What a person asks for in the place of that state is consumed.

        :param state: that the decision to pay was made on.
        :param record: of the intent.
        :param note: why, for a person; such as the fields of a row that has changed.
        :param item: how a person knows the item.
        :raises TakenError: another worker was first, or the state has changed; nothing may be sent.
        :raises RecordError: the storage does not answer; nothing may be sent.
        """
        return self._declarer.declare(key, state, record, note=note, item=item)

    def withdraw(self, declared: Declared, note: str = "") -> bool:
        """Take an intent back, as surely no job was made: what was recorded and asked for before counts again.

        The next intent has the next number: of this one nobody can be sure any more.

        :param note: why, for a person.
        :returns: whether that could be written within seconds; else the next attempt will not know.
        """
        return self._declarer.withdraw(declared, note)

    def check(self, declared: Declared) -> None:
        """Make sure that an intent still is the last thing recorded of its item, before its request is sent again.

        :raises TakenError: something was recorded since.
        :raises RecordError: the storage cannot be listed now.
        """
        state = self.get(declared.key)
        if state != ItemState("intent", declared.number, declared.number):
            raise TakenError(declared.key, f"its last record is of intent {state.last} and says {state.status!r}")

    def adopt(self, key: str, state: ItemState, record: Record, *, note: str = "", item: str = "") -> Declared:
        """Write that an item's job is one that exists already, in the place of its state; nothing is paid.

        :param state: as of :meth:`declare`.
        :param record: of the job: ``submitted``, with its id.
        :param item: how a person knows the item.
        :raises TakenError: as :meth:`declare`.
        :raises RecordError: as :meth:`declare`; or the job's own file could not be written yet, which
            :meth:`finish_adoption` does.
        """
        intent = replace(record, state="intent", job_id=None, submitted_at=None, credits_charged=None)
        paid_by = ""
        if state.status == "unknown":
            # The task instance whose response was lost has paid for it.
            lost = self.read_intent(key, state.number)
            paid_by = lost.owner.digest if lost.owner is not None else ""
        declared = self._declarer.declare(
            key, state, intent, adopts=record.job_id, paid_by=paid_by, note=note, item=item
        )
        self._write_job(key, declared.number, record, paid_by)
        return declared

    # -- the steps after an intent -----------------------------------------------------------------------------------

    def complete(self, declared: Declared, record: Record) -> None:
        """Write the job of an intent.

        :param record: ``submitted``, with the job's id.
        :raises RecordError: it cannot be written now.
        """
        self._write_job(declared.key, declared.number, record, self.owner.digest if self.owner else "")

    def finish_adoption(self, intent: OpenIntent, record: Record) -> None:
        """Write the job of an intent that adopts one, of a worker that was stopped in between.

        :param record: of the job: ``submitted``, with the id that the intent names.
        :raises RecordError: it cannot be written now.
        """
        self._write_job(intent.step.name.key, intent.step.name.number, record, intent.step.paid_by)

    def give_up(self, key: str, number: int, record: Record | None, note: str = "") -> None:
        """Write that it is unknown whether an intent's request has made a job. A job that is recorded later counts.

        :param record: of the intent, as far as it can be read.
        :param note: why, for a person.
        :raises RecordError: it cannot be written now.
        """
        self._write(StepName(key, number, "unknown"), record, note)

    def deliver(self, key: str, number: int, record: Record) -> None:
        """Write that a job's files are stored.

        :param record: ``delivered``, with the job's id, credits and files.
        :raises RecordError: it cannot be written now.
        """
        job_id = name_id(record.job_id)
        self._write(StepName(key, number, "done", credits=record.credits_charged, job_id=job_id), record)

    def fail(self, key: str, number: int, record: Record, *, refunded: bool) -> None:
        """Write that an item has failed: its job did, or its intent was withdrawn as the service rejects the request.

        :param record: ``failed`` if another try may succeed, else ``ended``; with its reason.
        :param refunded: whether nothing stays charged.
        :raises RecordError: it cannot be written now.
        """
        name = StepName(
            key,
            number,
            "failed",
            job_id=name_id(record.job_id),
            credits=0 if refunded else record.credits_charged,
            retryable=record.state == "failed",
            refunded=refunded,
        )
        self._write(name, record)

    def _write_job(self, key: str, number: int, record: Record, owner: str) -> None:
        name = StepName(
            key,
            number,
            "job",
            job_id=name_id(record.job_id),
            credits=record.credits_charged,
            owner=owner,
            submitted_at=None if record.submitted_at is None else int(record.submitted_at),
            fingerprint=digest_fingerprint(record.fingerprint),
        )
        self._write(name, record)

    def _write(self, name: StepName, record: Record | None, note: str = "") -> None:
        now = clock.current().now()
        if record is not None:
            record = replace(record, written_at=record.written_at or format_time(now))
        self.folder.write(name.path, ItemStep(name, self.owner, now, record, note=note).to_bytes())

    # -- what a killed worker has not finished -----------------------------------------------------------------------

    def finish_staged(self, key: str) -> bool:
        """Finish the files of an item whose writer was killed before they got their names; return whether there were.

        :raises RecordError: the storage does not answer now.
        """
        taken = {name.path for name in self.list_names(key)}
        finished = [self._finish(path, taken) for path in self.folder.list_staged(key)]
        return any(finished)

    def _list_all(self) -> list[str]:
        paths = super()._list_all()
        if self.owner is None:
            return paths
        taken = set(paths)
        return paths + [name for path in paths if "/." in path and (name := self._finish(path, taken)) is not None]

    def _finish(self, path: str, taken: set[str]) -> str | None:
        """Give a staging file its name, and return that, where it says what has come of a request.

        Who still writes it finds its own file there. A job's id is in the name already: what the file holds may be
        cut. Nothing else is finished: an intent whose worker was killed before it was declared was never sent.
        """
        name = parse_staged(path)
        if name is None or name.path in taken or name.step not in _OUTCOMES:
            return None
        data = self.folder.read(path)
        is_whole = data is not None and ItemStep.read(name, data).is_whole
        if data is None or not (is_whole or (name.step in _SAID_BY_NAME and name.job_id != IN_THE_FILE)):
            return None
        self.folder.write(name.path, data)
        taken.add(name.path)
        log.warning("A worker was killed while it wrote %s: what it knew is used.", self.folder.locate(name.path))
        return name.path

    # -- intents of others, and what persons ask for -----------------------------------------------------------------

    def find_open_intent(self, key: str, number: int, request_s: float) -> OpenIntent:
        """Return an intent whose request may be under way, and for how long its outcome may still come.

        :param number: of an item whose status is ``intent``.
        :param request_s: the connection's timeout, in seconds.
        :raises MagicHourError: the storage does not answer now.
        """
        step = self.read_intent(key, number)
        known_for = self._known_for(step)
        age = self._age_of(step, known_for)
        limit = settles_after(step.owner, self.owner, request_s)
        return OpenIntent(step, age, known_for, max(0.0, limit - age), self._declarer.find_unsent(step))

    def _known_for(self, step: ItemStep) -> float:
        now = clock.current().monotonic()
        known_for = now - self._first_seen.setdefault((step.name.key, step.name.number), now)
        since = self.waiting_since
        # A second more, as files do not have the time to the last digit.
        if since is not None and step.at is not None and step.at <= since + 1:
            return max(known_for, clock.current().now() - since)
        return known_for

    def _age_of(self, step: ItemStep, known_for: float) -> float:
        """Return how long ago an intent was written, in seconds.

        By the storage's own clock, where it tells the time; else by the clocks of the two machines. Whatever those say,
        an intent is no younger than it is known.
        """
        proof = self._declarer.proof
        storage_now = proof.now() if proof is not None else None
        written_at = self.folder.modified_at(step.name.path) if storage_now is not None else None
        if storage_now is not None and written_at is not None:
            return max(known_for, storage_now - written_at)
        return max(known_for, 0.0 if step.at is None else clock.current().now() - step.at)

    def instruct(self, key: str, state: ItemState, instruction: Instruction) -> None:
        """Write what a person asks for in the place of an item's state; what was asked for before is removed.

        It is done once: the next intent consumes it, and it is void once another record counts.

        :param state: that the person saw.
        :param instruction: its job is an id or an address.
        :raises TakenError: the state has changed since.
        :raises InvalidInputError: it names no job.
        :raises RecordError: it cannot be written now.
        """
        names = self.list_names(key)
        current = resolve(names)
        if replace(current, instructions=()) != replace(state, instructions=()):
            raise TakenError(key, "its state has changed since it was read")
        replaced, job_id = name_id(current.job_id), ""
        if instruction.action == "adopt":
            address = parse_library_url(instruction.job or "")
            job_id = name_id(address[1] if address is not None else instruction.job)
        own = StepName(key, current.number, instruction.action, replaced=replaced, job_id=job_id)
        for name in names:
            if name.step in ("adopt", "regenerate") and name.number == current.number and name != own:
                self.folder.remove(name.path)
        step = ItemStep(own, self.owner, clock.current().now(), instruction=instruction.to_json())
        self.folder.write(own.path, step.to_bytes())

    def instruct_many(self, states: Mapping[str, ItemState], name: str) -> None:
        """Write that a person asks for a new job of each of these items, in the place of its state.

        Of each it is done once: the next intent consumes it, and it is void where another record counts by then.

        :param states: that the person saw, by key.
        :param name: of the file that says so, as of :func:`new_list_name`; who removes it takes all of it back.
        :raises RecordError: it cannot be written now.
        """
        self.folder.write(name, RegenerateList.of(states).to_bytes(clock.current().now()))
