"""Trigger of one job: waits in the triggerer, holds no worker, and never pays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from magic_hour_provider import clock
from magic_hour_provider.api.errors import describe_credits
from magic_hour_provider.api.models import Job, library_url
from magic_hour_provider.outputs.result import UNSTORED
from magic_hour_provider.triggers.ending.push import push_xcoms
from magic_hour_provider.triggers.ending.task_end import TaskEnd
from magic_hour_provider.triggers.polled_job import PolledJob
from magic_hour_provider.triggers.poller import get_poller
from magic_hour_provider.triggers.waits import Wait

_ALWAYS = ("kind", "job_id", "tool", "conn_id", "submitted_at", "deferred_at", "deadline")


class MagicHourJobTrigger(BaseTrigger):
    """Waits for one job and sends one event: ``{"kind", "id", "status", "error_code"}``.

    Given ``task_end`` it ends the task of a job that is complete itself, with the XComs that a worker would have
    pushed. Whatever else happens, and wherever there is a doubt, is a worker's to judge: it sends the event.

    All arguments are plain values and none is secret: they are stored in Airflow's database.

    :param kind: ``video``, ``image``, ``audio`` or ``face-detection``.
    :param job_id: the job's id.
    :param tool: slug of its tool, or its kind where the tool is not known.
    :param conn_id: the connection.
    :param submitted_at: time of the submission, in seconds since 1970.
    :param deferred_at: time of the deferral, in seconds since 1970.
    :param deadline: when to give up, in seconds since 1970. It stays the same when the triggerer restarts.
    :param polling: name of the polling class, where the request made it another one than the tool's default.
    :param needs_files: False: the job's files are stored nowhere, so that nobody waits for a link that is missing.
    :param task_end: of a task that needs no second worker: :class:`.ending.task_end.TaskEnd` as a text.
    """

    def __init__(
        self,
        kind: str,
        job_id: str,
        tool: str,
        conn_id: str,
        submitted_at: float,
        deferred_at: float,
        deadline: float,
        polling: str | None = None,
        needs_files: bool = True,
        task_end: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = kind
        self.job_id = job_id
        self.tool = tool
        self.conn_id = conn_id
        self.submitted_at = submitted_at
        self.deferred_at = deferred_at
        self.deadline = deadline
        self.polling = polling
        self.needs_files = needs_files
        self.task_end = task_end

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments.

        Triggerers of other versions read them too: what was not needed before is left out where it is not needed now.
        """
        arguments = {name: getattr(self, name) for name in _ALWAYS}
        if self.polling is not None:
            arguments["polling"] = self.polling
        if not self.needs_files:
            arguments["needs_files"] = False
        if self.task_end is not None:
            arguments["task_end"] = self.task_end
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the job and send its event."""
        job, due = self._polled_job()
        poller = get_poller(self.conn_id)
        poller.add(job, due)
        try:
            while job.outcome is None or job.message is not None:
                await job.changed()
                if (message := job.take_message()) is not None:
                    # Off the loop: the log is a pipe to a process that does not read while it writes to the database,
                    # and when it is full, writing blocks (seen for 4 s, with 100 jobs that ended at once).
                    await self.log.ainfo(message)
                if job.failure is not None:
                    raise job.failure
        finally:
            await poller.leave(job)
        await clock.current().async_sleep(max(0.0, job.not_before - clock.current().monotonic()))
        outcome = job.outcome
        if job.complete is not None and self.task_end is not None and await self._end_task(job.complete):
            yield TaskSuccessEvent()
            return
        yield TriggerEvent(
            {"kind": self.kind, "id": self.job_id, "status": outcome.status, "error_code": outcome.error_code}
        )

    async def _end_task(self, job: Job) -> bool:
        """Push what the task of a complete job returns; False: a worker has to end it."""
        ti, end = self.task_instance, TaskEnd.read(self.task_end or "{}")
        charged = end.settle(job)
        if ti is None or charged is None:
            return False
        try:
            await push_xcoms(ti, end.make_xcoms(job, self.tool, charged))
        except Exception as error:  # noqa: BLE001 (of whatever kind: the worker pushes them all again)
            await self.log.awarning(
                "The result of Magic Hour job %s could not be pushed from the triggerer, so a worker does it: %s",
                job.id,
                error,
            )
            return False
        # Here, as its module reads Airflow's metrics, which DAG files and workers have no use for.
        from magic_hour_provider.triggers.ending.success_metrics import send_success

        await send_success(ti, end, self.tool, charged)
        page = library_url(job.kind, job.id) or "magichour.ai"
        if end.warns:
            await self.log.awarning(UNSTORED, job.id, page)
        await self.log.ainfo(
            "Magic Hour job %s was charged %s. The task ends here, without a second worker, as nothing is to be "
            "stored. See %s",
            job.id,
            describe_credits(charged),
            page,
        )
        return True

    def _polled_job(self) -> tuple[PolledJob, float]:
        """Return the job for the poller, and the time of its first poll."""
        wait = Wait.begin(
            conn_id=self.conn_id,
            kind=self.kind,
            tool=self.tool,
            polling=self.polling,
            deferred_at=self.deferred_at,
            deadline=self.deadline,
            needs_files=self.needs_files,
        )
        state = wait.poll_state(self.submitted_at)
        job = PolledJob(self.kind, self.job_id, state, wait.now, not_before=wait.not_before, durations=wait.durations)
        return job, wait.first_poll_at(state)

    async def on_kill(self) -> None:
        """Log that the job keeps running. It is not touched: a task that a webhook resumed comes here too."""
        self.log.info(
            "No longer waiting for Magic Hour job %s: a webhook resumed the task, or the task was stopped. That does "
            "not stop the job: unless it has ended it keeps running and stays charged; cancel a video by hand at %s.",
            self.job_id,
            library_url(self.kind, self.job_id) or "magichour.ai",
        )
