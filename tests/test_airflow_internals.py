"""An Airflow that lacks a name of the task side that is no public interface: DAGs parse, and one feature is off."""

from __future__ import annotations

import importlib
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.definitions.asset import AssetRef

import magic_hour_provider
from magic_hour_provider import airflow_internals
from magic_hour_provider.airflow_internals import TASK_PLACES, MissingInternalError
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.hooks.own_task import is_test_run
from magic_hour_provider.operators.image import MagicHourAIImageGeneratorOperator as Images
from magic_hour_provider.outputs.assets import emit_outlet_events

PACKAGE = Path(magic_hour_provider.__file__).parent
OF_MAPPING = {"MappedOperator", "OperatorPartial", "get_merged_defaults"}


class EventsByIdentity(dict[int, Any]):
    """The events of outlets; an asset of Airflow 3.1 cannot be the key of a dict."""

    def __getitem__(self, outlet: Any) -> Any:
        """Return an outlet's event."""
        return super().__getitem__(id(outlet))


@pytest.fixture(params=TASK_PLACES)
def missing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A name that this Airflow has not got, for modules that are imported from here on."""
    monkeypatch.setitem(TASK_PLACES, request.param, ("airflow.moved_away", TASK_PLACES[request.param][1]))  # type: ignore[arg-type]
    monkeypatch.setattr(airflow_internals, "_logged", set())
    for name in ("magic_hour_provider.operators.mapping", "magic_hour_provider.triggers.poll_metrics"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return request.param


def test_without_one_name(missing, caplog):
    """Tasks are mapped, events emitted and metrics sent as far as that goes; the log names what is off, once."""
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        with DAG("mapped", schedule=None) as dag:
            made = Images.partial(task_id="make", image_count=1).expand(style=[{"prompt": "a"}, {"prompt": "b"}])
        assert dag.task_ids == [made.task_id]
        outlets = [Asset("s3://bucket/x"), AssetRef()]
        events = EventsByIdentity({id(outlet): SimpleNamespace(extra={}) for outlet in outlets})
        context = {"outlet_events": events, "dag_run": SimpleNamespace(triggering_user_name="dag_test")}
        emit_outlet_events(outlets, context, {"id": "x"})
        extras = [event.extra for event in events.values()]
        assert extras == [{"id": "x"}, {} if missing == "AssetRef" else {"id": "x"}]
        assert is_test_run(context)
        metrics = importlib.import_module("magic_hour_provider.triggers.poll_metrics")
        metrics.PollMetrics("c")._write(1, {}, [])
    lines = [line for line in caplog.messages if line.startswith("This Airflow has no")]
    # The two that only end tasks have a test of their own: tests/execution/test_second_worker.py.
    others = {"Stats": metrics.stats is None, "stats": False, "SetXCom": False, "get_listener_manager": False}
    assert len(lines) == others.get(missing, True)
    for line in lines:
        assert f"airflow.moved_away.{missing}, so this is switched off: {TASK_PLACES[missing][1]}." in line


def test_a_slip_in_a_mapped_task(missing):
    """It is found at parsing where Airflow's internals are there, and when the task runs where they are not."""
    with DAG("mapped", schedule=None):
        if missing not in OF_MAPPING:
            with pytest.raises(InvalidInputError, match="image_count"):
                Images.partial(task_id="make", image_count="many").expand(style=[{"prompt": "a"}])
            return
        mapped = Images.partial(task_id="make", image_count="many").expand(style=[{"prompt": "a"}])
        operator: Any = mapped.unmap({"style": {"prompt": "a"}})
    with pytest.raises(InvalidInputError, match="image_count"):
        operator.job_spec().request.findings.raise_errors(operator.tool)


def test_no_other_module_imports_them():
    """All of the task side comes from one module, but for types; it and the import of each name agree."""
    for path in PACKAGE.rglob("*.py"):
        side = path.relative_to(PACKAGE).parts[0]
        if side not in ("plugin", "cli", "__main__.py", "airflow_internals.py"):
            text = re.sub(r"if TYPE_CHECKING:\n(?: .*\n|\n)*", "", path.read_text())
            for module, names in re.findall(r"^\s*from (airflow[\w.]*) import ([\w, ]+)", text, re.M):
                for name in names.split(", "):
                    assert (module, name) not in {(place[0], one) for one, place in TASK_PLACES.items()}, path
    with pytest.raises(MissingInternalError):
        airflow_internals.import_internal({"x": ("airflow", None)}, "x")
    with pytest.raises(AttributeError):
        airflow_internals.no_such_name  # noqa: B018
