"""What all commands share: how they are run, how they fail, and how they print."""

from __future__ import annotations

import functools
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from airflow.cli.simple_table import AirflowConsole
from airflow.utils.cli import action_cli, suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded
from sqlalchemy.exc import SQLAlchemyError

from magic_hour_provider.airflow_internals import MissingInternalError
from magic_hour_provider.api.errors import Charge, MagicHourError
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.plugin.recovery.errors import RecoveryError

Command = Callable[[Namespace], None]

_PROCESS = "_AIRFLOW_PROCESS_CONTEXT"


def as_command(function: Command) -> Command:
    """Run a function as Airflow runs its own commands: logs only with ``--verbose``, failures as one sentence."""

    @functools.wraps(function)
    def run(args: Namespace) -> None:
        try:
            with _connections_of_the_server():
                function(args)
        except MagicHourError as error:
            error.charge = error.charge or Charge.NONE
            fail(str(error))
        except (RecoveryError, MissingInternalError) as error:
            fail(str(error))
        except SQLAlchemyError as error:
            fail(
                f"Airflow's database cannot be used ({type(error).__name__}). Nothing was changed or paid. Run this "
                "where Airflow's API server runs, with its settings; airflow db check says more."
            )

    return suppress_logs_and_warning(providers_configuration_loaded(run))


def as_audited_command(function: Command) -> Command:
    """Run a function as :func:`as_command`, with a line in Airflow's audit log: who ran it, where, and how."""
    command: Command = action_cli(check_db=False)(as_command(function))
    return command


@contextmanager
def _connections_of_the_server() -> Iterator[None]:
    """Let the Task SDK find the connections in Airflow's database, as Airflow's own commands do."""
    before = os.environ.get(_PROCESS)
    os.environ[_PROCESS] = "server"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PROCESS]
        else:
            os.environ[_PROCESS] = before


def fail(message: str) -> NoReturn:
    """Print why the command failed, and end with exit code 1."""
    write_note(message)
    sys.exit(1)


def write_note(text: str) -> None:
    """Print something for a person beside the output, which a program may read."""
    print(redact(text), file=sys.stderr)


def ask(question: str, wanted: str | None = None, *, in_advance: str = "--yes") -> bool:
    """Ask a person, beside the output.

    :param wanted: what has to be typed; None: yes or no is asked for.
    :param in_advance: the option that gives the answer without a person.
    :returns: whether the person agrees; where nobody can answer, the command fails.
    """
    print(f"{question} {'' if wanted else '[y/N] '}", end="", file=sys.stderr, flush=True)
    try:
        answer = input().strip().lstrip("#")
    except (EOFError, KeyboardInterrupt):
        print(file=sys.stderr)
        fail(f"Nobody answered, so nothing was changed or paid. {in_advance} answers in advance.")
    return answer == wanted if wanted else answer.lower() in ("y", "yes")


def print_rows(rows: Sequence[Mapping[str, Any]], output: str) -> None:
    """Print rows of the same keys in one of Airflow's formats.

    :param output: ``table``, ``plain``, ``json`` or ``yaml``.
    """
    console: Any = AirflowConsole(markup=False, emoji=False)  # texts have [sections] in them
    # As they are: Airflow's own way to these two makes a text of each number.
    if output == "json":
        console.print_as_json(list(rows))
    elif output == "yaml":
        console.print_as_yaml(list(rows))
    else:
        console.print_as([{key: _in_words(value) for key, value in row.items()} for row in rows], output)


def print_details(details: Mapping[str, Any], output: str) -> None:
    """Print one thing: for people one line for each of its properties."""
    if output in ("table", "plain"):
        print_rows([{"property": name, "value": value} for name, value in details.items()], output)
    else:
        print_rows([details], output)


def _in_words(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "\n".join(map(str, value)) or "-"
    return str(value)
