"""``record``: what a task instance has paid for."""

from __future__ import annotations

from argparse import Namespace

from magic_hour_provider.cli.command import as_command, print_details
from magic_hour_provider.cli.situations import describe_situation, find_task_key
from magic_hour_provider.plugin.recovery.inspection import load_contents
from magic_hour_provider.plugin.recovery.situation import load_situation


@as_command
def show_record(args: Namespace) -> None:
    """Print the record of a task instance."""
    key = find_task_key(args)
    print_details(describe_situation(load_situation(key), load_contents(key)), args.output)
