"""Writes what the reference says of the command line and of the simulator, from their own parsers and catalogs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from docstrings import plain_to_markdown, read_docstring, sentence, to_markdown
from magic_hour_provider.__main__ import make_parser
from magic_hour_provider.simulator.__main__ import _parser
from magic_hour_provider.simulator.behavior import Behavior, allowed_values
from magic_hour_provider.simulator.faults import prompts
from magic_hour_provider.simulator.faults.catalog import FAULTS, Fault
from magic_hour_provider.simulator.server import DEFAULT_API_KEY
from markdown_text import block, code, table


def commands() -> str:
    """Return a section for each command of ``airflow magic-hour``."""
    (group,) = make_parser()._subparsers._group_actions  # type: ignore[union-attr]
    parts = []
    for name, parser in group.choices.items():  # type: ignore[union-attr]
        parts += [f"## {name}", str(parser.description), block("text", _usage(name, parser))]
        parts.append(table(("Argument", "Meaning"), _arguments(parser)))
    return "\n\n".join(parts)


def _usage(name: str, parser: argparse.ArgumentParser) -> str:
    width = argparse.ArgumentParser(prog=f"airflow magic-hour {name}", add_help=False)
    width._actions, width._mutually_exclusive_groups = list(_shown(parser)), parser._mutually_exclusive_groups
    return " ".join(width.format_usage().removeprefix("usage: ").split())


def _shown(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    yield from (one for one in parser._actions if not isinstance(one, argparse._HelpAction))


def _arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in _shown(parser):
        text = (action.help or "") % {"default": action.default, "prog": parser.prog}
        value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
        names = action.option_strings or [str(action.metavar or action.dest)]
        takes = f" {value}" if action.option_strings and action.nargs != 0 else ""
        yield code(", ".join(names) + takes), sentence(plain_to_markdown(" ".join(text.split())))


def simulator_options() -> str:
    """Return the table of the options of ``magic-hour-simulator``."""
    parser = _parser(DEFAULT_API_KEY)
    rows = []
    for names, text in _arguments(parser):
        short = "what it does where Magic Hour's behavior is not established; repeatable: see [below](#behavior)"
        rows.append((names, sentence(short) if "--behavior" in names else text))
    return table(("Option", "Meaning"), rows)


def behaviors() -> str:
    """Return the table of what the simulator can be told to do."""
    said = read_docstring(Behavior).params
    default = Behavior()
    rows = []
    for name, values in allowed_values().items():
        allowed = ", ".join(map(code, values)) if values else "a whole number"
        rows.append((code(name), code(str(getattr(default, name))), allowed, sentence(said[name])))
    return table(("Behavior", "Default", "Values", "Meaning"), rows)


def faults() -> str:
    """Return the table of the faults."""
    rows = [
        (code(name), sentence(kind.does), ", ".join(map(code, kind.endpoints)), ", ".join(map(code, kind.options)))
        for name, kind in FAULTS.items()
    ]
    return table(("Fault", "What the simulator does", "At", "Options of its own"), rows)


def fault_options() -> str:
    """Return the table of the options that faults take."""
    return table(
        ("Option", "Meaning"), ((code(name), sentence(text)) for name, text in read_docstring(Fault).params.items())
    )


def directives() -> str:
    """Return the table of the prompt directives, which their module's docstring has."""
    rows = []
    for line in (prompts.__doc__ or "").splitlines():
        if line.startswith("``[["):
            name, _, does = line.removeprefix("``").partition("``")
            rows.append((code(name), sentence(to_markdown(does.strip()))))
    return table(("In a prompt", "What happens"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "simulator options": simulator_options,
    "behaviors": behaviors,
    "faults": faults,
    "fault options": fault_options,
    "directives": directives,
}
