"""The jobs of one batch that are polled, and the one future that their trigger awaits."""

from __future__ import annotations

import asyncio
from collections import Counter

from magic_hour_provider.api.errors import InvalidResponseError, MagicHourError, RequestRejectedError
from magic_hour_provider.api.models import COMPLETE, Job
from magic_hour_provider.polling.progress import describe_failed_poll
from magic_hour_provider.polling.schedule import REFUSED, TIMEOUT, Outcome, PollDecision
from magic_hour_provider.times import format_duration, parse_time
from magic_hour_provider.triggers.polled_job import PolledJob
from magic_hour_provider.triggers.waits import Wait

REACHED = "reached"
"""Status of a wait that has what it waited for: so many jobs have ended, or all."""
LINKS_AGING = "links-aging"
"""Status of a wait that ends as the links to a complete job's files grow old."""

DUE = "due"
"""Status of a wait that ends as its time has come."""

LINK_LIFE_S = 24 * 3600.0
"""How long links live (https://docs.magichour.ai/integration/inputs-and-outputs), where a link does not say it."""
LINK_MARGIN = 0.25
"""The part of a link's life, six hours of the usual 24, that is left to the worker to start and to download."""

# A line per poll or per job would be read by nobody.
_LINE_S = 60.0
_LINE_WITHOUT_NEWS_S = 600.0
_MAX_CODE = 100  # characters of an error code that an event keeps


class BatchJob(PolledJob):
    """One job of a batch: what becomes of it is news to its batch, and it has no words of its own.

    :param batch: its batch.
    :param more: as of :class:`.polled_job.PolledJob`, with the batch's kind and times.
    """

    __slots__ = ("_batch",)

    def __init__(self, batch: PolledBatch, kind: str, job_id: str, submitted_at: float) -> None:
        wait = batch.wait
        state = wait.poll_state(submitted_at)
        super().__init__(kind, job_id, state, wait.now, not_before=wait.not_before, durations=wait.durations)
        self._batch = batch

    def record_poll(self, observation: Job | MagicHourError, decision: PollDecision, now: float) -> None:
        """Record a poll and what follows from it."""
        if isinstance(observation, Job) and not observation.ended:
            self.active_at = now
        self.outcome = decision.outcome
        self._batch.record_poll(self, observation, decision.outcome, now)

    def end(self, outcome: Outcome, words: str, now: float) -> None:  # noqa: ARG002 (the batch counts)
        """End the wait without a poll."""
        self.outcome = outcome
        self._batch.record_end(self, None, outcome, now)

    def fail(self, failure: BaseException) -> None:
        """Let the trigger fail with an error that is no response of the service's."""
        self.failure = failure
        self._batch.fail(failure)


class PolledBatch:
    """Jobs that one trigger waits for together. All times are of one monotonic clock, in seconds.

    :param wait: the wait for them.
    :param kind: their kind.
    :param jobs: when each was submitted, in seconds since 1970, by its id.
    :param wake_at: number of ended jobs with which the wait ends; more than there are: all, less than 1: the first.
    :param may_be_due: whether :meth:`end_due` will end the wait, so that it may be one for no job at all.
    """

    def __init__(
        self, wait: Wait, kind: str, jobs: dict[str, float], wake_at: int, *, may_be_due: bool = False
    ) -> None:
        self.wait = wait
        self.size = len(jobs)
        self.jobs = [BatchJob(self, kind, job_id, submitted_at) for job_id, submitted_at in jobs.items()]
        self.ended: dict[str, Outcome] = {}
        """How jobs have ended, by their ids; one that was only waited for in vain is not among them."""
        self.status: str | None = None if jobs or may_be_due else REACHED
        """Why the wait has ended; None: it has not."""
        self.failure: BaseException | None = None
        self.message: str | None = None
        """What the task's log does not have yet; only the newest is kept, however slow the reader is."""
        self._wake_at = min(max(1, wake_at), self.size)
        self._timed_out = 0
        self._ended_jobs: list[BatchJob] = []
        self._links_old_at = float("inf")
        self._polls = self._failed_polls = 0
        self._last_failure: tuple[MagicHourError, str] | None = None
        self._logged_at = wait.now
        self._logged_ended = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def active(self) -> int:
        """How many of the jobs are not known to have ended."""
        return self.size - len(self.ended)

    # -- for the trigger

    def changed(self) -> asyncio.Future[None]:
        """Return a future that is done as soon as a job or the wait has ended, or there is a message or a failure."""
        self._waiter = asyncio.get_running_loop().create_future()
        if self._ended_jobs or self.status is not None or self.message is not None or self.failure is not None:
            self._waiter.set_result(None)
        return self._waiter

    def take_ended_jobs(self) -> list[BatchJob]:
        """Return the jobs that need no more polls, each once."""
        jobs, self._ended_jobs = self._ended_jobs, []
        return jobs

    def take_message(self) -> str | None:
        """Return the message for the log, once."""
        message, self.message = self.message, None
        return message

    def end_due(self) -> None:
        """End the wait, as its time has come."""
        self.status = self.status or DUE
        self._wake()

    # -- for its jobs

    def record_poll(
        self, job: BatchJob, observation: Job | MagicHourError, outcome: Outcome | None, now: float
    ) -> None:
        """Record a poll of a job.

        :param outcome: how its wait has ended; None: it has not.
        """
        self._polls += 1
        if isinstance(observation, MagicHourError):
            self._failed_polls += 1
            self._last_failure = observation, job.job_id
        if outcome is not None:
            self.record_end(job, observation, outcome, now)
        else:
            self._check(now)

    def record_end(self, job: BatchJob, observation: Job | MagicHourError | None, outcome: Outcome, now: float) -> None:
        """Record that a job needs no more polls.

        :param observation: what its last poll saw; None: there was none.
        """
        self._ended_jobs.append(job)
        if outcome.status == TIMEOUT:
            self._timed_out += 1
        elif outcome.status == REFUSED and not isinstance(observation, InvalidResponseError | RequestRejectedError):
            # The key or the connection: a poll of another job would meet the same.
            self.status = self.status or REFUSED
        else:
            self.ended[job.job_id] = outcome
            if outcome.status == COMPLETE and isinstance(observation, Job) and self.wait.needs_files:
                self._links_old_at = min(self._links_old_at, self._find_links_old_at(job, observation, now))
        self._check(now)
        self._wake()

    def fail(self, failure: BaseException) -> None:
        """Let the trigger fail: a bug is not a job's end."""
        self.failure = failure
        self._wake()

    def _check(self, now: float) -> None:
        """End the wait, or write a line, if it is time: asked with each poll, so that it needs no timer."""
        if self.status is not None:
            return
        has_all = len(self.ended) + self._timed_out == self.size
        if has_all or len(self.ended) >= self._wake_at:
            are_refused = has_all and all(one.status == REFUSED for one in self.ended.values())
            self.status = TIMEOUT if self._timed_out else REFUSED if are_refused else REACHED
        elif now >= self._links_old_at:
            self.status = LINKS_AGING
        elif now - self._logged_at >= _LINE_S:
            has_news = len(self.ended) > self._logged_ended or self._failed_polls > 0
            if not has_news and now - self._logged_at < _LINE_WITHOUT_NEWS_S:
                return
            self.message = self._format_line(now)
        else:
            return
        self._wake()

    def _find_links_old_at(self, job: BatchJob, observation: Job, now: float) -> float:
        """Return when the first link to a complete job's files has only its margin of life left."""
        wall = self.wait.began_at + (now - self.wait.now)
        # It ended after it was last seen active, by us or by the worker that deferred.
        active_at = job.active_at if job.active_at is not None else self.wait.deferred_at
        usual = active_at + LINK_LIFE_S * (1 - LINK_MARGIN)
        ends = [parse_time(link.expires_at) for link in observation.downloads if link is not None]
        # One that has expired already says that our clock is wrong.
        known = [usual if end is None or end <= wall else now + (end - wall) * (1 - LINK_MARGIN) for end in ends]
        return min(known, default=float("inf"))  # a face detection has no files

    def _format_line(self, now: float) -> str:
        kinds = Counter(outcome.status for outcome in self.ended.values())
        how = f" ({', '.join(f'{count} {status}' for status, count in kinds.most_common())})" if kinds else ""
        failed = ""
        if self._last_failure is not None:
            last = describe_failed_poll(*self._last_failure).removeprefix("poll failed: ")
            failed = f"; {self._failed_polls} of {self._polls} polls failed, the last one with: {last}"
        after, left = format_duration(now - self.wait.deferred_at), format_duration(self.wait.deadline - now)
        self._logged_at, self._logged_ended = now, len(self.ended)
        self._polls = self._failed_polls = 0
        self._last_failure = None
        return (
            f"Magic Hour batch after {after}: {len(self.ended)} of {self.size} jobs have ended{how}, {self.active} "
            f"under way{failed}; giving up in {left}."
        )

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def to_event(self) -> dict[str, object]:
        """Return the event: how jobs have ended, by their ids, and why the wait has."""
        ended = {
            job_id: [one.status, one.error_code and one.error_code[:_MAX_CODE]] for job_id, one in self.ended.items()
        }
        return {"ended": ended, "status": self.status}
