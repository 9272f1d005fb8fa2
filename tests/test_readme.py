"""What the README shows is true."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from importlib.metadata import entry_points
from pathlib import Path

from magic_hour_provider import DEFAULT_CONN_ID, pytest_plugin
from magic_hour_provider.__main__ import make_parser
from magic_hour_provider.batch.rows.items import read_items
from magic_hour_provider.get_provider_info import get_provider_info
from magic_hour_provider.operators.batch import MagicHourBatchOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.simulator.__main__ import _parser
from magic_hour_provider.simulator.faults.catalog import FAULTS, WEBHOOK

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
    assert set(re.findall(r"(?:^|`)make (\w[\w-]*)", TEXT, re.M)) <= targets


def test_the_command_line_is_documented():
    """The README shows each command with what it takes, and every option that it names exists."""
    section = TEXT.split("On the command line")[1].split("By hand")[0]
    shown = re.findall(r"^airflow magic-hour (\w+) ?(.*?) +#", section, re.M)
    (commands,) = make_parser()._subparsers._group_actions
    assert sorted(name for name, _ in shown) == sorted(commands.choices)
    for name, arguments in shown:
        commands.choices[name].parse_args(arguments.split())
    helps = {name: parser.format_help() for name, parser in commands.choices.items()}
    for option in re.findall(r"--[a-z-]+", section):
        assert any(option in text for text in helps.values()), option


def test_the_parameters_are_the_operators():
    """The table names every parameter of the operator with its default, and no other."""
    table = TEXT.split("| Parameter | Default | Meaning |")[1].split("\n\n")[0]
    named = set(re.findall(r"^\| `(\w+)` \|", table, re.M))
    own = set(MagicHourOperator.__init__.__wrapped__.__kwdefaults__) - {"tool", "request"}
    assert named == own


def test_the_campaign_is_one(tmp_path):
    """Its example loads, and the rows beside it are two items that the tool takes; each option is named."""
    section = TEXT.split("## Campaigns\n")[1].split("\n## ")[0]
    names: dict = {}
    exec(compile(re.findall(r"```python\n(.*?)```", section, re.S)[0], "README.md", "exec"), names)
    made = names["campaign"]
    assert isinstance(made, MagicHourBatchOperator)
    file = tmp_path / "campaign.csv"
    file.write_text(re.findall(r"```csv\n(.*?)```", section, re.S)[0])
    shared = {"request": made.request, "item_id": made.item_id}
    with read_items(made.tool, str(file), **shared, conn_id="", host="", is_first=False) as items:
        bodies = {item.item_id: items.prepare(item).body for item in items}
    photos = ["s3://aws_default@media/shoe-1.jpg", "s3://aws_default@media/shoe-2.jpg"]
    assert [body["assets"]["image_file_paths"] for body in bodies.values()] == [[photo] for photo in photos]
    assert [body["style"]["prompt"] for body in bodies.values()] == ["On a beach at sunset", "In the snow"]
    table = section.split("| Parameter | Default | Meaning |")[1].split("\n\n")[0]
    named = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.M))
    own = MagicHourBatchOperator.__init__.__wrapped__.__kwdefaults__
    assert named.keys() == own.keys()
    for name, default in own.items():
        assert default is None or named[name].strip('`"') == str(default), name


def test_the_settings_are_documented():
    """The table of settings is that of the provider info."""
    table = TEXT.split("| `[magic_hour]` | Default | Meaning |")[1].split("\n\n")[0]
    options = get_provider_info()["config"]["magic_hour"]["options"]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(options)


def test_the_defaults_are_the_codes():
    """What the code takes where Airflow knows no default is the default that is described."""
    options = get_provider_info()["config"]["magic_hour"]["options"]
    read = defaultdict(set)
    for path in (ROOT / "provider").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("conf.get")):
                continue
            if len(node.args) > 1 and ast.literal_eval(node.args[0]) == "magic_hour":
                (fallback,) = (one.value for one in node.keywords if one.arg == "fallback")
                if isinstance(fallback, ast.Constant):
                    read[ast.literal_eval(node.args[1])].add(fallback.value)
                else:
                    assert ast.unparse(fallback) == "DEFAULT_CONN_ID"
                    read[ast.literal_eval(node.args[1])].add(DEFAULT_CONN_ID)
    assert read.keys() == options.keys()
    for name, (default,) in read.items():
        assert type(default)(options[name]["default"]) == default, name


def test_the_examples_are_listed():
    """The table of examples names every DAG file there is, and no other."""
    table = TEXT.split("| DAG | Shows |")[1].split("\n\n")[0]
    listed = re.findall(r"^\| \[`\w+`\]\(dags_examples/(\w+)\.py\) \|", table, re.M)
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "dags_examples").glob("*.py"))


def test_the_example_test_is_a_test_of_ours():
    """The test that the README shows is, to the letter, the one that our own suite runs."""
    assert f"```python\n{(ROOT / 'tests' / 'examples' / 'test_product_teaser.py').read_text()}```\n" in TEXT


def test_the_options_of_the_simulator_are_documented():
    """The README names every option of the marker ``magic_hour`` and every fault of webhooks; what it names exists."""
    section = TEXT.split("## The simulator\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`(\w+)(?:=\w+)?`", section.split("Options are given by")[1]))
    assert named == {*pytest_plugin._OPTIONS, pytest_plugin._INI_SPEED}
    for option in re.findall(r"--[a-z-]+", section):
        assert option in _parser("key").format_help()
    of_webhooks = {name for name, kind in FAULTS.items() if WEBHOOK in kind.endpoints}
    assert of_webhooks <= set(re.findall(r"`([a-z-]+)`", section))
    scripts = {one.name for one in entry_points(group="console_scripts")}
    assert "magic-hour-simulator" in section
    assert "magic-hour-simulator" in scripts
