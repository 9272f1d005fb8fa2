"""The commands' names and arguments: on Airflow's command line, by themselves, and what loading them costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pkgutil import resolve_name

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from magic_hour_provider.__main__ import make_parser
from magic_hour_provider.cli.definition import get_magic_hour_cli_commands
from magic_hour_provider.get_provider_info import get_provider_info

COMMANDS = ["account", "job", "record", "adopt", "regenerate", "doctor"]
TASK = ["teaser", "manual__1", "make"]


def test_the_provider_key():
    """Airflow finds the commands by the provider information."""
    (name,) = get_provider_info()["cli"]
    module, _, function = name.rpartition(".")
    (group,) = resolve_name(f"{module}:{function}")()
    assert group.name == "magic-hour"
    assert [command.name for command in group.subcommands] == COMMANDS


def test_loading_the_commands_loads_nothing_else():
    """Every ``airflow`` command loads the definition: that adds no module but its own to what Airflow has loaded."""
    script = """
import sys
import airflow.cli.cli_config
before = set(sys.modules)
from magic_hour_provider.cli.definition import get_magic_hour_cli_commands
get_magic_hour_cli_commands()
print("new:", *sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    (new,) = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("new:")]
    package = ["magic_hour_provider"] if "magic_hour_provider" in new else []  # a plugin may have been loaded before
    assert new == [*package, "magic_hour_provider.cli", "magic_hour_provider.cli.definition"]


def test_every_command_exists():
    """What is loaded only when a command is run is there."""
    (group,) = get_magic_hour_cli_commands()
    names = {command.name: command.func.__name__ for command in group.subcommands}
    assert names == {
        "account": "show_account",
        "job": "show_job",
        "record": "show_record",
        "adopt": "magic_hour_adopt",
        "regenerate": "magic_hour_regenerate",
        "doctor": "run_checks",
    }
    for module, name in {
        "account": "show_account",
        "job": "show_job",
        "record": "show_record",
        "recovery": "magic_hour_adopt",
        "doctor": "run_checks",
    }.items():
        assert callable(resolve_name(f"magic_hour_provider.cli.{module}:{name}"))


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (["account"], {"conn_id": "magic_hour_default", "output": "table"}),
        (["job", "image/abc", "--conn-id", "other", "-o", "json"], {"conn_id": "other", "output": "json"}),
        (["record", *TASK], {"dag_id": "teaser", "run_id": "manual__1", "task_id": "make", "map_index": -1}),
        (["adopt", *TASK, "abc", "--map-index", "3", "--yes"], {"job": "abc", "map_index": 3, "yes": True}),
        (["adopt", *TASK, "abc", "--yes-other-tag", "ABCD2345"], {"yes_other_tag": "ABCD2345", "yes": False}),
        (["regenerate", *TASK, "-y"], {"task_id": "make", "yes": True, "item": None}),
        (["adopt", *TASK, "abc", "--item", "Red shoe"], {"job": "abc", "item": "Red shoe"}),
        (["doctor", "--output", "yaml"], {"output": "yaml", "verbose": False}),
    ],
)
def test_arguments(line, wanted):
    """Each command takes what its help says, on Airflow's command line and by itself."""
    read: list[Namespace] = [make_parser().parse_args(line)]
    if AIRFLOW_V_3_2_PLUS:
        from airflow.cli.cli_parser import get_parser

        read.append(get_parser().parse_args(["magic-hour", *line]))
    for options in read:
        assert {name: getattr(options, name) for name in wanted} == wanted
        assert callable(options.func)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help(command, capsys):
    """The help is text that argparse can print, and names no private machine or secret."""
    parsers = [(make_parser(), command)]
    if AIRFLOW_V_3_2_PLUS:
        from airflow.cli.cli_parser import get_parser

        parsers.append((get_parser(), ["magic-hour", *command]))
    for parser, line in parsers:
        with pytest.raises(SystemExit) as end:
            parser.parse_args([*line, "--help"])
        assert end.value.code == 0
        text = " ".join(capsys.readouterr().out.split())
        (group,) = get_magic_hour_cli_commands()
        commands = {one.name: one for one in group.subcommands}
        wanted = commands[command[0]].description if command else group.description
        assert wanted.partition(".")[0] in text


def test_as_processes(connected):
    """``python -m magic_hour_provider`` and ``airflow magic-hour`` print the same, with nothing else on stdout."""
    ways = [[sys.executable, "-m", "magic_hour_provider"]]
    if AIRFLOW_V_3_2_PLUS:
        ways.append([sys.executable, "-m", "airflow", "magic-hour"])
    for way in ways:
        done = subprocess.run(
            [*way, "account", "--output", "json"], capture_output=True, text=True, check=True, env=dict(os.environ)
        )
        (account,) = json.loads(done.stdout)
        assert (account["plan"], account["credits"]) == ("creator", 100_000)


def test_a_failure_of_the_process(monkeypatch):
    """A failure is a sentence on stderr and exit code 1: no traceback, and nothing on stdout."""
    monkeypatch.delenv("MAGIC_HOUR_API_KEY", raising=False)
    command = [sys.executable, "-m", "magic_hour_provider", "account", "--conn-id", "nowhere", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "There is no Airflow connection 'nowhere'" in done.stderr
    assert "No job was created and nothing was charged." in done.stderr
    assert "Traceback" not in done.stderr
