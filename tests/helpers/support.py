"""Stand-ins for what only Airflow's own processes have: a task instance and its context. Everything else is real."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk.execution_time.context import OutletEventAccessors

from helpers.clocks import set_clock
from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.clock import SimulatedClock
from magic_hour_provider.inputs.fields import find_inputs
from magic_hour_provider.inputs.sources import check_inputs
from magic_hour_provider.inputs.upload import resolve_inputs
from magic_hour_provider.ledger.file_store import StorageStore, folder_name
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.triggers.job import MagicHourJobTrigger

LEDGERS = ("task state store", "storage ledger")
KEY = "mhk_live_testsonly0123456789"
DATA = Path(__file__).parents[1] / "data"
PHOTO = Path(__file__).parents[2] / "dags_examples" / "media" / "astronaut.png"


class Store:
    """A task state store: its rows outlive attempts and clears, and only JSON survives."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.failing = 0
        self.writes: list[dict[str, Any]] = []

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default if there is no such row."""
        return json.loads(self.rows[key]) if key in self.rows else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Write a value; fails as often as ``failing`` says, counted down."""
        if self.failing and isinstance(value, dict) and value.get("state") == "submitted":
            self.failing -= 1
            raise ConnectionError("the API server is away")
        self.rows[key] = json.dumps(value)
        self.writes.append(json.loads(self.rows[key]))

    def delete(self, key: str) -> None:
        """Remove a key."""
        self.rows.pop(key, None)


class StoredFiles(StorageStore):
    """The storage ledger of one task instance, with what tests ask of both stores."""

    _failing: ClassVar[dict[str, int]] = {}  # by folder: each attempt opens a store of its own

    @property
    def failing(self) -> int:
        """How often writing a paid job's id still fails."""
        return self._failing.get(self.folder, 0)

    @failing.setter
    def failing(self, times: int) -> None:
        self._failing[self.folder] = times

    @property
    def rows(self) -> dict[str, str]:
        """All its files, whatever their names."""
        return {path.name: path.read_text() for path in Path(self.folder).glob("*")}

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Write a value; fails as often as ``failing`` says, counted down."""
        if self.failing and isinstance(value, dict) and value.get("state") == "submitted":
            self.failing -= 1
            raise OSError("the storage is away")
        super().set(key, value, retention=retention)


class TaskInstance:
    """One task instance over all its attempts, as Airflow keeps it."""

    dag_id, run_id = "teaser", "manual__2026-11-23T00:00:00+00:00"
    ledger_path: ClassVar[str | None] = None  # set: an Airflow without task state store

    def __init__(self, task_id: str = "make", map_index: int = -1) -> None:
        self.task_id, self.map_index = task_id, map_index
        self.try_number, self.max_tries, self.clear_number = 0, 0, 0
        self.start_date = None
        self.store: Store | StoredFiles | None = Store()
        if self.ledger_path is not None:
            name = folder_name(self.dag_id, self.run_id, task_id, map_index)
            self.store = StoredFiles(f"{self.ledger_path}/{name}")
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep an XCom; only JSON survives."""
        self.xcoms[key] = json.loads(json.dumps(value))

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        """Return an own XCom."""
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)

    def get_first_reschedule_date(self, context: Any) -> None:
        """Say that the sensor was never rescheduled."""

    def next_attempt(self) -> None:
        """Begin an attempt: Airflow clears its XComs."""
        self.try_number += 1
        self.xcoms = {}

    def clear(self, retries: int = 0) -> None:
        """Clear the finished task instance, as a person does in the UI."""
        self.max_tries = self.try_number + retries
        self.clear_number += 1

    @property
    def record(self) -> Any:
        """The ledger's record."""
        return self.store.get("magic_hour.job") if self.store else None

    def context(self, operator: Any) -> Any:
        """Return what Airflow hands to ``execute``."""
        context = {"ti": self, "task": operator, "dag_run": SimpleNamespace(clear_number=self.clear_number)}
        context["outlet_events"] = self.outlet_events = OutletEventAccessors()
        if isinstance(self.store, Store):
            context["task_state_store"] = self.store
        return context


class Connected:
    """Runs attempts of tasks against the simulator; waiting moves the simulator's time instead of passing real time."""

    def __init__(self, sim: Simulator, monkeypatch: pytest.MonkeyPatch, output: Path) -> None:
        self.sim, self.clock, self.output, self._patch = sim, SimulatedClock(sim), output, monkeypatch
        self.events: list[dict[str, Any]] = []
        set_clock(monkeypatch, self.clock)
        self.connect()

    def connect(self, **connection: Any) -> None:
        """Set the default connection; by default to the simulator with the right key."""
        whole = {"conn_type": "magic_hour", "password": KEY, "host": self.sim.url} | connection
        self._patch.setenv("AIRFLOW_CONN_MAGIC_HOUR_DEFAULT", json.dumps(whole))

    def disconnect(self) -> None:
        """Remove the connection."""
        self._patch.delenv("AIRFLOW_CONN_MAGIC_HOUR_DEFAULT", raising=False)

    def setting(self, name: str, value: str) -> None:
        """Set an option of ``[magic_hour]``."""
        self._patch.setenv(f"AIRFLOW__MAGIC_HOUR__{name.upper()}", value)

    def operator(self, tool: str = "ai-image-generator", request: Any = None, **options: Any) -> MagicHourOperator:
        """Make an operator; an image generator unless told otherwise."""
        request = {"image_count": 1, "style": {"prompt": "a lighthouse"}} if request is None else request
        options = {"task_id": "make", "output_path": str(self.output / "out")} | options
        return MagicHourOperator(tool=tool, request=request, **options)

    def attempt(self, operator: Any, ti: TaskInstance) -> Any:
        """Run one attempt to its end, deferrals included."""
        ti.next_attempt()
        return self.resume(operator, ti, self.start(operator, ti))

    def start(self, operator: Any, ti: TaskInstance) -> Any:
        """Run the first half of an attempt: its result, or the deferral."""
        try:
            return operator.execute(ti.context(operator))
        except TaskDeferred as deferred:
            return deferred

    def resume(self, operator: Any, ti: TaskInstance, outcome: Any) -> Any:
        """Run deferrals until there is a result."""
        while isinstance(outcome, TaskDeferred):
            path, kwargs = outcome.trigger.serialize()
            json.dumps(kwargs)
            assert path == "magic_hour_provider.triggers.job.MagicHourJobTrigger"
            event = asyncio.run(first_event(MagicHourJobTrigger(**kwargs)))
            self.events.append(event)
            try:
                outcome = operator.resume_execution(
                    outcome.method_name, {**(outcome.kwargs or {}), "event": event}, ti.context(operator)
                )
            except TaskDeferred as deferred:
                outcome = deferred
        return outcome

    def creates(self) -> int:
        """How many paid requests the simulator accepted."""
        return self.sim.stats()["creates"]["accepted"]


def stored(sim: Simulator, reference: str) -> bytes:
    """Return what arrived under the reference of an upload."""
    return (Path(sim._temporary.name) / "uploads" / reference.removeprefix("api-assets/")).read_bytes()


def resolve_request(client: MagicHourClient, tool: Tool, request: Any, tier: str | None = None) -> dict[str, Any]:
    """Return the request as it would be sent, without sending it."""
    inputs = find_inputs(tool, request)
    return resolve_inputs(client, request, inputs, check_inputs(inputs, 0.0), tier=tier)


async def first_event(trigger: MagicHourJobTrigger) -> dict[str, Any]:
    """Run a trigger until its event."""
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger sent no event")


def at_once(times: int, work: Callable[[], object]) -> list[Exception]:
    """Do the same in several threads; return what they raised."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
