"""Attempts whose trigger may end the task, with the channel between a triggerer and Airflow."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from airflow.models.trigger import Trigger
from airflow.providers.common.compat.sdk import DAG, TaskDeferred
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import SetXCom
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from helpers.attempts import Connected, TaskInstance
from magic_hour_provider.triggers.job import MagicHourJobTrigger


class Triggerer:
    """Runs attempts to their end, wherever that is; what triggers push comes to the task instance as JSON."""

    def __init__(self, airflow: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
        self.airflow = airflow
        self.ti = TaskInstance()
        self.events: list[TriggerEvent] = []
        self.pushed: list[str] = []
        self.failing: str | None = None
        """The key of an XCom that cannot be written."""
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", self, raising=False)

    async def asend(self, message: Any) -> None:
        """Write an XCom, as Airflow's triggerer does for its triggers."""
        await asyncio.sleep(0)
        if not isinstance(message, SetXCom):
            raise ConnectionError("only XComs are written here")  # the connection is in the environment
        if message.key == self.failing:
            raise ConnectionError("the database is away")
        assert (message.dag_id, message.run_id) == (self.ti.dag_id, self.ti.run_id)
        assert (message.task_id, message.map_index) == (self.ti.task_id, self.ti.map_index)
        self.ti.xcom_push(message.key, message.value)
        self.pushed.append(message.key)

    def operator(self, tool: str = "text-to-video", request: Any = None, **options: Any) -> Any:
        """Make an operator that stores nothing, in a DAG."""
        request = {"end_seconds": 3, "style": {"prompt": "a lighthouse"}} if request is None else request
        with DAG(self.ti.dag_id, schedule=None):
            return self.airflow.operator(tool, request, **{"output_path": ""} | options)

    def defer(self, operator: Any) -> TaskDeferred:
        """Run an attempt until it is deferred."""
        self.ti.next_attempt()
        outcome = self.airflow.start(operator, self.ti)
        assert isinstance(outcome, TaskDeferred)
        return outcome

    def trigger_of(self, deferred: TaskDeferred) -> MagicHourJobTrigger:
        """Return the trigger of a deferral as Airflow's database gives it to a triggerer."""
        row = Trigger.from_object(deferred.trigger)
        trigger = MagicHourJobTrigger(**json.loads(json.dumps(row.kwargs)))
        trigger.task_instance = self.ti
        return trigger

    async def event_of(self, trigger: MagicHourJobTrigger) -> TriggerEvent:
        """Run a trigger to its event."""
        (event,) = [event async for event in trigger.run()]
        return event

    def finish(self, operator: Any, outcome: Any) -> str:
        """Run an attempt from its deferral on; return what ended it: ``trigger`` or ``worker``."""
        while isinstance(outcome, TaskDeferred):
            event = asyncio.run(self.event_of(self.trigger_of(outcome)))
            self.events.append(event)
            if isinstance(event, TaskSuccessEvent):
                assert event.xcoms is None
                return "trigger"
            arguments = {**(outcome.kwargs or {}), "event": event.payload}
            try:
                outcome = operator.resume_execution(outcome.method_name, arguments, self.ti.context(operator))
            except TaskDeferred as deferred:
                outcome = deferred
        self._push_result(operator, outcome)
        return "worker"

    def settle_at_less(self, operator: Any) -> int:
        """Run an attempt whose trigger ends it, and whose job is charged less in the end; return that charge."""
        deferred = self.defer(operator)
        job = list(self.airflow.sim._service._jobs.values())[-1]
        job.final_price = job.price - 20
        assert self.finish(operator, deferred) == "trigger"
        return int(job.final_price)

    def attempt(self, operator: Any) -> str:
        """Run an attempt to its end; return what ended it: ``trigger`` or ``worker``."""
        self.ti.next_attempt()
        return self.finish(operator, self.airflow.start(operator, self.ti))

    def _push_result(self, operator: Any, result: dict[str, Any]) -> None:
        """Push what a task returned, and its link, as Airflow's worker does."""
        for key, value in result.items() if operator.multiple_outputs else ():
            self.ti.xcom_push(key, value)
        self.ti.xcom_push("return_value", result)
        self.ti.xcom_push("library_url", self.ti.xcoms["magic_hour_job"]["library_url"] or "")
