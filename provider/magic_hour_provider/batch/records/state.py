"""The state of an item, from the names of its files alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import Literal, NamedTuple

from magic_hour_provider.api.errors import Charge, InvalidInputError, describe_credits
from magic_hour_provider.batch.records.names import StepName
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.ledger.record import RecordError

Status = Literal["new", "intent", "unknown", "job", "failed", "done", "conflict"]

# Of two steps of one number the earlier one here counts, whoever wrote it, and whenever.
_STRENGTH: tuple[Status, ...] = ("done", "failed", "job")


@dataclass(frozen=True, slots=True)
class ItemState:
    """What an item has come to.

    :param status: ``new``: nothing was paid for; ``intent``: a request may be under way; ``unknown``: one was sent,
        and it is unknown whether a job was made; ``job``: paid, and not known to have ended; ``failed``, ``done``;
        ``conflict``: two different jobs are recorded for one intent.
    :param number: of the intent that counts; 0: there is none. Intents that were withdrawn do not count.
    :param last: the highest number that is taken: the next intent gets the one after it.
    :param job_id: of the job that counts.
    :param credits: what it was charged, as far as known: settled, else at submission.
    :param owner: digest of the task instance that paid for it; empty: none of ours, or not known.
    :param submitted_at: seconds since 1970.
    :param fingerprint: :func:`.content.digest_fingerprint` of its request; empty: not known.
    :param retryable: of ``failed``: whether another try may succeed.
    :param refunded: of ``failed``: whether Magic Hour refunds it, or nothing was charged.
    :param conflicting: of ``conflict``: the ids of both jobs.
    :param instructions: what persons ask for, in the place of this very state.
    :param price: what the job was charged at submission, refunded or not; None: not known.
    """

    status: Status = "new"
    number: int = 0
    last: int = 0
    job_id: str | None = None
    credits: int | None = None
    owner: str = ""
    submitted_at: int | None = None
    fingerprint: str = ""
    retryable: bool = False
    refunded: bool = False
    conflicting: tuple[str, ...] = ()
    instructions: tuple[Instruction, ...] = ()
    price: int | None = field(default=None, compare=False)

    @property
    def instruction(self) -> Instruction | None:
        """What a person asks for; to resume a job comes before making a new one, which costs something.

        :raises InvalidInputError: two different jobs are to be resumed.
        """
        adopts = [one for one in self.instructions if one.action == "adopt"]
        if len(adopts) > 1:
            raise InvalidInputError(
                f"Two instructions ask for different things: to resume job {adopts[0].job}, and to resume job "
                f"{adopts[1].job}. Nothing was done.",
                next_step="Give the one again that is meant: it takes the place of both.",
            )
        return next(iter([*adopts, *self.instructions]), None)


class Charged(NamedTuple):
    """What one job of an item was charged.

    :param owner: digest of the task instance that paid; empty: none of ours.
    :param credits: settled, else at submission; None: not known.
    :param is_refunded: whether it has failed, and Magic Hour refunds it.
    """

    owner: str
    credits: int | None
    is_refunded: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """What a task instance has paid for, over all its tries and all items.

    :param credits: the sum, as far as known.
    :param jobs: how many jobs that is.
    :param unpriced: how many of them of which the credits are not known.
    :param refunded: how many of them are refunded.
    """

    credits: int = 0
    jobs: int = 0
    unpriced: int = 0
    refunded: int = 0

    def plus(self, credits: int | None, *, is_refunded: bool = False) -> Spent:
        """Return the sum with one more job."""
        return Spent(
            self.credits + (credits or 0),
            self.jobs + 1,
            self.unpriced + (credits is None),
            self.refunded + is_refunded,
        )

    def describe(self) -> str:
        """Return it as one sentence."""
        if not self.jobs:
            return "This task has paid for no job so far."
        jobs = "1 job" if self.jobs == 1 else f"{self.jobs:,} jobs"
        refunded = (
            ""
            if not self.refunded
            else ", which was refunded"
            if self.jobs == 1
            else (f", of which {self.refunded:,} {'was' if self.refunded == 1 else 'were'} refunded")
        )
        stays = "stays" if self.credits == 1 else "stay"
        unknown = f", and what {self.unpriced:,} of them cost is not known" if self.unpriced else ""
        credits = f"{describe_credits(self.credits)} {stays} charged"
        return f"This task has paid for {jobs} so far{refunded}; {credits}{unknown}."


def resolve(names: Iterable[StepName]) -> ItemState:
    """Return the state of an item.

    :param names: of all its files, in any order.
    """
    steps = _by_number(names)
    taken = {number: _status_of(found) for number, found in steps.items()}
    taken = {number: status for number, status in taken.items() if status is not None}
    last = max(taken, default=0)
    number = max((number for number, status in taken.items() if status != "new"), default=0)
    instructions = [name for name in steps.get(number, ()) if name.step in ("adopt", "regenerate")]
    if number == 0:
        return ItemState(last=last, instructions=_read_instructions(instructions, ""))
    found = steps[number]
    job_ids = _job_ids(found)
    job_id = job_ids[0] if len(job_ids) == 1 else None
    job = next((name for name in found if name.step == "job"), None)
    failures = [name for name in found if name.step == "failed"]
    return ItemState(
        status=taken[number] or "new",
        number=number,
        last=last,
        job_id=job_id,
        credits=_credits_of(found) if job_id else None,
        owner=intern(job.owner) if job else "",
        submitted_at=job.submitted_at if job else None,
        fingerprint=job.fingerprint if job else "",
        retryable=bool(failures) and all(name.retryable for name in failures),
        refunded=bool(failures) and all(name.refunded for name in failures),
        conflicting=tuple(job_ids) if len(job_ids) > 1 else (),
        instructions=_read_instructions(instructions, job_id or ""),
        price=job.credits if job else None,
    )


def charges_of(names: Iterable[StepName]) -> list[Charged]:
    """Return what the jobs of an item were charged, each job once, also those that no longer count."""
    found: dict[str, Charged] = {}
    for steps in _by_number(names).values():
        job_ids = _job_ids(steps)
        for job_id in job_ids:
            job = next((name for name in steps if name.step == "job" and name.job_id == job_id), None)
            own = [name for name in steps if name.job_id == job_id]
            before = found.get(job_id, Charged("", None))
            credits = _credits_of(own)
            found[job_id] = Charged(
                before.owner or (job.owner if job else ""),
                before.credits if credits is None else credits,
                before.is_refunded or any(name.step == "failed" and name.refunded for name in own),
            )
    return list(found.values())


def is_torn(names: Sequence[StepName]) -> bool:
    """Whether a listing may have missed what was written while it ran, and has to be made again.

    A listing is no snapshot: it may show a file and not another one that was written before. That matters for a job
    that ended whose own file is not shown; and for a number that is void, where an intent that is not shown would
    count: a listing that begins after ``void`` was seen shows every intent that may be sent.
    """
    for found in _by_number(names).values():
        with_job = {name.job_id for name in found if name.step == "job"}
        if any(name.job_id and name.job_id not in with_job for name in found if name.step in ("done", "failed")):
            return True
        steps = {name.step for name in found}
        if "void" in steps and "intent" not in steps:
            return True
    return False


def conflict_error(key: str, state: ItemState) -> RecordError:
    """Return the error of an item for which two different jobs are recorded.

    :param state: with the ids of both.
    """
    error = RecordError(
        f"Two different jobs are recorded for one paid request of item {key!r}: {' and '.join(state.conflicting)}. "
        "Both may have been charged; nothing more is sent for it.",
        charge=Charge.KEPT,
        next_step="See both at https://magichour.ai/my-library, and resume the one that is wanted.",
    )
    error.retryable = False
    return error


def _by_number(names: Iterable[StepName]) -> dict[int, list[StepName]]:
    steps: dict[int, list[StepName]] = defaultdict(list)
    for name in names:
        steps[name.number].append(name)
    return steps


def _status_of(found: Sequence[StepName]) -> Status | None:
    """Return what a number has come to; ``new``: it was withdrawn; None: it was never declared."""
    steps = {name.step for name in found}
    if len(_job_ids(found)) > 1:
        return "conflict"
    for status in _STRENGTH:
        if status in steps:
            return status
    intents = {name.nonce for name in found if name.step == "intent"}
    withdrawn = {name.nonce for name in found if name.step == "withdrawn"}
    if (withdrawn and not intents - withdrawn) or ("void" in steps and not intents):
        return "new"
    if "unknown" in steps:
        return "unknown"
    return "intent" if intents else None


def _job_ids(found: Iterable[StepName]) -> list[str]:
    return sorted({name.job_id for name in found if name.job_id and name.step in _STRENGTH})


def _credits_of(found: Sequence[StepName]) -> int | None:
    for step in _STRENGTH:
        known = [name for name in found if name.step == step]
        if step == "failed" and known and all(name.refunded and name.credits is None for name in known):
            return 0
        if credits := [name.credits for name in known if name.credits is not None]:
            return max(credits)
    return None


def _read_instructions(names: Iterable[StepName], job_id: str) -> tuple[Instruction, ...]:
    """Return what is asked for in the place of this job; what was for another one is void."""
    found = {
        (name.step, name.job_id): Instruction(
            "adopt" if name.step == "adopt" else "regenerate", name.job_id or None, name.replaced or None
        )
        for name in names
        if name.replaced == job_id
    }
    return tuple(found[which] for which in sorted(found))
