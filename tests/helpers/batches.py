"""Attempts of batches against the simulator."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from helpers.attempts import Connected, TaskInstance
from helpers.places import CLOUDS
from magic_hour_provider.batch.records import folder
from magic_hour_provider.batch.run.results import read_results
from magic_hour_provider.operators.batch import MagicHourBatchOperator
from magic_hour_provider.storage.exclusive import NotExclusiveError
from magic_hour_provider.triggers.batch import MagicHourBatchTrigger

PROMPT = {"image_count": 1, "style": {"prompt": "a lighthouse"}}


class Batches:
    """Runs attempts of batches, one folder for all.

    :param airflow: the simulator, connected.
    """

    def __init__(self, airflow: Connected) -> None:
        self.airflow = airflow
        self.folder = str(airflow.output / "campaign")
        self.deferrals = 0

    def use(self, storage: str, request: pytest.FixtureRequest) -> None:
        """Keep everything in another storage: ``files``, ``memory``, ``s3``, ``s3 without conditions``, or a cloud.

        :param request: of the test.
        """
        if storage == "memory":  # of this process, with a name of its own in it
            self.folder = f"memory://{uuid.uuid4().hex}/campaign"
        elif storage in CLOUDS:
            opened = request.getfixturevalue("cloud_place")(storage)
            self.folder = f"{next(opened).uri}/campaign"
            request.addfinalizer(lambda: next(opened, None))
        elif storage.startswith("s3"):
            self.folder = f"{request.getfixturevalue('bucket').uri}/campaign"
        if storage == "s3 without conditions":

            def refused(*_: object) -> None:
                raise NotExclusiveError

            request.getfixturevalue("monkeypatch").setattr(folder, "create_file", refused)

    def operator(self, requests: Any, **options: Any) -> MagicHourBatchOperator:
        """Make an operator; of images by default."""
        options = {
            "task_id": "campaign",
            "tool": "ai-image-generator",
            "request": PROMPT,
            "output_path": self.folder,
        } | options
        return MagicHourBatchOperator(requests=requests, **options)

    def attempt(self, operator: MagicHourBatchOperator, ti: TaskInstance) -> dict[str, Any]:
        """Run one attempt to its end, deferrals included."""
        ti.next_attempt()
        outcome: Any = self.start(operator, ti)
        while isinstance(outcome, TaskDeferred):
            outcome = self.resume(operator, ti, outcome)
        return outcome

    def start(self, operator: MagicHourBatchOperator, ti: TaskInstance) -> Any:
        """Run the first part of an attempt: its manifest, or the deferral."""
        try:
            return operator.execute(ti.context(operator))
        except TaskDeferred as deferred:
            return deferred

    def resume(self, operator: MagicHourBatchOperator, ti: TaskInstance, deferred: TaskDeferred) -> Any:
        """Wait as the triggerer does, and run the next part."""
        self.deferrals += 1
        path, kwargs = deferred.trigger.serialize()
        assert path == "magic_hour_provider.triggers.batch.MagicHourBatchTrigger"
        event = asyncio.run(_first_event(MagicHourBatchTrigger(**json.loads(json.dumps(kwargs)))))
        more = {**(deferred.kwargs or {}), "event": json.loads(json.dumps(event))}
        try:
            return operator.resume_execution(deferred.method_name, more, ti.context(operator))
        except TaskDeferred as again:
            return again

    def creates(self) -> int:
        """How many paid requests the simulator accepted."""
        return self.airflow.creates()


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    """Return rows with an id and a prompt of their own."""
    return [{"sku": f"shoe-{number}", "style": {"prompt": f"shoe {number}"}, **more} for number in range(count)]


def results(manifest: Any) -> dict[str, dict[str, Any]]:
    """Return the rows of a batch's results by their ids."""
    return {row["item_id"]: row for row in read_results(manifest)}


async def _first_event(trigger: MagicHourBatchTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger sent no event")
