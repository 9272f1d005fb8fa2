"""Lines of a shell that pages show: whether the programs that they call take what they are given."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from functools import cache
from io import StringIO
from pathlib import Path

from magic_hour_provider.__main__ import make_parser
from magic_hour_provider.simulator.__main__ import _parser

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OWN = PYPROJECT["project"]["name"]
EXTRAS = set(PYPROJECT["project"]["optional-dependencies"])
OTHERS = r"apache-airflow(-providers-[a-z-]+)?|pytest|uv"
PLAIN = {
    "cd",
    "cp",
    "curl",
    "docker",
    "echo",
    "git",
    "helm",
    "kill",
    "kubectl",
    "ls",
    "mkdir",
    "mypy",
    "pytest",
    "read",
}
PLAIN |= {"ruff", "source", "unset", "venv"}
"""Programs whose arguments are not ours to know."""


def find_mistake(line: str) -> str | None:
    """Return what is wrong with a line of a shell; None: nothing."""
    line = re.sub(r" > \S+ 2>&1 &$", "", line)
    if waits_for := re.fullmatch(r"until (.+?)(?: \| grep .+)?; do sleep \d+; done", line):
        return find_mistake(waits_for[1])
    words = shlex.split(re.sub(r"\$\([^)]*\)", "said", line), comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):  # variables for this one command
        words = words[1:]
    if not words:
        return None
    program, *arguments = words
    program = re.sub(r"^python3(\.\d+)?$", "python", program.removeprefix(".venv/bin/"))
    if program == "export":
        wrong = [one for one in arguments if not re.match(r"[A-Z_]+=", one)]
        return f"export takes NAME=value, not {wrong}" if wrong else _check_variables(arguments)
    if program == "python" and arguments[:1] == ["-m"]:
        module, arguments = arguments[1], arguments[2:]
        program = f"python -m {module}" if module == "magic_hour_provider" else module
    elif program == "python":
        return None if (ROOT / arguments[0]).is_file() else f"there is no {arguments[0]}"
    for separator in ("&&", "|", ";"):
        if separator in arguments:
            return "one command a line, please"
    check = _CHECKS.get(program)
    if check is None:
        return None if program in PLAIN else f"{program} is not known to this test"
    return check(arguments)


def _check_variables(assignments: list[str]) -> str | None:
    from magic_hour_provider.get_provider_info import get_provider_info

    options = get_provider_info()["config"]["magic_hour"]["options"]
    for one in assignments:
        name = one.partition("=")[0]
        if name.startswith("AIRFLOW__MAGIC_HOUR__") and name.rpartition("__")[2].lower() not in options:
            return f"there is no setting {name}"
    return None


def _check_make(arguments: list[str]) -> str | None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    unknown = [one for one in arguments if "=" not in one and one not in targets]
    return f"make has no {unknown}" if unknown else None


def _check_pip(arguments: list[str]) -> str | None:
    if arguments[:1] != ["install"]:
        return "only pip install is known to this test"
    for one in arguments[1:]:
        if one in ("--upgrade", "-U", "-e", ".") or one.startswith(("-c", "constraints/", ".[", "dist/")):
            continue
        name, _, extras = re.split(r"[=<>~]", one)[0].partition("[")
        known = (
            set(filter(None, extras.rstrip("]").split(","))) <= EXTRAS if name == OWN else re.fullmatch(OTHERS, name)
        )
        if not known:
            return f"nobody installs {one!r} by this project's pages"
    return None


def _check_own(arguments: list[str]) -> str | None:
    return _parse(lambda: make_parser().parse_args(arguments))


def _check_airflow(arguments: list[str]) -> str | None:
    if arguments[:1] == ["magic-hour"]:
        return _check_own(arguments[1:])
    return _parse(lambda: _airflow_parser().parse_args(arguments))


def _check_simulator(arguments: list[str]) -> str | None:
    return _parse(lambda: _parser("key").parse_args(arguments))


@cache
def _airflow_parser():
    from airflow.cli.cli_parser import get_parser

    return get_parser()


def _parse(parse: Callable[[], object]) -> str | None:
    said = StringIO()
    try:
        with redirect_stderr(said):
            parse()
    except SystemExit as end:
        return said.getvalue().strip().splitlines()[-1] if end.code else None
    return None


_CHECKS: dict[str, Callable[[list[str]], str | None]] = {
    "make": _check_make,
    "pip": _check_pip,
    "airflow": _check_airflow,
    "magic-hour-simulator": _check_simulator,
    "python -m magic_hour_provider": _check_own,
}


def commands(code: str) -> Iterator[str]:
    """Yield the commands of a block, those that go over several lines joined."""
    yield from filter(str.strip, re.sub(r"\\\n\s*", "", code).splitlines())
