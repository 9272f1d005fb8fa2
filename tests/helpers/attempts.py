"""Attempts of tasks, and what only Airflow's own processes have: a task instance and its context."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred, XCom
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow.triggers.base import BaseTrigger

from helpers.clocks import set_clock
from helpers.samples import KEY
from helpers.stores import Store, StoredFiles
from magic_hour_provider.clock import SimulatedClock
from magic_hour_provider.ledger.file_store import folder_name
from magic_hour_provider.ledger.places import clears
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.triggers.job import MagicHourJobTrigger


class TaskInstance:
    """One task instance over all its attempts, as Airflow keeps it."""

    dag_id, run_id = "teaser", "manual__2026-11-23T00:00:00+00:00"
    ledger_path: ClassVar[str | None] = None  # set: an Airflow without task state store

    def __init__(self, task_id: str = "make", map_index: int = -1) -> None:
        self.task_id, self.map_index = task_id, map_index
        self.try_number, self.max_tries, self.clear_number = 0, 0, 0
        self.id = uuid.uuid4()
        self._ti_context_from_server = SimpleNamespace(xcom_keys_to_clear=[])
        self.start_date = None
        self.run_start: datetime | None = None
        self.store: Store | StoredFiles | None = Store()
        if self.ledger_path is not None:
            name = folder_name(self.dag_id, self.run_id, task_id, map_index)
            self.store = StoredFiles(f"{self.ledger_path}/{name}")
        self.xcoms: dict[str, Any] = {}
        self.other_states: dict[str, dict[str, str | None]] = {}
        """By task id: the states of other task instances of this run, by Airflow's names of them."""
        self.other_jobs: dict[tuple[str, int], Any] = {}
        """By task id and map index: what they pushed of their jobs."""

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep an XCom; only JSON survives."""
        self.xcoms[key] = json.loads(json.dumps(value))

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int | None = None) -> Any:
        """Return an own XCom, or another task instance's job; without an index those of all instances."""
        if map_indexes is None:
            jobs = [job for (task_id, _), job in self.other_jobs.items() if task_id == task_ids]
            jobs += [self.xcoms[key]] if task_ids == self.task_id and key in self.xcoms else []
            return jobs if len(jobs) > 1 else jobs[0] if jobs else None
        if (task_ids, map_indexes) == (self.task_id, self.map_index):
            return self.xcoms.get(key)
        assert key == "magic_hour_job"
        return self.other_jobs.get((task_ids, map_indexes))

    def get_task_states(self, dag_id: str, task_ids: list[str], run_ids: list[str]) -> dict[str, Any]:
        """Return the states of a task's instances in this run, as Airflow names them."""
        assert (dag_id, run_ids) == (self.dag_id, [self.run_id])
        own = {self.task_id if self.map_index < 0 else f"{self.task_id}_{self.map_index}": "running"}
        states: dict[str, Any] = {}
        for task_id in task_ids:
            states |= own if task_id == self.task_id else {}
            states |= self.other_states.get(task_id, {})
        return {self.run_id: states}

    def get_first_reschedule_date(self, context: Any) -> None:
        """Say that the sensor was never rescheduled."""

    def next_attempt(self) -> None:
        """Begin an attempt: Airflow gives it an id of its own, and clears the XComs of the one before."""
        self.try_number += 1
        self.id = uuid.uuid4()
        self._ti_context_from_server = SimpleNamespace(xcom_keys_to_clear=list(self.xcoms))
        self.xcoms = {}

    def clear(self, retries: int = 0, *, keep: bool = False) -> None:
        """Clear the finished task instance, as a person does in the UI.

        An Airflow whose clear discards the task state (apache/airflow#72100) removes its rows of the store; files and
        the keys of XComs stay.

        :param keep: whether "Keep task state" is ticked, as the Media tab and the command line do it.
        """
        self.max_tries = self.try_number + retries
        self.clear_number += 1
        if clears.clear_discards_state() and not keep and isinstance(self.store, Store):
            self.store.rows.clear()

    def _dag_run(self) -> SimpleNamespace:
        return SimpleNamespace(clear_number=self.clear_number, start_date=self.run_start)

    @property
    def record(self) -> Any:
        """The ledger's record."""
        return self.store.get("magic_hour.job") if self.store else None

    def context(self, operator: Any) -> Any:
        """Return what Airflow hands to ``execute``."""
        context = {"ti": self, "task": operator, "dag_run": self._dag_run()}
        context["outlet_events"] = self.outlet_events = OutletEventAccessors()
        if isinstance(self.store, Store):
            context["task_state_store"] = self.store
        return context


class Connected:
    """Runs attempts of tasks against the simulator; waiting moves the simulator's time instead of passing real time."""

    def __init__(self, sim: Simulator, monkeypatch: pytest.MonkeyPatch, output: Path) -> None:
        self.sim, self.clock, self.output, self._patch = sim, SimulatedClock(sim), output, monkeypatch
        self.events: list[dict[str, Any]] = []
        self._running: TaskInstance | None = None
        set_clock(monkeypatch, self.clock)
        monkeypatch.setattr(XCom, "delete", self._delete_xcom)
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
        """Make an operator; an image generator by default."""
        request = {"image_count": 1, "style": {"prompt": "a lighthouse"}} if request is None else request
        options = {"task_id": "make", "output_path": str(self.output / "out")} | options
        return MagicHourOperator(tool=tool, request=request, **options)

    def attempt(self, operator: Any, ti: TaskInstance) -> Any:
        """Run one attempt to its end, deferrals included."""
        ti.next_attempt()
        result = self.resume(operator, ti, self.start(operator, ti))
        ti.xcom_push("return_value", result)
        return result

    def start(self, operator: Any, ti: TaskInstance) -> Any:
        """Run the first half of an attempt: its result, or the deferral."""
        self._running = ti
        try:
            return operator.execute(ti.context(operator))
        except TaskDeferred as deferred:
            return deferred

    def _delete_xcom(self, *, key: str, task_id: str, map_index: int, **_: str) -> None:
        ti = self._running
        assert ti is not None
        assert (ti.task_id, ti.map_index) == (task_id, map_index)
        del ti.xcoms[key]

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


class Given:
    """An earlier task's output."""

    def __init__(self, value: object) -> None:
        self.value = value

    def resolve(self, context: object) -> object:
        """Return the value."""
        return self.value

    def iter_references(self) -> list[Any]:
        """Say which tasks it comes from."""
        return []


async def first_event(trigger: BaseTrigger) -> dict[str, Any]:
    """Run a trigger until its event."""
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger sent no event")
