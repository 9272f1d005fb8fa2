"""The record of one paid job: its fields, its fingerprint, and what a person is told of it."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from magic_hour_provider.api.errors import Charge, InvalidInputError, MagicHourError, SubmissionUnknownError
from magic_hour_provider.api.models import library_url

KEY = "magic_hour.job"
ADOPT = "magic_hour.adopt"
REGENERATE = "magic_hour.regenerate"
UNREADABLE = "magic-hour:unreadable-file"
"""Stands for a file that cannot be read now: it counts as unchanged."""

State = Literal["intent", "submitted", "delivered", "failed", "ended"]

_HISTORY = 20  # ended records kept
_NAME_LENGTH = 100
_STORED_NAMES = {"tag": "key"}  # fields that stores know by another name


class RecordError(MagicHourError):
    """The record cannot be read or written now, so nothing is paid; a retry may find the storage back."""

    charge = Charge.NONE
    retryable = True


def task_state(key: str) -> str:
    """Name a key's place in Airflow's task state store for a person."""
    return f"this task's state {key!r}"


def unreadable(where: str, why: object) -> InvalidInputError:
    """Return the error of a place that holds something else than it should.

    :param where: the place, for a person.
    """
    return InvalidInputError(
        f"{where[:1].upper()}{where[1:]}, which says what this task has paid for, cannot be read: {why}. Nothing was "
        "sent, as that might pay twice.",
        next_step="See what is there; if the job it names is not wanted, delete it and clear the task.",
    )


@dataclass(frozen=True)
class Record:
    """One paid job of one task instance, or the intent to pay for one.

    :param state: ``intent``: the request may have been sent; ``submitted``: paid, id known; ``delivered``: its files
        are stored; ``failed``: ended, and another try may pay for a new job; ``ended``: ended for good, only a clear
        may pay again.
    :param tag: what ends the job's name.
    :param fingerprint: SHA-256 of each request field; the request itself is not stored.
    :param balance: credits before the request, if known.
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
    written_at: str = ""
    name: str | None = None
    balance: int | None = None
    job_id: str | None = None
    submitted_at: float | None = None
    credits_charged: int | None = None
    files: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    version: int = 1

    @classmethod
    def read(cls, value: Any, where: str = task_state(KEY)) -> Record:
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
            raise unreadable(where, error) from None
        return record

    def to_json(self) -> dict[str, Any]:
        """Return what a store holds of it; :meth:`read` reads it back."""
        return {_STORED_NAMES.get(name, name): value for name, value in asdict(self).items()}

    def past(self) -> list[dict[str, Any]]:
        """Return the history with this record at its end."""
        names = ("state", "tool", "key", "job_id", "written_at", "credits_charged", "reason")
        stored = self.to_json()
        brief = {name: stored[name] for name in names}
        return [*self.history, {name: value for name, value in brief.items() if value is not None}][-_HISTORY:]

    @property
    def page(self) -> str | None:
        """The job's page in the web library."""
        return library_url(self.kind, self.job_id) if self.job_id else None


def fingerprint(request: Mapping[str, Any], **more: str) -> dict[str, str]:
    """Return the SHA-256 of each field of a request, by its dotted path, over canonical JSON.

    :param request: the request, with every input file replaced by what identifies it.
    :param more: further facts that make a request another one, such as the connection.
    """
    prints: dict[str, str] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for name, inner in value.items():
                walk(f"{path}.{name}" if path else str(name), inner)
        else:
            # What is no JSON is refused where it would be paid for; here it only is another value.
            text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=repr)
            unreadable = f'"{UNREADABLE}"' in text
            prints[path] = UNREADABLE if unreadable else hashlib.sha256(text.encode()).hexdigest()

    walk("", request)
    for name, value in more.items():
        walk(f"({name})", value)
    return prints


def changed_fields(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Name the fields that differ; a file that cannot be read, or a request nobody recorded, counts as unchanged."""
    if not before:
        return []
    return sorted(
        name
        for name in before.keys() | now.keys()
        if before.get(name) != now.get(name) and UNREADABLE not in (before.get(name), now.get(name))
    )


def named(record: Record) -> str:
    """Describe the job of a record for a person, by its name."""
    return f"a {record.tool} job named {record.name!r}" if record.name else f"a {record.tool} job without a name"


def unknown_submission(
    record: Record,
    why: str,
    *,
    balance: int | None = None,
    describe_location: Callable[[str], str] = task_state,
    resubmits: bool = False,
    webhook_may_identify: bool = False,
    **more: Any,
) -> SubmissionUnknownError:
    """Return the error of a submission whose outcome is unknown: what is known of it, and what a person can do.

    :param why: what happened, as a whole sentence.
    :param balance: credits now, if known.
    :param describe_location: names a key's place for a person.
    :param resubmits: whether the next attempt sends the request again.
    :param webhook_may_identify: whether a webhook may identify the job before the next attempt.
    :param more: as of :class:`SubmissionUnknownError`.
    """
    message = f"{why} It was for {named(record)}, at {record.written_at} (UTC)."
    if record.balance is not None:
        message += f" The balance before was {record.balance} credits"
        message += f", now it is {balance}." if balance is not None else "."
    then = (
        "As on_unknown_submission is 'resubmit', the next attempt sends the request again, which may pay twice."
        if resubmits
        else "Nothing is sent again by itself; a retry resumes the job if a webhook has identified it by then."
        if webhook_may_identify
        else "Nothing is sent again by itself."
    )
    return SubmissionUnknownError(
        message,
        next_step=f"{then} Look for the job at https://magichour.ai/my-library (tag #{record.tag}). "
        f"If it is there, put its id, in double quotes, into {describe_location(ADOPT)} and clear the task: it resumes "
        f"that job and pays nothing. If it is not there, put true into {describe_location(REGENERATE)} and clear the "
        "task" + ("." if resubmits else ", or set on_unknown_submission='resubmit', which may pay twice."),
        **more,
    )


def new_tag() -> str:
    """Return a tag for a job's name: 8 random base32 characters."""
    return "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(8))


def make_job_name(given: str | None, generated: str, tag: str, tag_job_names: str) -> str | None:
    """Return the job's name: the only thread back to a job whose answer was lost. None leaves it to the service.

    :param given: the user's own name, if any.
    :param tag_job_names: ``all``, ``generated`` (the user's own names stay as they are) or ``none``.
    """
    if tag_job_names == "none" or (given and tag_job_names == "generated"):
        return given
    suffix = f" #{tag}"
    return f"{(given or generated)[: _NAME_LENGTH - len(suffix)]}{suffix}"


def find_tag(name: str | None) -> str | None:
    """Return the tag at the end of a job's name, or None if no task of ours has put one there."""
    found = re.search(r" #([A-Z2-7]{8})\Z", name or "")
    return found[1] if found else None
