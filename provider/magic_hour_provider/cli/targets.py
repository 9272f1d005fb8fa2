"""What a command recovers: the job of a task instance, or with ``--item`` that of one item of its batch."""

from __future__ import annotations

from argparse import Namespace
from contextlib import suppress
from functools import cached_property
from typing import Any, Protocol

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.records.content import ItemStep
from magic_hour_provider.batch.records.names import check_key
from magic_hour_provider.batch.records.state import conflict_error
from magic_hour_provider.batch.rows.keys import clean_item_id, make_key
from magic_hour_provider.cli.situations import describe_next_attempt, describe_situation, find_task_key
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.plugin.recovery.batch.item import (
    OTHERS,
    ItemSituation,
    give_item_instruction,
    load_item_situation,
)
from magic_hour_provider.plugin.recovery.errors import RecoveryError
from magic_hour_provider.plugin.recovery.inspection import PlaceContents, load_contents
from magic_hour_provider.plugin.recovery.instruct import give_instruction
from magic_hour_provider.plugin.recovery.situation import Situation, TaskKey, load_situation
from magic_hour_provider.times import format_time

_WITH_CONTENT = ("intent", "unknown", "job", "failed", "done")
_UNLESS = "after a clear too, unless its row was changed and on_changed is 'new': that pays for a new job"


class Target(Protocol):
    """What a command recovers."""

    suffix: str
    """Which item is meant, to be put after "job"; empty: the task has one job."""

    others: str
    """What becomes of the other items, as a sentence; empty: there are none."""

    name: dict[str, Any]
    """The item for a program; empty: the task has one job."""

    @property
    def situation(self) -> Situation:
        """What is known of it."""

    def describe(self) -> dict[str, Any]:
        """Return all that is known of it, by property."""

    def describe_next_attempt(self) -> str:
        """Say in a sentence, which begins with "It", what the task's next attempt does, and whether it pays."""

    def give(self, instruction: Instruction) -> None:
        """Write an instruction and clear the task.

        :raises RecoveryError: it is refused, and nothing has changed.
        """


def find_target(args: Namespace) -> Target:
    """Return what a command line names, as it is now.

    :raises RecoveryError: there is no such thing, or it cannot be read.
    """
    key = find_task_key(args)
    if args.item is None:
        return _TaskTarget(key)
    # An item without an id has a key alone, which is accepted as it is.
    try:
        item_keys = [make_key(clean_item_id(args.item))]
    except ValueError as error:
        raise RecoveryError(f"--item {error}.", 400) from None
    with suppress(InvalidInputError):
        item_keys.append(check_key(args.item.strip()))
    return _ItemTarget(load_item_situation(key, args.item, item_keys))


class _TaskTarget:
    suffix, others = "", ""

    def __init__(self, key: TaskKey) -> None:
        self.situation = load_situation(key)
        self.name: dict[str, Any] = {}

    def describe(self) -> dict[str, Any]:
        return describe_situation(self.situation, self._contents)

    def describe_next_attempt(self) -> str:
        return describe_next_attempt(self.situation, self._contents)

    def give(self, instruction: Instruction) -> None:
        give_instruction(self.situation, instruction)

    @cached_property
    def _contents(self) -> tuple[PlaceContents, ...]:
        return load_contents(self.situation.key)


class _ItemTarget:
    others = OTHERS

    def __init__(self, item: ItemSituation) -> None:
        self._item = item
        self.situation = item.situation
        self.suffix = f" of item {item.item!r}"
        self.name = {"item": item.item, "item_key": item.key}

    def describe(self) -> dict[str, Any]:
        found = describe_situation(self.situation, self._contents)
        history = [_describe_step(step) for step in self._item.steps]
        return {
            "task": found.pop("task"),
            **self.name,
            **found,
            "next_attempt": self.describe_next_attempt(),
            "history": history,
        }

    def describe_next_attempt(self) -> str:
        if self._item.state.instructions and self._item.state.status != "intent":
            return describe_next_attempt(self.situation, self._contents)
        return _describe_next(self._item)

    def give(self, instruction: Instruction) -> None:
        give_item_instruction(self._item, instruction)

    @cached_property
    def _contents(self) -> tuple[PlaceContents, ...]:
        item, problems = self._item, []
        if item.state.status == "conflict":
            problems.append(conflict_error(item.key, item.state).message)
        if unread := [step.name.path for step in item.steps if step.at is None and step.name.step in _WITH_CONTENT]:
            problems.append(f"These files cannot be read, but their names say what matters: {', '.join(unread)}.")
        location = ", ".join(item.situation.record_places)
        return (PlaceContents(location, item.situation.record, item.state.instructions, tuple(problems)),)


def _describe_next(item: ItemSituation) -> str:
    job_id = item.state.job_id
    match item.state.status:
        case "new":
            return "It submits a job for this item and pays for it."
        case "intent":
            return (
                "It waits until the request that may be under way has an outcome, and pays nothing meanwhile. Without "
                "one it pays nothing for this item, unless the task says on_unknown_submission='resubmit', or an "
                "instruction asks for that."
            )
        case "unknown":
            return (
                "It pays nothing for this item, as it is not known whether a job was made; unless the task says "
                "on_unknown_submission='resubmit'. Adopt that job, or regenerate."
            )
        case "conflict":
            return "It pays nothing for this item, as two different jobs are recorded. Adopt the one that is wanted."
        case "job":
            return f"It resumes job {job_id} and pays nothing for this item."
        case "done":
            return f"It keeps the files of job {job_id} and pays nothing for this item; {_UNLESS}."
        case "failed":
            if item.state.retryable:
                return "It makes and pays for one new job of this item, as the recorded one failed."
            return f"It pays nothing for this item, which failed for good; {_UNLESS}."


def _describe_step(step: ItemStep) -> str:
    who = None if step.owner is None else str(step.owner)
    when = None if step.at is None else format_time(step.at)
    return " | ".join(filter(None, (f"{step.name.number} {step.name.step}", when, who, step.note)))
