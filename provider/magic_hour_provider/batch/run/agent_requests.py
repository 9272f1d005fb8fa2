"""The requests of an agent, one after another, each as the only item of a batch: recorded, and paid for once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from magic_hour_provider import clock
from magic_hour_provider.api.errors import Charge, MagicHourError, SubmissionUnknownError
from magic_hour_provider.batch.jobs.gate import AttemptStoppedError, Gate
from magic_hour_provider.batch.records.content import ItemStep
from magic_hour_provider.batch.records.intent import ItemDirections
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState, conflict_error
from magic_hour_provider.batch.rows.items import Items
from magic_hour_provider.batch.run.attempt import BatchAttempt
from magic_hour_provider.batch.run.conclusion import find_failure, make_manifest
from magic_hour_provider.batch.run.results import write_results
from magic_hour_provider.batch.spec import BatchSpec, Passage
from magic_hour_provider.batch.window.engine import Engine
from magic_hour_provider.ledger.messages import unknown_submission_error
from magic_hour_provider.ledger.places.directions import name_for_command
from magic_hour_provider.ledger.record import RunCredits
from magic_hour_provider.storage.paths import check_folder
from magic_hour_provider.times import format_duration

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_ANSWERED = ("status", "id", "files", "credits_charged", "message")


class AgentRequests(BatchAttempt):
    """What one attempt of an agent's task asks for. For one thread at a time.

    :param context: Airflow's, of the agent's task.
    :param output_path: folder for files and records, rendered.
    :param max_credits: limit of what the task instance pays over all its tries.
    """

    def __init__(
        self, log: FilteringBoundLogger, context: Mapping[str, Any], output_path: str, max_credits: int
    ) -> None:
        super().__init__(log, context, None, output_path, wants_files=False)
        self.may_have_paid = True  # a request of before may have
        self._owner, self._max_credits = Owner.of(self._ti), max_credits
        self._others = Counter[str]()
        self._is_stopped = False
        self._facts |= {"max_credits": max_credits}

    def begin(self, request_s: float) -> None:
        """Make sure that nothing is unknown of what was asked for before, and push what was paid.

        :param request_s: the connection's timeout, in seconds.
        :raises MagicHourError: something is, or the folder cannot be used; the agent is not run.
        """
        check_folder(self.output_path)
        records = ItemRecords.open(self.output_path, self._owner)
        self._count_others(records.load(), records, request_s, waits=True)
        self._facts |= self._count_credits(records.spent(self._owner).credits)
        self.push_facts()

    def end(self) -> None:
        """Push that nothing more is paid for."""
        self._facts["run_credits"] = {**self._facts["run_credits"], "reserved": 0}
        self.push_facts()

    def stop(self) -> None:
        """Send nothing more, neither for this request nor for one after it."""
        self._is_stopped = True
        super().stop()

    def make(self, spec: BatchSpec) -> dict[str, Any]:
        """Make what one request asks for, or return what was made of it before.

        :param spec: with the request as its only row, and one failure that is tolerated.
        :returns: ``status``: ``complete``, ``failed`` (its job, or the service rejects it), ``running`` (it takes
            longer than ``timeout``) or ``refused`` (by a limit of credits, say); and what is known of the job.
        :raises MagicHourError: it is unknown whether a job was made, or nothing can be paid for now.
        """
        self._gate, self._passage = Gate(), Passage(clock.current().now())  # a job's timeout begins again
        if self._is_stopped:
            raise AttemptStoppedError
        return cast("dict[str, Any]", self.run(spec))  # what is not deferrable does not defer

    # -- in the middle of an attempt ---------------------------------------------------------------------------------

    def check_states(
        self, states: Mapping[str, ItemState], records: ItemRecords, items: Items, request_s: float
    ) -> None:
        """Refuse to pay while it is unknown what another request has cost; its own item is judged as any."""
        others = {key: state for key, state in states.items() if items.find(key) is None}
        self._count_others(others, records, request_s, waits=False)

    def _count_others(
        self, states: Mapping[str, ItemState], records: ItemRecords, request_s: float, *, waits: bool
    ) -> None:
        """Count what this task instance has asked for before.

        :param waits: whether a request that may still be under way is passed over: the agent may ask for it again.
        :raises MagicHourError: of one it is unknown whether a job was made.
        """
        self._others.clear()
        for key, state in states.items():
            if state.status in ("job", "done", "failed"):
                self._others[state.status] += state.owner == self._owner.digest
            elif state.status in ("intent", "unknown", "conflict") and state.instruction is None:
                intent = records.find_open_intent(key, state.number, request_s)
                if intent.step.owner is None or intent.step.owner.digest != self._owner.digest:
                    continue
                if state.status == "conflict":
                    raise conflict_error(key, state)
                if state.status == "unknown" or intent.settles_in <= 0:
                    raise self._unknown_error(key, intent.step)
                if not waits:
                    raise _open_error(key, intent.settles_in)

    def _unknown_error(self, key: str, step: ItemStep) -> MagicHourError:
        directions = ItemDirections(item=key, target=name_for_command(self._owner))
        why = "The agent is stopped, as of one of its requests it is unknown whether a job was created and charged."
        if step.record is not None:
            return unknown_submission_error(step.record, why, directions=directions)
        return SubmissionUnknownError(why, next_step=directions.choose())

    def conclude(
        self, spec: BatchSpec, items: Items, records: ItemRecords, owner: Owner, engine: Engine
    ) -> dict[str, Any]:
        """Return what the agent is answered.

        :raises MagicHourError: as :meth:`make`.
        """
        counts, payments, rows = engine.counts, engine.payments, list[Mapping[str, Any]]()
        results = write_results(items, records, counts, spec.output_path, owner, on_row=lambda _, row: rows.append(row))
        spent = records.spent(owner)
        manifest = make_manifest(counts, spent.credits, results)
        self._facts["results"] = results
        self._push(engine, spent.credits)
        failure = find_failure(spec, items, records, counts, manifest, payments, spent)
        answer = {name: rows[0][name] for name in _ANSWERED if name in rows[0]}
        if failure is not None:
            if not counts.unknown and payments.is_refused:
                answer |= {"status": "refused", "message": payments.stop_reason}
            elif counts.unpaid and not counts.retryable:
                answer |= {"status": "refused"}
            elif counts.unknown or payments.stop_reason is not None or not engine.polls.active:
                raise failure
        return answer | {"credits_spent": spent.credits, "max_credits": self._max_credits}

    def count_facts(self, engine: Engine, credits: int) -> dict[str, Any]:
        """Return what all requests of the agent have come to, in numbers."""
        facts, others = super().count_facts(engine, credits), self._others
        for name, more in (("items", others.total()), ("complete", others["done"]), ("failed", others["failed"])):
            facts[name] += more
        facts["active"] += others["job"]
        return facts | self._count_credits(credits, is_known=not engine.counts.unknown)

    def _count_credits(self, credits: int, *, is_known: bool = True) -> dict[str, Any]:
        reserved = max(0, self._max_credits - credits)  # the agent may ask for more, as long as it runs
        run_credits = asdict(RunCredits(credits, reserved, is_known)) | {"map_index": self._owner.map_index}
        return {"credits_charged": credits, "run_credits": run_credits}


def _open_error(key: str, seconds: float) -> MagicHourError:
    error = MagicHourError(
        f"The agent is stopped, as its request {key!r} may still be under way, of a worker that was stopped in the "
        "middle of it: it is unknown whether a job was created and charged.",
        charge=Charge.UNKNOWN,
        next_step=f"That is known in {format_duration(seconds)} at the latest; a retry after that resumes its job, or "
        "says what to do.",
    )
    error.retryable = True
    return error
