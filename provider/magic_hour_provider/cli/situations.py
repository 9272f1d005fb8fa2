"""What is known of a task instance, in words."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

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
    record = situation.record
    return {
        "task": str(situation.key),
        "state": situation.state,
        "recorded": describe_paid(situation),
        "record_state": record.state if record else None,
        "tool": situation.tool,
        "job": record.job_id if record else None,
        "tag": (record.tag or None) if record else next(iter(situation.tags), None),
        "name": record.name if record else None,
        "connection": situation.conn_id,
        "credits_charged": record.credits_charged if record else None,
        "intent_written_at": record.written_at if record else None,
        "submitted_at": _as_time(record.submitted_at) if record else None,
        "files": [str(file.get("uri")) for file in record.files] if record else [],
        "library_url": record.page if record else None,
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
        if not situation.is_lost:
            return "nothing is paid for"
        return f"nothing, although a paid request was declared{''.join(f', #{tag}' for tag in situation.tags)}"
    if record.job_id is None:
        return f"the paid request #{record.tag}, whose response is not known"
    words = {
        "submitted": "paid for",
        "delivered": "finished, and its files are stored",
        "failed": "failed and refunded",
        "ended": "ended for good",
    }
    return f"job {record.job_id}: {words.get(record.state, record.state)}"


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
    return _follow(waiting) if waiting else _resume(situation.record, is_lost=situation.is_lost)


def _follow(instructions: Sequence[Instruction]) -> str:
    adopted = {one.job for one in instructions if one.action == "adopt"}
    if len(adopted) > 1:
        return "It fails and pays nothing, as the instructions name different jobs."
    if adopted:
        return f"It resumes job {adopted.pop()} and pays nothing, as an instruction asks for that."
    return "It makes and pays for a new job, as an instruction asks for that."


def _resume(record: Record | None, *, is_lost: bool) -> str:
    if record is None:
        if is_lost:
            return "It fails and pays nothing: it is not known whether a job was made. Adopt that job, or regenerate."
        return "It submits a job and pays for it."
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
