"""``record``: what a task instance has paid for."""

from __future__ import annotations

from argparse import Namespace

from magic_hour_provider.cli.command import as_command, print_details
from magic_hour_provider.cli.situations import describe_situation, find_task_key
from magic_hour_provider.plugin.recovery.situation import load_situation


@as_command
def show_record(args: Namespace) -> None:
    """Print the record of a task instance."""
    print_details(describe_situation(load_situation(find_task_key(args))), args.output)
