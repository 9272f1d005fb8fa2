"""A job being polled, and the future its trigger awaits."""

from __future__ import annotations

import asyncio

from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.api.models import COMPLETE, Job
from magic_hour_provider.polling.durations import Durations
from magic_hour_provider.polling.progress import Progress
from magic_hour_provider.polling.schedule import Outcome, PollDecision, PollState


class PolledJob(Progress):
    """One job that a trigger waits for. All times are of one monotonic clock, in seconds.

    :param kind: the job's kind.
    :param job_id: its id.
    :param state: the state of its wait.
    :param now: the time.
    :param not_before: when an event may be sent at the earliest.
    :param durations: learns how long it took.
    """

    __slots__ = (
        "_waiter",
        "active_at",
        "complete",
        "durations",
        "failure",
        "kind",
        "left",
        "message",
        "not_before",
        "outcome",
        "rejections",
    )

    def __init__(
        self, kind: str, job_id: str, state: PollState, now: float, *, not_before: float, durations: Durations
    ) -> None:
        super().__init__(job_id, state, now)
        self.kind = kind
        self.not_before = not_before
        self.durations = durations
        self.rejections = 0
        """Polls in a row whose key was rejected."""
        self.left = False
        """Nobody waits for it any more."""
        self.active_at: float | None = None
        """When a poll last saw it active."""
        self.complete: Job | None = None
        """The job as the poll saw it that saw its end."""
        self.message: str | None = None
        """What its task's log does not have yet; only the newest is kept, however slow the reader is."""
        self.outcome: Outcome | None = None
        self.failure: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    def changed(self) -> asyncio.Future[None]:
        """Return a future that is done as soon as there is a message, an outcome or a failure."""
        self._waiter = asyncio.get_running_loop().create_future()
        if self.message is not None or self.outcome is not None or self.failure is not None:
            self._waiter.set_result(None)
        return self._waiter

    def take_message(self) -> str | None:
        """Return the message for the log, once."""
        message, self.message = self.message, None
        return message

    def next_due(self, now: float) -> float:
        """Return when to poll, as a poll is due: now, or later where a restored schedule begins later.

        What an earlier triggerer has learned may arrive only after the wait has begun.
        """
        restored = self.durations.restored
        if restored is None or self.state.schedule is not self.durations.published:
            return now
        self.state.schedule = restored
        is_first = self.active_at is None and self.state.failed_polls == 0
        return self.state.first_poll_at(now, not_before=self.not_before) if is_first else now

    def record_poll(self, observation: Job | MagicHourError, decision: PollDecision, now: float) -> None:
        """Record a poll and what follows from it; wakes the trigger only for news."""
        if isinstance(observation, Job) and not observation.ended:
            self.active_at = now
        if decision.outcome is not None:
            self.outcome = decision.outcome
            if isinstance(observation, Job) and decision.outcome.status == COMPLETE:
                self.complete = observation
        if (message := self.on_poll(observation, decision, now)) is not None:
            self._set_message(message)

    def record_duration(self, now: float) -> None:
        """Record how long it took, as a poll has just seen it complete."""
        began_at = self.state.submitted_at
        active_age_s = None if self.active_at is None else self.active_at - began_at
        self.durations.record(self.state.schedule, active_age_s=active_age_s, complete_age_s=now - began_at)

    def end(self, outcome: Outcome, words: str, now: float) -> None:
        """End the wait without a poll."""
        self.outcome = outcome
        self._set_message(self.on_end(words, now))

    def fail(self, failure: BaseException) -> None:
        """Let the trigger fail with an error that is no response of the service's: a bug is not a job's end."""
        self.failure = failure
        self._wake()

    def _set_message(self, message: str) -> None:
        self.message = message
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
