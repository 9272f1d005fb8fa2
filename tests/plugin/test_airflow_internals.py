"""An Airflow that lacks a name that is no public interface: its API server starts, and one feature is switched off."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

import magic_hour_provider
from magic_hour_provider.airflow_internals import MissingInternalError
from magic_hour_provider.plugin.airflow_internals import PLACES
from magic_hour_provider.plugin.recovery.errors import RecoveryError, translating_database_errors

PACKAGE = Path(magic_hour_provider.__file__).parent

TAB = {"DagAccessEntity", "DagRun", "SerializedDagModel", "XComModel", "create_session", "requires_access_dag"}
NEEDED = {
    "/magic-hour/media": {*TAB, "GetUserDep", "TaskInstance"},
    "/magic-hour/spend": TAB,
    "/magic-hour": set(),
    "resume": {
        *("Trigger", "TriggerEvent", "TaskInstance", "TaskInstanceState"),
        *("XComModel", "create_session", "handle_event_submit"),
    },
    "recovery": {"XComModel", "create_session"},
    "asset_events": {"AssetEvent", "AssetModel", "asset_manager", "create_session"},
}
"""What each application, and each thing that a delivery may do, cannot be without."""

SCRIPT = """
import asyncio, importlib, json, logging, sys

from magic_hour_provider import airflow_internals as base

lines, found = [], {}
class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())

def load():
    for name in [name for name in sys.modules if name.startswith("magic_hour_provider.plugin")]:
        del sys.modules[name]
    internals = importlib.import_module("magic_hour_provider.plugin.airflow_internals")
    base.log.handlers[:] = [Lines()]
    base._logged.clear()
    return internals

async def ask(app):
    sent = []
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        sent.append(message)
    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "root_path": "", "headers": [],
             "query_string": b"", "scheme": "http", "server": ("x", 80), "client": ("x", 1), "http_version": "1.1"}
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent).decode()

for missing in [None, *load().PLACES]:
    lines.clear()
    internals = load()
    if missing is not None:
        internals.PLACES[missing] = ("airflow.moved_away", internals.PLACES[missing][1])
    from magic_hour_provider.plugin import MagicHourPlugin
    off = {}
    for one in MagicHourPlugin.fastapi_apps:
        for _ in range(2):
            status, text = asyncio.run(ask(one["app"]))
        if status != 404:
            off[one["url_prefix"]] = [status, text]
    for name in ("resume", "recovery", "asset_events"):
        try:
            importlib.import_module("magic_hour_provider.plugin.webhooks." + name)
        except base.MissingInternalError as error:
            off[name] = str(error)
    store = importlib.import_module("magic_hour_provider.plugin.state_store").get_state_store_model()
    secrets = importlib.import_module("magic_hour_provider.plugin.webhooks.secrets")
    off["secrets"] = secrets.load_webhook_secrets("not_there")
    found[str(missing)] = {"off": off, "lines": list(lines), "has_store": store is not None}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What is off, and what the log says, without each of the names; ``None``: with all of them."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_nothing_is_off_on_this_airflow(found):
    """Every name is where it is looked up."""
    assert found["None"]["off"] == {"secrets": []}
    assert found["None"]["lines"] == []
    assert found["None"]["has_store"] is AIRFLOW_V_3_3_PLUS


@pytest.mark.parametrize("name", PLACES)
def test_without_one_name(found, name):
    """Only what needs it is switched off: the log says so once, and an application says it to whoever asks."""
    off, purpose = found[name]["off"], PLACES[name][1]
    assert off.pop("secrets") == []
    assert set(off) == {feature for feature, names in NEEDED.items() if name in names}
    for answer in off.values():
        status, text = answer if isinstance(answer, list) else (503, answer)
        assert status == 503
        assert f"This Airflow has no airflow.moved_away.{name}, so this is switched off: {purpose}." in text
    is_needed = bool(off) or name == "Connection"
    assert [name in line for line in found[name]["lines"]] == [True] * (is_needed and purpose is not None)
    assert not (found[name]["has_store"] and name in ("TaskStateStoreModel", "MetastoreBackend"))


def test_a_recovery_without_them_changes_nothing():
    """What a person asks for is refused with that sentence."""
    with (
        pytest.raises(RecoveryError, match="Nothing has changed") as raised,
        translating_database_errors(),
    ):
        raise MissingInternalError("This is switched off.")
    assert raised.value.status == 501


def test_no_other_module_imports_them():
    """The API server's side takes them from one module alone, whose two lists have the same names."""
    public = r"airflow\.(sdk|providers)\b"
    for path in (PACKAGE / "plugin").rglob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) (airflow[\w.]*)", path.read_text(), re.M)
        if path.name != "airflow_internals.py":
            assert [name for name in imported if not re.match(public, name)] == [], path
    text = (PACKAGE / "plugin" / "airflow_internals.py").read_text()
    typed = {name: module for module, name in re.findall(r"from (airflow[\w.]*) import (\w+) as \2", text)}
    assert typed == {name: module for name, (module, _) in PLACES.items()}
