"""The record of one paid job, or of the intent to pay for one: its fields, and how stores keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from magic_hour_provider.api.errors import Charge, InvalidInputError, MagicHourError
from magic_hour_provider.api.models import library_url

KEY = "magic_hour.job"
ADOPT = "magic_hour.adopt"
REGENERATE = "magic_hour.regenerate"

State = Literal["intent", "submitted", "delivered", "failed", "ended"]

_HISTORY = 20  # ended records kept
_STORED_NAMES = {"tag": "key"}  # fields that stores know by another name


class RecordError(MagicHourError):
    """The record cannot be read or written now, so nothing is paid; a retry may find the storage back."""

    charge = Charge.NONE
    retryable = True


NOT_KEPT = (
    "Nothing keeps a record of what this task pays for ([magic_hour] ledger_path does, and so does Airflow 3.3), so "
    "any other attempt, after a clear too, pays for a new job."
)
"""What holds where a task has no place for its record."""


def describe_download(job_id: str | None) -> str:
    """Say how to get the files of a job of which there is no record, as a whole sentence.

    :param job_id: the job; None: it is not known.
    """
    if job_id is None:
        return "Its files come with MagicHourDownloadOperator(job='...'), which takes its id and pays nothing."
    return f"The files of this job come with MagicHourDownloadOperator(job={job_id!r}), which pays nothing."


def describe_task_state(key: str) -> str:
    """Name a key's place in Airflow's task state store for a person."""
    return f"this task's state {key!r}"


def unreadable_error(where: str, why: object) -> InvalidInputError:
    """Return the error of a place that holds something else than it should.

    :param where: the place, for a person.
    """
    return InvalidInputError(
        f"{where[:1].upper()}{where[1:]}, which says what this task has paid for, cannot be read: {why}. Nothing was "
        "sent, as that might pay twice.",
        next_step=f"See what is there; if the job it names is not wanted, delete it, put true into {REGENERATE!r} "
        "beside it, and clear the task.",
    )


def overtaken_error(where: str, *, is_claim: bool = False) -> RecordError:
    """Return the error of an attempt that another one has overtaken: it sends nothing.

    :param where: the place that the other one wrote, for a person.
    :param is_claim: whether that is only there while the other one writes the record.
    """
    return RecordError(
        f"While this attempt was on its way, another one wrote {where}, which says what this task has paid for.",
        next_step="A retry resumes from the record."
        + (" If no other attempt is running, remove that file: its attempt ended before it sent anything." * is_claim),
    )


@dataclass(frozen=True)
class RunCredits:
    """What a task instance has paid in its DAG run, over all its attempts.

    :param paid: credits that it was charged and not refunded.
    :param reserved: credits of requests that may have been sent, and of which it is not known whether they were paid.
    :param is_known: whether that is all; False: there is a job or a request of which nobody knows what it costs.
    """

    paid: int = 0
    reserved: int = 0
    is_known: bool = True

    def __add__(self, other: RunCredits) -> RunCredits:
        """Return the sum of both."""
        return RunCredits(self.paid + other.paid, self.reserved + other.reserved, self.is_known and other.is_known)


@dataclass(frozen=True)
class Record:
    """One paid job of one task instance, or the intent to pay for one.

    :param state: ``intent``: the request may have been sent; ``submitted``: paid, id known; ``delivered``: its files
        are stored; ``failed``: ended, and another try may pay for a new job; ``ended``: ended for good, only a clear
        may pay again.
    :param tag: what ends the job's name.
    :param fingerprint: SHA-256 of each request field; the request itself is not stored. See :mod:`.fingerprint`.
    :param conn_id: the connection; None in records of older versions.
    :param balance: credits before the request, if known.
    :param estimate: what it was estimated to cost before it was paid for: ``{"credits", "basis"}``; it is what stays
        reserved while nobody knows whether it was paid.
    :param files: what was stored: ``{"uri", "size", "sha256"}`` each.
    :param reason: the sentence of a failure.
    :param history: ended records, oldest first, shortened.
    """

    state: State
    tool: str
    kind: str
    tag: str
    fingerprint: dict[str, str]
    extra_tries: int = 0
    clear_number: int = 0
    max_tries: int = 0
    clear_counter: str = "run"
    written_at: str = ""
    name: str | None = None
    conn_id: str | None = None
    balance: int | None = None
    job_id: str | None = None
    submitted_at: float | None = None
    credits_charged: int | None = None
    estimate: dict[str, Any] | None = None
    files: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    version: int = 1

    @classmethod
    def read(cls, value: Any, where: str = describe_task_state(KEY)) -> Record:
        """Read what a store holds.

        :param where: its place, for a person.
        :raises InvalidInputError: it cannot be read; that is an error, never "no record".
        """
        try:
            stored = {name: _STORED_NAMES.get(name, name) for name in cls.__dataclass_fields__}
            record = cls(**{name: value[key] for name, key in stored.items() if key in value})
            if record.version != 1 or record.state not in get_args(State):
                raise ValueError(f"version {record.version}, state {record.state!r}")
        except (TypeError, ValueError) as error:
            raise unreadable_error(where, error) from None
        return record

    def to_json(self) -> dict[str, Any]:
        """Return what a store holds of it; :meth:`read` reads it back."""
        return {_STORED_NAMES.get(name, name): value for name, value in asdict(self).items()}

    def past(self) -> list[dict[str, Any]]:
        """Return the history with this record at its end."""
        names = ("state", "tool", "key", "job_id", "written_at", "credits_charged", "estimate", "reason")
        stored = self.to_json()
        brief = {name: stored[name] for name in names}
        entries = [*self.history, {name: value for name, value in brief.items() if value is not None}]
        left_out, kept = entries[:-_HISTORY], entries[-_HISTORY:]
        if left_out:  # their credits stay
            total = sum(map(_count_credits, left_out), RunCredits())
            kept[0] = {**kept[0], "earlier": asdict(total)}
        return kept

    def count_run_credits(self) -> RunCredits:
        """Return what the task instance has paid in its run, this job and those of the history together."""
        return sum(map(_count_credits, self.history), _count_credits(self.to_json()))

    def settle(self, charges: Mapping[str, int]) -> Record:
        """Return the record with what is known of its job since it was written.

        :param charges: what jobs were charged, in credits, by their ids: their triggers have ended their tasks as they
            were complete and nothing was to be stored, and could not say so here.
        """
        charged = charges.get(self.job_id or "")
        if self.state != "submitted" or charged is None:
            return self
        return replace(self, state="delivered", credits_charged=charged)

    def is_of_same_job(self, other: Record) -> bool:
        """Whether both are of one job, or one is the intent of the other."""
        if self.job_id is not None and other.job_id is not None:
            return self.job_id == other.job_id
        return bool(self.tag) and self.tag == other.tag

    def supersedes(self, other: Record) -> bool:
        """Whether the other one is in this one's history."""
        return any(
            past.get("job_id") == other.job_id if other.job_id is not None else past.get("key") == other.tag
            for past in self.history
        )

    @property
    def is_refunded(self) -> bool:
        """Whether its job has failed and was refunded."""
        ended = self.state == "ended" and Charge.REFUNDED.sentence in (self.reason or "")
        return self.state == "failed" or ended

    @property
    def page(self) -> str | None:
        """The job's page in the web library."""
        return library_url(self.kind, self.job_id) if self.job_id else None


def _count_credits(entry: Mapping[str, Any]) -> RunCredits:
    """Return what one job of a record has cost, as a store or a history keeps it."""
    state, reason, charged = entry.get("state"), str(entry.get("reason") or ""), entry.get("credits_charged")
    earlier = RunCredits(**entry["earlier"]) if "earlier" in entry else RunCredits()
    if state == "failed" or (state == "ended" and Charge.REFUNDED.sentence in reason):
        return earlier
    expected = (entry.get("estimate") or {}).get("credits")
    if state == "intent":
        return earlier + RunCredits(reserved=expected or 0, is_known=expected is not None)
    if state == "submitted" and charged is not None and expected is not None and charged < 1 <= expected:
        return earlier + RunCredits(reserved=expected)  # that it costs nothing is believed once it has settled
    known = charged if charged is not None else expected
    return earlier + RunCredits(paid=max(0, known or 0), is_known=known is not None)
