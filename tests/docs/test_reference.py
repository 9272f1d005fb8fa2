"""The reference says what the code does: what is written by hand is compared here, and what is made is in step."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import docs_reference
import reference_tables
from helpers.pages import DOCS, Page, pages
from magic_hour_provider import DEFAULT_CONN_ID, pytest_plugin
from magic_hour_provider.__main__ import make_parser
from magic_hour_provider.api.catalog import TOOLS, get_tool
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.prices import estimate
from magic_hour_provider.get_provider_info import get_provider_info
from magic_hour_provider.operators.batch import MagicHourBatchOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.outputs.asset_uris import EVENT_ASSET_URIS
from magic_hour_provider.simulator.faults.catalog import FAULTS
from magic_hour_provider.simulator.faults.prompts import DIRECTIVES
from reference_examples import EXAMPLES

ROOT = DOCS.parent
PACKAGE = ROOT / "provider" / "magic_hour_provider"


def reference(name: str) -> str:
    """Return the text of a page of the reference."""
    return Page(DOCS / "reference" / f"{name}.md").text


def first_column(text: str, heading: str) -> set[str]:
    """Return the words in code in the first column of the first table below a heading."""
    table = re.split(rf"^#+ {re.escape(heading)}\n", text, maxsplit=1, flags=re.M)[1].partition("| --- |")[2]
    rows = table.split("\n\n")[0].splitlines()[1:]
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_pages_are_in_step():
    """What scripts/docs_reference.py makes is what is there, in every page that has a table of it."""
    made = docs_reference.pages()
    assert [str(path) for path, text in made.items() if path.read_text("utf-8") != text] == []
    assert {path.stem for path in docs_reference.TOOLS.glob("*.md")} == {*TOOLS, "index"}


@pytest.mark.parametrize("slug", TOOLS)
def test_the_example_of_a_tool_is_accepted(slug, sim):
    """The request on a tool's page is a job that is paid for once, at the estimate that stands beside it."""
    page, request = reference(f"tools/{slug}"), uploaded(EXAMPLES[slug])
    with MagicHourClient(api_key="mhk_live_testsonly0123456789", base_url=sim.url) as client:
        job = client.create(slug, request)
    assert sim.stats()["creates"]["accepted"] == 1
    credits, basis = estimate(slug, EXAMPLES[slug])
    assert (credits is None) == ("publishes no price for it" in page)
    if credits is not None and get_tool(slug).kind != "face-detection":
        assert (basis, job.credits_charged) == ("published", credits)
        assert credits == 0 or re.search(rf"is {credits} credits?\.", page)


def uploaded(value):
    """Return a request whose files are at a public address, as the simulator has no bucket."""
    if isinstance(value, dict):
        return {name: uploaded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [uploaded(inner) for inner in value]
    return value.replace("s3://aws_default@", "https://files.example/") if isinstance(value, str) else value


@pytest.mark.parametrize(
    "name",
    sorted({name for page in pages() for name in re.findall(r"parameters of ([\w.]+) -->", page.text)}),
)
def test_parameters_are_described(name):
    """Each parameter of a class whose table is shown is in its docstring, and the other way round."""
    kind = docs_reference.reference_tables.resolve_name(name)
    described = reference_tables.read_docstring(kind).params.keys() - {"kwargs"}
    own = getattr(vars(kind)["__init__"], "__wrapped__", vars(kind)["__init__"]) if "__init__" in vars(kind) else None
    taken = set(own.__kwdefaults__ or ()) if own is not None else set()
    assert taken <= described | {"type"}
    known = {one for one, _ in reference_tables._defaults(kind)}
    assert described <= known


def test_the_operators_defaults_are_shown():
    """The tables name every parameter of both operators that pay, each with its default."""
    text = reference("operators")
    for kind in (MagicHourOperator, MagicHourBatchOperator):
        rows = dict(
            re.findall(r"^\| `(\w+)` \| (.+?) \|", text.split(f"## {kind.__name__}\n")[1].split("\n## ")[0], re.M)
        )
        for name, default in kind.__init__.__wrapped__.__kwdefaults__.items():
            assert rows[name].strip('`"') == ("none" if default is None else str(default)), name


def test_the_agents_parameters_are_shown():
    """The table of the agent's operator names its parameters, read as text: not every Airflow can import it."""
    tree = ast.parse((PACKAGE / "agents" / "operator.py").read_text())
    (init,) = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
    assert first_column(reference("operators"), "MagicHourAgentOperator") == {one.arg for one in init.args.kwonlyargs}


def test_the_settings_are_documented():
    """The table of settings is that of the provider info."""
    options = get_provider_info()["config"]["magic_hour"]["options"]
    assert first_column(reference("settings"), "Settings") >= set(options)


def test_the_defaults_are_the_codes():
    """What the code takes where Airflow knows no default is the default that is described."""
    options = get_provider_info()["config"]["magic_hour"]["options"]
    read = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
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


def test_every_command_is_documented():
    """Each command has a section and an example that its parser takes."""
    text = reference("command-line")
    (commands,) = make_parser()._subparsers._group_actions
    assert re.findall(r"^## (\S+)$", text, re.M) == list(commands.choices)
    assert set(re.findall(r"^airflow magic-hour (\w+)", text.partition("\n## ")[0], re.M)) == set(commands.choices)


def test_every_fault_and_directive_is_documented():
    """The simulator's page names every fault and every prompt directive."""
    text = reference("simulator")
    assert first_column(text, "Faults") >= set(FAULTS)
    named = {word.strip("[]").partition(":")[0] for word in first_column(text, "Directives in a prompt")}
    assert named == set(DIRECTIVES)


def test_the_simulators_endpoints_are_documented():
    """The table has every route that the simulator has of its own, and no other."""
    source = (PACKAGE / "simulator" / "http" / "control.py").read_text()
    routes = re.findall(r'Route\("(/_simulator/\w+)".*?methods=\["(\w+)"\]', source)
    assert first_column(reference("simulator"), "Endpoints of its own") == {
        f"{method} {path}" for path, method in routes
    }


def test_the_options_of_the_marker_are_documented():
    """The table has every option of the marker ``magic_hour``, and the setting of the speed."""
    text = reference("simulator")
    assert first_column(text, "In pytest") == set(pytest_plugin._OPTIONS)
    assert pytest_plugin._INI_SPEED in text


def test_the_assets_are_documented():
    """The table of asset URIs has all that exist."""
    assert first_column(reference("webhooks"), "Assets") == set(EVENT_ASSET_URIS)


def test_every_page_is_indexed():
    """The index of the reference lists each of its pages, in the table and for Sphinx."""
    names = {path.stem for path in (DOCS / "reference").glob("*.md")} - {"index"}
    text = reference("index")
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", text)) == names
    assert set(re.findall(r"^([\w-]+)$", text.partition("toctree}")[2], re.M)) == names


def test_the_pages_of_docstrings_name_what_exists():
    """Each name that autodoc is asked for is a public name of the package."""
    for name in re.findall(r"auto(?:class|function):: (\S+)", reference("python-api")):
        assert docs_reference.reference_tables.resolve_name(name) is not None
    assert Path(PACKAGE, "py.typed").is_file()
