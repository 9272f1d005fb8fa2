"""What the commands are called and what they take; what they do is loaded when one is run.

Every ``airflow`` command imports this module, as the provider key ``cli`` asks for. So it imports nothing but what
Airflow has loaded by then.
"""

from __future__ import annotations

from airflow.cli.cli_config import (
    ARG_DAG_ID,
    ARG_MAP_INDEX,
    ARG_OUTPUT,
    ARG_TASK_ID,
    ARG_VERBOSE,
    ARG_YES,
    ActionCommand,
    Arg,
    GroupCommand,
    lazy_load_command,
)

_CONN_ID = Arg(
    ("--conn-id",),
    help="Airflow connection of type Magic Hour (default: %(default)s)",
    default="magic_hour_default",
)
_RUN_ID = Arg(("run_id",), help="The id of the DAG run")
_REFERENCE = Arg(
    ("job",),
    metavar="JOB",
    help="KIND/ID, where KIND is video, image, audio or face-detection; or the job's address in "
    "https://magichour.ai/my-library, in quotes",
)
_JOB = Arg(
    ("job",),
    metavar="JOB",
    help="The job's id, KIND/ID, or its address in https://magichour.ai/my-library, in quotes",
)
_OTHER_TAG = Arg(
    ("--yes-other-tag",),
    metavar="TAG",
    help="Adopt the job although its name carries this tag, which is not this task's. Without it you are asked to type "
    "the tag",
)
_ITEM = Arg(
    ("--item",),
    metavar="ID",
    help="Of a batch: the one item that is meant, by its id; or by its key, which the results name where it has no id",
)
_ITEMS = Arg(
    ("--items",),
    metavar="WHICH",
    choices=("all", "failed"),
    help="Of a batch: all of its items; or with 'failed' all that failed, or of which it is unknown whether a job was "
    "made",
)
_CONFIRM = Arg(
    ("--confirm",),
    metavar="COUNT:PRICE",
    help="With --items, in the place of typing it: how many items are made again and what they cost, as it was shown",
)
_TASK = (ARG_DAG_ID, _RUN_ID, ARG_TASK_ID, ARG_MAP_INDEX)
_COMMON = (ARG_OUTPUT, ARG_VERBOSE)

_COMMANDS = (
    ActionCommand(
        name="account",
        help="Show the account's plan and credits",
        description="Ask Magic Hour for the account behind a connection: its plan and its credits. Costs nothing.",
        func=lazy_load_command("magic_hour_provider.cli.account.show_account"),
        args=(_CONN_ID, *_COMMON),
    ),
    ActionCommand(
        name="job",
        help="Show a job: status, credits, files, page",
        description="Poll one job of the account once: status, name, credits, number of files, and its page in the "
        "library. Costs nothing and changes nothing.",
        epilog="Example: %(prog)s image/clx7uu86w0a5qp55yxz315r6r",
        func=lazy_load_command("magic_hour_provider.cli.job.show_job"),
        args=(_REFERENCE, _CONN_ID, *_COMMON),
    ),
    ActionCommand(
        name="record",
        help="Show what a task instance has paid for",
        description="Show the record of one task instance: the job it has paid for, where that is recorded, which "
        "instructions wait there, and what the task's next attempt would do. Changes nothing.",
        func=lazy_load_command("magic_hour_provider.cli.record.show_record"),
        args=(*_TASK, _ITEM, *_COMMON),
    ),
    ActionCommand(
        name="adopt",
        help="Resume a job that exists, and pay nothing",
        description="Have a task instance resume a job that exists already: the one whose response was lost, or "
        "another one. Magic Hour is asked once whether the job is of the right kind and account, and whether its name "
        "carries this task's tag. Then the task instance is cleared: its next attempt resumes the job and pays "
        "nothing. A task that is running, queued or scheduled is refused.",
        epilog="Example: %(prog)s DAG RUN TASK clx7uu86w0a5qp55yxz315r6r",
        func=lazy_load_command("magic_hour_provider.cli.recovery.magic_hour_adopt"),
        args=(*_TASK[:3], _JOB, ARG_MAP_INDEX, _ITEM, ARG_YES, _OTHER_TAG, *_COMMON),
    ),
    ActionCommand(
        name="regenerate",
        help="Make and pay for a new job",
        description="Have a task instance make a new job, which is paid for whatever its record says. You are shown "
        "what the last job cost and asked first. Then the task instance is cleared. A task that is running, queued or "
        "scheduled is refused. With --items new jobs of many items of a batch are made: you type how many and at what "
        "price.",
        func=lazy_load_command("magic_hour_provider.cli.recovery.magic_hour_regenerate"),
        args=(*_TASK, _ITEM, _ITEMS, _CONFIRM, ARG_YES, *_COMMON),
    ),
    ActionCommand(
        name="doctor",
        help="Check connection, settings, folders and records",
        description="Check what this provider needs: the connection and the plan behind it, webhook secrets, the "
        "folders of the Media tab, where records are kept and whether they outlive a clear, settings and versions. "
        "Each line is ok, a warning or a problem, and a problem says what to do; with one the exit code is 1. Secrets "
        "are never shown. It checks the machine that it runs on: run it where Airflow's API server runs, and on a "
        "worker. Costs nothing and changes nothing.",
        func=lazy_load_command("magic_hour_provider.cli.doctor.run_checks"),
        args=(_CONN_ID, *_COMMON),
    ),
)


def get_magic_hour_cli_commands() -> list[GroupCommand]:
    """Return the commands of ``airflow magic-hour``."""
    return [
        GroupCommand(
            name="magic-hour",
            help="Magic Hour: account, jobs, and recovery of paid jobs",
            description="Account and jobs of Magic Hour, what tasks have paid for, and how to recover a job.",
            subcommands=_COMMANDS,
        )
    ]
