"""``python -m magic_hour_provider``: the commands of ``airflow magic-hour``, for Airflow 3.1 too."""

from __future__ import annotations

import argparse


def make_parser() -> argparse.ArgumentParser:
    """Return a parser of the commands, without those of Airflow and of other providers."""
    from airflow.cli.cli_config import DefaultHelpParser

    from magic_hour_provider.cli.definition import get_magic_hour_cli_commands

    (group,) = get_magic_hour_cli_commands()
    parser = DefaultHelpParser(prog="python -m magic_hour_provider", description=group.description)
    subparsers = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    for command in group.subcommands:
        own = subparsers.add_parser(
            command.name, help=command.help, description=command.description, epilog=command.epilog
        )
        for argument in command.args:
            argument.add_to_parser(own)
        own.set_defaults(func=command.func)
    return parser


def run_command(arguments: list[str] | None = None) -> None:
    """Run a command.

    :param arguments: the command line without the program's name; None for that of this process.
    """
    options = make_parser().parse_args(arguments)
    options.func(options)


if __name__ == "__main__":
    run_command()
