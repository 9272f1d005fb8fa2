"""``record``: what a task instance, or one item of its batch, has paid for."""

from __future__ import annotations

from argparse import Namespace

from magic_hour_provider.cli.command import as_command, print_details
from magic_hour_provider.cli.targets import find_target


@as_command
def show_record(args: Namespace) -> None:
    """Print the record of a task instance, or of one item of its batch."""
    print_details(find_target(args).describe(), args.output)
