"""Every block of code on a page works as it is shown: Python runs, DAGs load, commands and settings exist."""

from __future__ import annotations

import configparser
import csv
import io
import json
import sys
import tomllib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG
from airflow.sdk.definitions._internal.contextmanager import DagContext

from helpers.pages import Page, pages
from helpers.shell import commands, find_mistake
from magic_hour_provider.get_provider_info import get_provider_info

try:
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # before Airflow 3.2
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

PAGES = pages()
# What a block may be written in. Directives of MyST are Sphinx's to check.
CHECKED = {"python", "bash", "json", "ini", "toml", "yaml", "csv"}
SHOWN = {"text", "nginx", "jinja"}


def with_blocks(*languages: str) -> list[Page]:
    """Return the pages that have a block of one of these languages."""
    return [page for page in PAGES if any(page.blocks(*languages))]


def of(*languages: str) -> Any:
    """Run a test for each page that has a block of one of these languages."""
    return pytest.mark.parametrize("page", with_blocks(*languages), ids=lambda page: page.name)


@pytest.fixture
def loading() -> Iterator[ModuleType]:
    """A module that a page's code runs in, as a DAG file's does; its DAGs are kept as Airflow finds them."""
    module = ModuleType("page_of_the_docs")
    sys.modules[module.__name__] = module
    DagContext.autoregistered_dags.clear()
    DagContext.current_autoregister_module_name = module.__name__
    yield module
    DagContext.current_autoregister_module_name = None
    DagContext.autoregistered_dags.clear()
    del sys.modules[module.__name__]


@of("python")
def test_python_runs(page, loading, magic_hour_simulator):
    """The blocks of a page run one after another, pay for nothing, and Airflow can store each DAG that they make."""
    if "airflow.providers.common.ai" in page.text:
        pytest.importorskip("airflow.providers.common.ai", reason="only Airflow 3.3 can be installed with it")
    for block in page.blocks("python"):
        # The lines of the page in a traceback.
        code = compile("\n" * block.line + block.code, page.name, "exec")
        if not block.is_parsed_only:
            exec(code, vars(loading))
    assert magic_hour_simulator.stats()["creates"]["accepted"] == 0
    for dag, _ in DagContext.autoregistered_dags:
        assert isinstance(dag, DAG)
        assert json.loads(json.dumps(DagSerialization.to_dict(dag)))


@of("bash")
def test_commands_exist(page):
    """Each line is one command, and its program takes what it is given."""
    wrong = {
        f"line {block.line}: {line}": mistake
        for block in page.blocks("bash")
        for line in commands(block.code)
        if (mistake := find_mistake(line))
    }
    assert wrong == {}


@of("json", "toml", "yaml", "csv")
def test_data_is_read(page):
    """JSON, TOML, YAML and CSV are what they say."""
    for block in page.blocks("json"):
        json.loads(block.code)
    for block in page.blocks("toml"):
        tomllib.loads(block.code)
    for block in page.blocks("yaml"):
        list(yaml.safe_load_all(block.code))
    for block in page.blocks("csv"):
        head, *rows = csv.reader(io.StringIO(block.code))
        assert rows
        assert {len(row) for row in rows} == {len(head)}


@of("ini")
def test_settings_exist(page):
    """The options of ``[magic_hour]`` that a page shows are those that there are."""
    options = get_provider_info()["config"]["magic_hour"]["options"]
    for block in page.blocks("ini"):
        shown = configparser.ConfigParser(interpolation=None)
        shown.read_string(block.code)
        assert shown.sections()
        assert set(dict(shown).get("magic_hour", ())) <= set(options)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_languages_are_checked(page):
    """No block is in a language that nothing here checks."""
    shown = {block.language for block in page.blocks() if not block.language.startswith("{")}
    assert shown <= CHECKED | SHOWN


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("make test", None),
        ("make tests", "make has no ['tests']"),
        ("pip install 'airflow-provider-magic-hour[simulator]'", None),
        ("pip install airflow-provider-magic-hour[simulators]", "nobody installs"),
        ("airflow magic-hour record DAG RUN TASK", None),
        ("airflow magic-hour record DAG RUN", "required: task_id"),
        ("airflow dags trigger teaser", None),
        ("airflow dags triggers teaser", "invalid choice"),
        ("magic-hour-simulator --sped 2", "unrecognized arguments"),
        ("export AIRFLOW__MAGIC_HOUR__LEDGER=/srv", "there is no setting"),
        ("make test && make check", "one command a line"),
        ("frobnicate", "not known"),
    ],
)
def test_mistakes_are_found(line, mistake):
    """A mistake in a command is found, and a right one is none."""
    found = find_mistake(line)
    assert found is None if mistake is None else mistake in (found or "")
