"""How the package is built: which folder may import which, no circles, small modules, every public name once."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import magic_hour_provider

PACKAGE = Path(magic_hour_provider.__file__).parent
ROOT = PACKAGE.name

# A folder, or a module that lies flat, imports only from the lines below its own. Folders of one line do not import
# each other.
LEVELS = (
    {"pytest_plugin", "__main__"},
    {"decorators", "agents"},
    {"operators", "sensors", "plugin", "cli"},
    {"batch"},
    {"execution", "plugin.webhooks", "plugin.media_tab", "plugin.spend_tab"},
    {"plugin.recovery"},
    {"inputs", "triggers", "deliveries", "batch.records", "plugin.state_store", "plugin.dag_tasks", "plugin.web"},
    {"ledger", "outputs", "hooks"},
    {"polling", "storage", "simulator"},
    {"api", "links"},
    {"clock", "times", "xcoms", "metrics", "get_provider_info", "plugin.airflow_internals"},
    {"airflow_internals"},
    {ROOT},
)
# The API server's side, the simulator and pytest's plugin import nothing else of the package than these.
ONLY = {
    "plugin.airflow_internals": {"airflow_internals"},
    "plugin": {"plugin.airflow_internals", "airflow_internals", "plugin.webhooks", "plugin.media_tab", "links", ROOT},
    "plugin.webhooks": {
        "airflow_internals",
        "plugin.airflow_internals",
        "api",
        "clock",
        "times",
        "xcoms",
        "metrics",
        "ledger.fingerprint",
        "ledger.record",
        "ledger.tag",
        "outputs.asset_uris",
        "plugin.state_store",
        "triggers.resume_delay",
        ROOT,
    },
    "plugin.media_tab": {
        "airflow_internals",
        "plugin.airflow_internals",
        "api",
        "clock",
        "times",
        "xcoms",
        "ledger.places.directions",
        "ledger.record",
        "storage",
        "ledger.instruction",
        "batch.records",
        "plugin.recovery",
        "plugin.dag_tasks",
        "plugin.state_store",
        "plugin.web",
        ROOT,
    },
    "plugin.spend_tab": {
        "airflow_internals",
        "plugin.airflow_internals",
        "api",
        "times",
        "xcoms",
        "ledger.record",
        "plugin.dag_tasks",
        "plugin.state_store",
        "plugin.web",
        ROOT,
    },
    "plugin.recovery": {
        "airflow_internals",
        "plugin.airflow_internals",
        "api",
        "clock",
        "times",
        "xcoms",
        "hooks",
        "ledger",
        "batch.records",
        "storage.paths",
        "plugin.dag_tasks",
        "plugin.state_store",
        ROOT,
    },
    "plugin.state_store": {"plugin.airflow_internals", "airflow_internals", "ledger.record", "api"},
    "plugin.dag_tasks": {"plugin.airflow_internals", "airflow_internals", "api.catalog", "xcoms"},
    "plugin.web": {"plugin.airflow_internals", "airflow_internals", "api.redaction", "clock", ROOT},
    # The command line runs where the API server does, and asks for what that side of the package has.
    "cli": {
        "api",
        "hooks",
        "ledger",
        "storage.paths",
        "batch.records",
        "batch.rows.keys",
        "execution.payment.preflight",
        "airflow_internals",
        "plugin.airflow_internals",
        "plugin.recovery",
        "plugin.state_store",
        "plugin.media_tab.files.roots",
        "plugin.webhooks.secrets",
        "get_provider_info",
        "times",
        ROOT,
    },
    "__main__": {"cli.definition"},
    "simulator": {"api.catalog", "api.prices"},
    "pytest_plugin": {"simulator", "clock"},
}
FLAT_MODULES = 8
ENTRY_POINT = "__main__"  # beside them: the name that ``python -m magic_hour_provider`` asks for
MODULES_OF_A_FOLDER = 9
# One typed class per tool is generated into these, beside what is written by hand.
GENERATED = {"operators.video", "operators.image", "operators.audio", "operators.shapes"}


def module_name(path: Path) -> str:
    """Return a module's name below the package, as in ``api.client``; the package's own is its name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or ROOT


SOURCES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imports(module: str) -> Iterator[str]:
    """Yield what a module imports of the package, anywhere in its text: for types and inside functions too."""
    for node in ast.walk(ast.parse(SOURCES[module].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == ROOT or name.startswith(f"{ROOT}."):
                inner = name.removeprefix(ROOT).removeprefix(".")
                # Either a module is imported, or a name of one.
                yield inner if inner in SOURCES else inner.rpartition(".")[0] or ROOT


GRAPH = {module: {name for name in imports(module) if name != module} for module in SOURCES}


def folder_of(module: str) -> str:
    """Return the entry of ``LEVELS`` that a module belongs to: the longest that its name begins with."""
    entries = [entry for level in LEVELS for entry in level if f"{module}.".startswith(f"{entry}.")]
    assert entries, f"{module} is in no line of LEVELS"
    return max(entries, key=len)


def test_imports_point_downwards():
    """A folder imports only from the lines below its own; those in ``ONLY`` not even everything there."""
    rank = {entry: -number for number, level in enumerate(LEVELS) for entry in level}
    wrong = []
    for module, targets in GRAPH.items():
        own = folder_of(module)
        for target in targets:
            other = folder_of(target)
            allowed = any(f"{target}.".startswith(f"{one}.") for one in ONLY.get(own, {other}))
            if other != own and not (allowed and rank[other] < rank[own]):
                wrong.append(f"{module} -> {target}")
    assert sorted(wrong) == []


def test_nothing_imports_the_simulator():
    """It is a tool beside the provider, not a part of it; only the pytest plugin brings both together."""
    for module, targets in GRAPH.items():
        if folder_of(module) != "simulator" and module != "pytest_plugin":
            assert "magic_hour_provider.simulator" not in SOURCES[module].read_text(), module
            assert not [name for name in targets if folder_of(name) == "simulator"], module


def test_no_module_is_in_a_circle():
    """Not inside a folder either, and imports for types or inside functions count: they are arrows to a reader too."""
    left = dict(GRAPH)
    while free := [module for module, targets in left.items() if not targets & left.keys()]:
        for module in free:
            del left[module]
    # What is left reaches a circle; what nothing left imports is not in it.
    while outer := [module for module in left if not any(module in targets for targets in left.values())]:
        for module in outer:
            del left[module]
    assert {module: sorted(targets & left.keys()) for module, targets in left.items()} == {}


def test_without_airflow():
    """The API, the polling and the simulator are of use without Airflow."""
    for module, path in SOURCES.items():
        if folder_of(module) in ("api", "polling", "simulator", "clock", "times"):
            assert not re.search(r"^\s*(import|from) airflow", path.read_text(), re.M), module


def test_modules_stay_a_page_or_two():
    """No module written by hand is over about 350 lines, and the median is under 150."""
    sizes = sorted(len(path.read_text().splitlines()) for name, path in SOURCES.items() if name not in GENERATED)
    assert sizes[-1] <= 350
    assert sizes[len(sizes) // 2] < 150


def test_folders_stay_small():
    """At most seven modules lie flat, and about nine in a folder."""
    folders = defaultdict(list)
    for name, path in SOURCES.items():
        if path.name != "__init__.py" and name not in (*GENERATED, ENTRY_POINT):
            folders[name.rpartition(".")[0]].append(name)
    assert len(folders.pop("")) <= FLAT_MODULES
    assert {folder: names for folder, names in folders.items() if len(names) > MODULES_OF_A_FOLDER} == {}


def public_names(module: str) -> Iterator[str]:
    """Yield the public names that a module defines at its top."""
    for node in ast.parse(SOURCES[module].read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
        else:
            continue
        yield from (name for name in dict.fromkeys(names) if not name.startswith("_"))


def test_a_public_name_exists_once():
    """Who searches for a class, a function or a constant finds one."""
    # Each module that logs has a logger of this name, as everywhere in Python.
    where = defaultdict(list)
    for module in SOURCES:
        for name in public_names(module):
            where[name].append(module)
    assert {name: modules for name, modules in where.items() if len(modules) > 1 and name != "log"} == {}
