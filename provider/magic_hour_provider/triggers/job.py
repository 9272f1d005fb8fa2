"""The trigger of one job: waits in the triggerer, holds no worker, asks nothing paid."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from magic_hour_provider.api.catalog import TOOLS, Tool
from magic_hour_provider.api.clock import CLOCK, Clock
from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.api.jobs import Job, library_url
from magic_hour_provider.api.waiting import Outcome, Schedule, Wait
from magic_hour_provider.triggers.settling import settling_s
from magic_hour_provider.triggers.watcher import watching


class MagicHourJobTrigger(BaseTrigger):
    """Waits for one job and sends one event: ``{"kind", "id", "status", "error_code"}``.

    All arguments are plain values and none is secret: they are stored in Airflow's database.

    :param kind: ``video``, ``image``, ``audio`` or ``face-detection``.
    :param job_id: the job's id.
    :param tool: slug of its tool, or its kind where the tool is not known.
    :param conn_id: the connection.
    :param submitted_at: time of the submission, in seconds since 1970.
    :param deferred_at: time of the deferral, in seconds since 1970.
    :param deadline: when to give up, in seconds since 1970. It stays the same when the triggerer restarts.
    """

    clock: ClassVar[Clock] = CLOCK

    def __init__(
        self,
        kind: str,
        job_id: str,
        tool: str,
        conn_id: str,
        submitted_at: float,
        deferred_at: float,
        deadline: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = kind
        self.job_id = job_id
        self.tool = tool
        self.conn_id = conn_id
        self.submitted_at = submitted_at
        self.deferred_at = deferred_at
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        names = ("kind", "job_id", "tool", "conn_id", "submitted_at", "deferred_at", "deadline")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the job and send its event."""
        outcome = await self._outcome()
        await self.clock.pause(settling_s(self.deferred_at, self.clock.now()))
        yield TriggerEvent(
            {"kind": self.kind, "id": self.job_id, "status": outcome.status, "error_code": outcome.error_code}
        )

    async def _outcome(self) -> Outcome:
        tool = TOOLS.get(self.tool)
        schedule = Schedule.of((tool or Tool(self.tool, self.kind, "/")).polling_class(), tool)
        wait = Wait(schedule, submitted_at=self.submitted_at, deadline=self.deadline)
        due = wait.first_look(self.clock.now())
        shown: str | None = None
        async with watching(self.conn_id) as watcher:
            while True:
                await self.clock.pause(max(0.0, due - self.clock.now()))
                seen: Job | MagicHourError
                try:
                    seen = await watcher.look(self.kind, self.job_id)
                except MagicHourError as error:
                    seen = error
                now = self.clock.now()
                decided = wait.decide(seen, now)
                # A line where something changed, not one per look.
                news = seen.status if isinstance(seen, Job) else str(seen)
                if news != shown:
                    shown = news
                    self.log.info("Magic Hour job %s after %.0f s: %s", self.job_id, now - self.submitted_at, news)
                if isinstance(decided, Outcome):
                    return decided
                due = decided

    async def on_kill(self) -> None:
        """Say that the job goes on. It is not touched: Airflow calls this also when something else resumes the task."""
        self.log.info(
            "No longer waiting for Magic Hour job %s. The job itself goes on and stays charged; a video can be "
            "canceled by hand at %s.",
            self.job_id,
            library_url(self.kind, self.job_id) or "magichour.ai",
        )
