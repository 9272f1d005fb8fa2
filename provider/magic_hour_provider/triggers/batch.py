"""Trigger of a batch: waits for all of its jobs under way with one coroutine, holds no worker, and never pays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from magic_hour_provider import clock
from magic_hour_provider.triggers.polled_batch import PolledBatch
from magic_hour_provider.triggers.poller import get_poller
from magic_hour_provider.triggers.waits import Wait

_ALWAYS = ("kind", "tool", "conn_id", "jobs", "deferred_at", "deadline", "wake_at")
_AT_ONCE = 100  # jobs that are handed over before the loop has another turn


class MagicHourBatchTrigger(BaseTrigger):
    """Waits for jobs of one batch and sends one event: ``{"ended": {id: [status, error_code]}, "status"}``.

    It is sent as soon as one of these is so, and never in the task's first seconds away (:mod:`.resume_delay`):

    - ``reached``: ``wake_at`` of the jobs have ended, or all.
    - ``links-aging``: the links to the files of one that is complete have a quarter of their life left, which is six
      hours of the usual 24.
    - ``due``: ``wake_by`` has come.
    - ``timeout``: the deadline has come, and each job was polled once more where the service let us.
    - ``refused``: the key is rejected, the connection cannot be used, or no job can be polled.

    ``ended`` has the jobs that were seen to have ended, however they did, so that the event is never larger than the
    window. A single job whose responses stay unreadable is among them as ``refused``. A delivery of a webhook resumes
    nothing here: a worker's start for each would cost more than the poll that sees the end a little later.

    All arguments are plain values and none is secret: they are stored in Airflow's database. The same arguments have
    the same deadline, however often the triggerer restarts.

    :param kind: the jobs' kind: ``video``, ``image``, ``audio`` or ``face-detection``.
    :param tool: slug of their tool, or their kind where the tool is not known.
    :param conn_id: the connection.
    :param jobs: ``[id, time of its submission in seconds since 1970]`` of each job under way. Of an id that is there
        twice the first counts.
    :param deferred_at: time of the deferral, in seconds since 1970.
    :param deadline: when to give up, in seconds since 1970.
    :param wake_at: number of ended jobs that are worth a worker; more than there are jobs: all of them.
    :param polling: name of the polling class, where the request made it another one than the tool's default.
    :param needs_files: False: the jobs' files are stored nowhere, so that nobody waits for a link that is missing, or
        uses one before it is old.
    :param wake_by: when a worker is needed at the latest, in seconds since 1970; None: for nothing but the jobs.
    """

    def __init__(
        self,
        kind: str,
        tool: str,
        conn_id: str,
        jobs: Sequence[Sequence[Any]],
        deferred_at: float,
        deadline: float,
        wake_at: int,
        polling: str | None = None,
        needs_files: bool = True,
        wake_by: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = kind
        self.tool = tool
        self.conn_id = conn_id
        first: dict[str, float] = {}
        for job_id, submitted_at in jobs:
            first.setdefault(job_id, submitted_at)
        self.jobs: list[list[Any]] = [list(one) for one in first.items()]
        self.deferred_at = deferred_at
        self.deadline = deadline
        self.wake_at = wake_at
        self.polling = polling
        self.needs_files = needs_files
        self.wake_by = wake_by
        self._batch: PolledBatch | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments.

        Triggerers of other versions read them too: what was not needed before is left out where it is not needed now.
        """
        arguments = {name: getattr(self, name) for name in _ALWAYS}
        if self.polling is not None:
            arguments["polling"] = self.polling
        if not self.needs_files:
            arguments["needs_files"] = False
        if self.wake_by is not None:
            arguments["wake_by"] = self.wake_by
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the jobs and send the event."""
        batch = self._batch = self._polled_batch()
        timer = self._start_timer(batch)
        try:
            if batch.jobs:
                await self._poll(batch)
            while batch.status is None:
                await batch.changed()
        finally:
            if timer is not None:
                timer.cancel()
        await clock.current().async_sleep(max(0.0, batch.wait.not_before - clock.current().monotonic()))
        yield TriggerEvent(batch.to_event())

    def _start_timer(self, batch: PolledBatch) -> asyncio.Handle | None:
        """End the wait when a worker is needed at the latest."""
        if self.wake_by is None:
            return None
        # As with the deadline: a clock that was ahead, or is behind now, gives no longer wait.
        left = min(self.wake_by - batch.wait.began_at, self.wake_by - self.deferred_at)
        return clock.current().call_later(max(0.0, left), batch.end_due)

    async def _poll(self, batch: PolledBatch) -> None:
        poller = get_poller(self.conn_id)
        try:
            for number, job in enumerate(batch.jobs, 1):
                poller.add(job, batch.wait.first_poll_at(job.state))
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
            while batch.status is None or batch.message is not None:
                await batch.changed()
                for job in batch.take_ended_jobs():
                    await poller.leave(job)
                if (message := batch.take_message()) is not None:
                    # Off the loop, as in the trigger of one job: a log's pipe may be full.
                    await self.log.ainfo(message)
                if batch.failure is not None:
                    raise batch.failure
        finally:
            for job in batch.jobs:
                await poller.leave(job)

    def _polled_batch(self) -> PolledBatch:
        wait = Wait.begin(
            conn_id=self.conn_id,
            kind=self.kind,
            tool=self.tool,
            polling=self.polling,
            deferred_at=self.deferred_at,
            deadline=self.deadline,
            needs_files=self.needs_files,
        )
        return PolledBatch(wait, self.kind, dict(self.jobs), self.wake_at, may_be_due=self.wake_by is not None)

    async def on_kill(self) -> None:
        """Log that the jobs keep running. They are not touched: Airflow calls this for other ends of the wait too."""
        self.log.info(
            "No longer waiting for this Magic Hour batch: the task was resumed or stopped. Jobs that keep running: %d. "
            "That stops none of them: unless they have ended they stay charged; cancel videos by hand at %s. The next "
            "attempt resumes them and pays nothing.",
            self._batch.active if self._batch is not None else len(self.jobs),
            "https://magichour.ai/my-library",
        )
