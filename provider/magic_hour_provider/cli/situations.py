"""What is known of a task instance, in words."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from airflow.providers.common.compat.sdk import AirflowConfigException, conf

from magic_hour_provider.api.models import library_url
from magic_hour_provider.ledger.instruction import Instruction, name_record
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.plugin.recovery.inspection import PlaceContents
from magic_hour_provider.plugin.recovery.situation import Situation, TaskKey
from magic_hour_provider.times import format_time

_UNLESS = "after a clear too, unless its request was changed or on_clear is 'regenerate': that pays for a new job"


def find_task_key(args: Namespace) -> TaskKey:
    """Return the task instance that a command line names."""
    return TaskKey(args.dag_id, args.run_id, args.task_id, args.map_index)


def describe_situation(situation: Situation, contents: Sequence[PlaceContents]) -> dict[str, Any]:
    """Return what is known of a task instance, by property.

    :param contents: of its places.
    """
    record, named = situation.record, next(iter(situation.reported_jobs), None)
    return {
        "task": str(situation.key),
        "state": situation.state,
        "recorded": describe_paid(situation),
        "record_state": record.state if record else None if situation.is_known else "unknown",
        "tool": situation.tool,
        "job": record.job_id if record else named,
        "tag": (record.tag or None) if record else next(iter(situation.tags), None),
        "name": record.name if record else None,
        "connection": situation.conn_id,
        "credits_charged": record.credits_charged if record else None,
        "intent_written_at": record.written_at if record else None,
        "submitted_at": _as_time(record.submitted_at) if record else None,
        "files": [str(file.get("uri")) for file in record.files] if record else [],
        "library_url": record.page if record else library_url(situation.kind or "", named) if named else None,
        "places": [f"{one.location}: {_name(one)}" for one in contents],
        "instructions": list(
            dict.fromkeys(_describe(one, situation) for place in contents for one in place.instructions)
        ),
        "problems": [problem for place in contents for problem in place.problems],
        "next_attempt": describe_next_attempt(situation, contents),
        "instruction_refused": situation.refusal,
    }


def describe_paid(situation: Situation) -> str:
    """Say in a few words what is recorded."""
    record = situation.record
    if record is None:
        evidence = _describe_evidence(situation)
        if not situation.is_known:
            return "it cannot be known here" + (f", but {evidence}" if evidence else "")
        return f"nothing, although {evidence}" if evidence else "nothing is paid for"
    if record.job_id is None:
        return f"the paid request #{record.tag}, whose response is not known"
    words = {
        "submitted": "paid for",
        "delivered": "finished, and its files are stored" if record.files else "finished",
        "failed": "failed and refunded",
        "ended": "ended for good",
    }
    return f"job {record.job_id}: {words.get(record.state, record.state)}"


def _describe_evidence(situation: Situation) -> str:
    """Say what shows, without a record, that something may be paid for; empty: nothing does."""
    if situation.reported_jobs:
        return f"the task has reported job {', '.join(situation.reported_jobs)}"
    if situation.is_lost:
        return f"a paid request was declared{''.join(f', #{tag}' for tag in situation.tags)}"
    return ""


def _name(place: PlaceContents) -> str:
    if place.record is None:
        return "cannot be read" if place.problems else "nothing"
    return f"{place.record.state}, {name_record(place.record)}"


def _describe(instruction: Instruction, situation: Situation) -> str:
    what = f"adopt job {instruction.job}" if instruction.action == "adopt" else "make a new job"
    given_for = "" if instruction.replaces is None else f" in the place of {instruction.replaces}"
    return f"{what}{given_for}" + ("" if instruction.counts_for(situation.record) else " (void: the record is another)")


def describe_next_attempt(situation: Situation, contents: Sequence[PlaceContents]) -> str:
    """Say in a sentence, which begins with "It", what the task's next attempt does, and whether it pays.

    :param contents: of its places.
    """
    waiting = [one for place in contents for one in place.instructions if one.counts_for(situation.record)]
    if waiting:
        return _follow(waiting)
    return _resume(situation.record) if situation.record is not None else _begin(situation)


def _follow(instructions: Sequence[Instruction]) -> str:
    adopted = {one.job for one in instructions if one.action == "adopt"}
    if len(adopted) > 1:
        return "It fails and pays nothing, as the instructions name different jobs."
    if adopted:
        return f"It resumes job {adopted.pop()} and pays nothing, as an instruction asks for that."
    return "It makes and pays for a new job, as an instruction asks for that."


def _begin(situation: Situation) -> str:
    if not situation.is_known:
        return (
            "It cannot be known here whether it pays. Where its worker finds the record of a paid job, it resumes that "
            f"job and pays nothing; {_UNLESS}. Where it finds none, it submits a job and pays for it."
        )
    if situation.reported_jobs and not _has_discarded_record(situation):
        jobs = ", ".join(situation.reported_jobs)
        return (
            f"It fails and pays nothing, as the task has reported job {jobs} and there is no record of it. Adopt that "
            "job, or regenerate."
        )
    if situation.is_lost:
        return "It fails and pays nothing: it is not known whether a job was made. Adopt that job, or regenerate."
    return "It submits a job and pays for it."


def _has_discarded_record(situation: Situation) -> bool:
    """Whether the record went with the task's success, as a setting says."""
    with suppress(AirflowConfigException, ValueError):  # a setting that cannot be read, with which no task pays
        return situation.has_result and conf.getboolean("state_store", "clear_on_success", fallback=False)
    return False


def _resume(record: Record) -> str:
    if record.job_id is None:
        return (
            "It fails and pays nothing, as it is not known whether a job was made; unless a webhook has identified the "
            "job by then, or the task says on_unknown_submission='resubmit'. Adopt that job, or regenerate."
        )
    if record.state == "failed":
        return "It makes and pays for one new job, as the recorded one failed and was refunded."
    if record.state == "ended":
        return "It fails again and pays nothing if it is a retry; after a clear it makes and pays for a new job."
    if record.state == "delivered":
        return f"It returns the result of job {record.job_id} and pays nothing; {_UNLESS}."
    return f"It resumes job {record.job_id} and pays nothing; {_UNLESS}."


def _as_time(seconds: float | None) -> str | None:
    return None if seconds is None else format_time(seconds)
