"""``adopt`` and ``regenerate``: a person says which job a task is to have.

Their functions are called as Airflow's audit log is to name the event, after ``cli_``.
"""

from __future__ import annotations

import re
from argparse import Namespace

from magic_hour_provider.api.errors import describe_credits
from magic_hour_provider.api.models import Job
from magic_hour_provider.cli.command import as_audited_command, ask, fail, print_details, write_note
from magic_hour_provider.cli.situations import describe_paid, find_task_key
from magic_hour_provider.cli.targets import Target, find_target
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.plugin.recovery.batch.items import (
    check_confirmation,
    give_items_instruction,
    load_items_to_regenerate,
)
from magic_hour_provider.plugin.recovery.errors import NeedsConfirmationError, RecoveryError
from magic_hour_provider.plugin.recovery.job_check import check_job
from magic_hour_provider.plugin.recovery.situation import Situation

_NOTHING_DONE = "Nothing was changed, and nothing is paid."


@as_audited_command
def magic_hour_adopt(args: Namespace) -> None:
    """Have a task instance resume a job that exists."""
    target = find_target(args)
    situation = _show(target)
    job = _check(situation, args)
    name = f", named {job.name!r}" if job.name else ", without a name"
    write_note(f"Job {job.id} is there: {job.kind}, {job.status}{name}, {describe_credits(job.credits_charged)}.")
    if not args.yes and not ask(f"Clear the task, so that it resumes this job{target.suffix} and pays nothing?"):
        fail(_NOTHING_DONE)
    target.give(Instruction("adopt", job=job.id, replaces=situation.replaces))
    done = f"{situation.key} was cleared. Its next attempt resumes job {job.id}{target.suffix} and pays nothing"
    _print_done(target, args, job.id, done)


@as_audited_command
def magic_hour_regenerate(args: Namespace) -> None:
    """Have a task instance make and pay for a new job, or for new ones of many items of its batch."""
    if args.items is not None:
        _regenerate_items(args)
        return
    if args.confirm is not None:
        fail(f"--confirm belongs to --items. {_NOTHING_DONE}")
    target = find_target(args)
    situation = _show(target)
    paid = situation.record.credits_charged if situation.record is not None else None
    price = "What it will cost is not known" if paid is None else f"The last one cost {describe_credits(paid)}"
    write_note(f"A new job{target.suffix} is made and paid for. {price}.")
    if not args.yes and not ask(f"Clear the task, so that it pays for a new job{target.suffix}?"):
        fail(_NOTHING_DONE)
    target.give(Instruction("regenerate", replaces=situation.replaces))
    done = f"{situation.key} was cleared. Its next attempt makes and pays for a new job{target.suffix}"
    _print_done(target, args, None, done)


def _regenerate_items(args: Namespace) -> None:
    """Have a batch make and pay for new jobs of all of its items, or of all that failed or are unknown.

    :raises RecoveryError: it is refused, and nothing has changed.
    """
    if args.item is not None:
        fail(f"--item names one item and --items many: give one of the two. {_NOTHING_DONE}")
    items = load_items_to_regenerate(find_task_key(args))[args.items]
    if items.situation.refusal is not None:
        raise RecoveryError(items.situation.refusal)
    if not items.count:
        fail(f"No item of this batch is like that. {_NOTHING_DONE}")
    write_note(items.describe())
    wanted = f"{items.count}:{items.price}"
    if args.confirm is not None:
        count, _, price = str(args.confirm).strip().partition(":")
        check_confirmation(items, count=int(count) if re.fullmatch(r"\d{1,9}", count) else -1, price=price)
    elif args.yes:
        fail(f"--yes is not enough here: add --confirm {wanted}. {_NOTHING_DONE}")
    elif not ask(
        f"Clear the task, so that it pays for them? Type number and price, {wanted}:",
        wanted=wanted,
        in_advance=f"--confirm {wanted}",
    ):
        fail(_NOTHING_DONE)
    give_items_instruction(items)
    message = f"{items.situation.key} was cleared. Its next attempt makes and pays for new jobs of {items.count} items."
    if args.output in ("table", "plain"):
        print(message)
    else:
        done = {"task": str(items.situation.key), "items": items.count, "price": items.price, "message": message}
        print_details(done, args.output)


def _show(target: Target) -> Situation:
    """Show the person what is recorded now, and return it where an instruction is possible."""
    situation = target.situation
    if situation.refusal is not None:
        raise RecoveryError(situation.refusal)
    state = f"{situation.key} is {situation.state or 'not scheduled'}"
    write_note(f"{state}. Recorded{target.suffix}: {describe_paid(situation)}.")
    as_things_are = target.describe_next_attempt().removeprefix("It ")
    write_note(f"As things are, its next attempt {as_things_are}")
    return situation


def _check(situation: Situation, args: Namespace) -> Job:
    """Poll the job; a tag in its name that is none of this task's is confirmed by typing it."""
    confirmed = args.yes_other_tag and args.yes_other_tag.lstrip("#")
    try:
        return check_job(situation, args.job, confirmed_tag=confirmed)
    except NeedsConfirmationError as error:
        if args.yes or args.yes_other_tag:
            fail(f"{error} {_NOTHING_DONE} If it is the right job, add --yes-other-tag {error.tag}")
        write_note(str(error))
        in_advance = f"--yes-other-tag {error.tag}"
        if not ask(f"If it is the right job, type its tag, {error.tag}:", wanted=error.tag, in_advance=in_advance):
            fail(_NOTHING_DONE)
        return check_job(situation, args.job, confirmed_tag=error.tag)


def _print_done(target: Target, args: Namespace, job_id: str | None, message: str) -> None:
    """Print what was done.

    :param message: without its full stop.
    """
    message += f". {target.others}" if target.others else "."
    if args.output in ("table", "plain"):
        print(message)
    else:
        situation = target.situation
        done = {"task": str(situation.key), "job": job_id, "replaces": situation.replaces, "message": message}
        print_details(done | target.name, args.output)
