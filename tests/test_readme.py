"""What the README shows is true."""

from __future__ import annotations

import re
from pathlib import Path

import magic_hour_provider
from magic_hour_provider.operators.magic_hour import MagicHourOperator

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def test_the_ten_line_dag_is_a_dag():
    """The first example is ten lines at the most, loads, and chains its two tasks."""
    code = re.findall(r"```python\n(.*?)```", TEXT, re.S)[0].strip()
    assert len(code.splitlines()) <= 10
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["picture"].downstream_task_ids == {"clip"}


def test_the_commands_exist():
    """Every make target that the README names is in the Makefile."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake (\w[\w-]*)", TEXT)) <= targets


def test_the_parameters_are_the_operators():
    """The table names every parameter of the operator with its default, and no other."""
    table = TEXT.split("| Parameter | Default | Meaning |")[1].split("\n\n")[0]
    named = set(re.findall(r"^\| `(\w+)` \|", table, re.M))
    own = set(MagicHourOperator.__init__.__wrapped__.__kwdefaults__) - {"tool", "request"}
    assert named == own


def test_the_settings_are_documented():
    """The table of settings is that of the provider info."""
    table = TEXT.split("| `[magic_hour]` | Default | Meaning |")[1].split("\n\n")[0]
    options = magic_hour_provider.get_provider_info()["config"]["magic_hour"]["options"]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(options)
