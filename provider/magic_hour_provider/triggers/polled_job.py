"""One job in a poller."""

from __future__ import annotations

import asyncio

from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.api.models import Job
from magic_hour_provider.polling.progress import Progress
from magic_hour_provider.polling.schedule import Outcome, PollState


class PolledJob(Progress):
    """One job that a trigger waits for. All times are of one steady clock, in seconds.

    :param kind: the job's kind.
    :param job_id: its id.
    :param wait: decides when to poll.
    :param now: the time.
    :param not_before: when an event may be sent at the earliest.
    """

    __slots__ = (
        "_waiter",
        "active_at",
        "failure",
        "kind",
        "left",
        "message",
        "not_before",
        "outcome",
        "polling",
        "refusals",
    )

    def __init__(self, kind: str, job_id: str, wait: PollState, now: float, *, not_before: float) -> None:
        super().__init__(job_id, wait, now)
        self.kind = kind
        self.not_before = not_before
        self.polling = False
        self.refusals = 0
        """Polls in a row that were refused."""
        self.left = False
        """Nobody waits for it any more."""
        self.active_at: float | None = None
        """When a poll last saw it active."""
        self.message: str | None = None
        """What its task's log has not been told yet; only the newest is kept, however slow the reader is."""
        self.outcome: Outcome | None = None
        self.failure: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    def changed(self) -> asyncio.Future[None]:
        """Return what is done as soon as there is a message or an end."""
        self._waiter = asyncio.get_running_loop().create_future()
        if self.message is not None or self.outcome is not None or self.failure is not None:
            self._waiter.set_result(None)
        return self._waiter

    def take_message(self) -> str | None:
        """Return the message that the log is told now."""
        message, self.message = self.message, None
        return message

    def record_poll(self, observation: Job | MagicHourError, decided: float | Outcome, now: float) -> None:
        """Take what a poll saw and what follows from it; wakes the trigger only if that is news."""
        if isinstance(observation, Job) and not observation.ended:
            self.active_at = now
        if isinstance(decided, Outcome):
            self.outcome = decided
        if (message := self.on_poll(observation, decided, now)) is not None:
            self._set_message(message)

    def end(self, outcome: Outcome, words: str, now: float) -> None:
        """End the wait without a poll."""
        self.outcome = outcome
        self._set_message(self.ended(words, now))

    def fail(self, failure: BaseException) -> None:
        """Let the trigger fail with an error that is no answer of the service's: a bug is not a job's end."""
        self.failure = failure
        self._wake()

    def _set_message(self, message: str) -> None:
        self.message = message
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
