"""What the package promises as a whole: its entry points, its imports, its information for Airflow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import jsonschema
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

import magic_hour_provider
from helpers.wheel import install_wheel
from magic_hour_provider.get_provider_info import get_provider_info

PACKAGE = Path(magic_hour_provider.__file__).parent
ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "dags_examples"


def modules() -> list[Path]:
    """Return the package's modules."""
    return list(PACKAGE.rglob("*.py"))


MODULES = [
    "operators.magic_hour",
    "operators.video",
    "operators.image",
    "operators.audio",
    "operators.files",
    "operators.batch",
    "decorators",
    "sensors.job",
    "links",
    "hooks.magic_hour",
]


def test_importing_an_operator_loads_nothing_new():
    """Parsing a DAG with our operators loads no third-party module that ``from airflow.sdk import DAG`` has not."""
    script = f"""
import importlib, json, sys
from airflow.sdk import DAG
from airflow.sdk import BaseOperator, BaseSensorOperator, BaseHook
before, added = set(sys.modules), {{}}
for name in {MODULES}:
    importlib.import_module("magic_hour_provider." + name)
    added[name] = sorted(set(sys.modules) - before)
    before = set(sys.modules)
print(json.dumps(added))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    added = json.loads(done.stdout.strip().splitlines()[-1])
    own = sys.stdlib_module_names | {"magic_hour_provider", "airflow"}
    if not AIRFLOW_V_3_2_PLUS:
        # Only later ones have loaded jsonschema by then; requests cannot be checked at parsing without it.
        own |= {"jsonschema", "jsonschema_specifications", "jsonpointer", "referencing", "rpds", "rfc3339_validator"}
    assert list(added) == MODULES
    for module, new in added.items():
        assert [name for name in new if name.split(".")[0] not in own] == [], module
        assert [name for name in new if name.startswith("airflow.triggers")] == [], module


def test_the_entry_points():
    """Airflow finds the provider and the plugin."""
    providers = [
        one for one in entry_points(group="apache_airflow_provider") if one.module == get_provider_info.__module__
    ]
    assert [one.load()()["package-name"] for one in providers] == ["airflow-provider-magic-hour"]
    plugins = {one.name: one for one in entry_points(group="airflow.plugins")}
    assert plugins["magic_hour"].load().name == "magic_hour"


def test_the_wheel_holds_the_whole_package(tmp_path):
    """Installed from the wheel, the package has all its files, among them the marker of its types, and is found."""
    script = """
import json
from importlib.metadata import distribution
from pathlib import Path
import magic_hour_provider
from magic_hour_provider.api.catalog import TOOLS
groups = {one.group: one.value for one in distribution("airflow-provider-magic-hour").entry_points}
info = distribution("airflow-provider-magic-hour").entry_points.select(group="apache_airflow_provider")
print(json.dumps([str(Path(magic_hour_provider.__file__).parent), len(TOOLS), groups, next(iter(info)).load()()]))
"""
    done = subprocess.run([install_wheel(tmp_path), "-c", script], capture_output=True, text=True, check=True)
    folder, tools, groups, info = json.loads(done.stdout)
    ours, theirs = (
        {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"}
        for root in (PACKAGE, Path(folder))
    )
    examples = {
        f"example_dags/{path.relative_to(EXAMPLES)}"
        for path in EXAMPLES.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert len(examples) > 7
    assert theirs == ours | examples
    assert Path(folder).is_relative_to(tmp_path)
    assert "py.typed" in theirs
    assert tools == 32
    assert groups.keys() == {"apache_airflow_provider", "airflow.plugins", "pytest11", "console_scripts"}
    assert info == get_provider_info()


def test_the_plugin_costs_other_components_nothing():
    """Every component of Airflow imports it: no airflow-core, web framework or database is loaded by that."""
    script = """
import sys, json
from airflow.providers.common.compat.sdk import AirflowPlugin, BaseOperatorLink, XCom
class Core:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("fastapi", "starlette", "uvicorn", "sqlalchemy") or name.startswith(
            ("airflow.models", "airflow.api_fastapi", "airflow.utils.session", "airflow.triggers", "airflow.assets")
        ):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Core())
before = set(sys.modules)
from magic_hour_provider.plugin import MagicHourPlugin
print(json.dumps([one["url_prefix"] for one in MagicHourPlugin.fastapi_apps]))
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    prefixes, new = map(json.loads, done.stdout.strip().splitlines()[-2:])
    assert prefixes[-1] == "/magic-hour"
    assert {name.split(".")[0] for name in new} - sys.stdlib_module_names <= {"magic_hour_provider", "airflow"}


def test_pytest_starts_as_fast_as_without_us():
    """The plugin that pytest loads at every start brings no Airflow, no HTTP client and no simulator."""
    (plugin,) = [one for one in entry_points(group="pytest11") if one.name == "magic_hour"]
    script = f"import sys, pytest\nbefore = set(sys.modules)\nimport {plugin.value}\nprint(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    new = {name.split(".")[0] for name in done.stdout.split()}
    assert new - sys.stdlib_module_names == {"magic_hour_provider"}
    assert "magic_hour_provider.simulator" not in done.stdout


def test_the_provider_info_is_valid():
    """It follows Airflow's own schema, and every class and module it names exists."""
    import airflow

    info = get_provider_info()
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(info, schema)
    for group in ("operators", "sensors", "hooks", "triggers"):
        for entry in info[group]:
            for module in entry["python-modules"]:
                if module.split(".")[1] != "agents" or find_spec("airflow.providers.common.ai") is not None:
                    __import__(module)
    resolve_name(info["connection-types"][0]["hook-class-name"])
    for link in info["extra-links"]:
        resolve_name(link)
    for plugin in info["plugins"]:
        assert resolve_name(plugin["plugin-class"]).name == plugin["name"]
    for one in info["integrations"]:
        for page in (one["logo"], *one["how-to-guide"]):
            file, _, heading = page.lstrip("/").partition("#")
            assert f"\n## {heading.replace('-', ' ')}\n" in (ROOT / file).read_text().lower() if heading else True, page
            assert (ROOT / file).is_file(), page


def test_airflow_shows_all_of_it(tmp_path):
    """``airflow providers list`` has the package, and ``get --full`` everything that it brings, as it says it."""

    def show(*command: str) -> list[dict[str, Any]]:
        env = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        line = [Path(sys.executable).with_name("airflow"), "providers", *command, "--output", "json"]
        done = subprocess.run(line, capture_output=True, text=True, check=True, env=os.environ | env)
        return json.loads(next(text for text in done.stdout.splitlines() if text.startswith("[")))

    (listed,) = [one for one in show("list") if one["package_name"] == "airflow-provider-magic-hour"]
    assert listed["version"] == magic_hour_provider.__version__
    assert "Magic Hour" in listed["description"]
    (shown,) = show("get", "airflow-provider-magic-hour", "--full")
    info = get_provider_info()
    assert {name: shown[name] for name in info} | {"description": info["description"]} == info
    everything = {"operators", "sensors", "hooks", "triggers", "asset-uris", "plugins", "cli", "task-decorators"}
    everything |= {"extra-links", "connection-types", "config", "integrations"}
    assert all(shown[name] for name in everything)


def test_every_setting_is_documented_and_every_documented_setting_is_read():
    """The options of ``[magic_hour]`` are those that the code reads."""
    options = set(get_provider_info()["config"]["magic_hour"]["options"])
    text = "\n".join(path.read_text() for path in modules())
    assert set(re.findall(r'conf\.get\w*\(\s*"magic_hour", "(\w+)"', text)) == options
