"""One job in a watcher."""

from __future__ import annotations

import asyncio

from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.api.models import Job
from magic_hour_provider.polling.progress import Progress
from magic_hour_provider.polling.schedule import Outcome, Wait


class Watched(Progress):
    """One job that a trigger waits for. All times are of one steady clock, in seconds.

    :param kind: the job's kind.
    :param job_id: its id.
    :param wait: decides when to look.
    :param now: the time.
    :param not_before: when an event may be sent at the earliest.
    """

    __slots__ = (
        "_waiter",
        "active_at",
        "failure",
        "kind",
        "left",
        "looking",
        "not_before",
        "outcome",
        "refusals",
        "sentence",
    )

    def __init__(self, kind: str, job_id: str, wait: Wait, now: float, *, not_before: float) -> None:
        super().__init__(job_id, wait, now)
        self.kind = kind
        self.not_before = not_before
        self.looking = False
        self.refusals = 0
        """Looks in a row that were refused."""
        self.left = False
        """Nobody waits for it any more."""
        self.active_at: float | None = None
        """When a look last saw it active."""
        self.sentence: str | None = None
        """What its task's log has not been told yet; only the newest is kept, however slow the reader is."""
        self.outcome: Outcome | None = None
        self.failure: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    def changed(self) -> asyncio.Future[None]:
        """Return what is done as soon as there is a sentence or an end."""
        self._waiter = asyncio.get_running_loop().create_future()
        if self.sentence is not None or self.outcome is not None or self.failure is not None:
            self._waiter.set_result(None)
        return self._waiter

    def told(self) -> str | None:
        """Return the sentence that the log is told now."""
        sentence, self.sentence = self.sentence, None
        return sentence

    def looked(self, seen: Job | MagicHourError, decided: float | Outcome, now: float) -> None:
        """Take what a look saw and what follows from it; wakes the trigger only if that is news."""
        if isinstance(seen, Job) and not seen.ended:
            self.active_at = now
        if isinstance(decided, Outcome):
            self.outcome = decided
        if (sentence := self.saw(seen, decided, now)) is not None:
            self._tell(sentence)

    def end(self, outcome: Outcome, words: str, now: float) -> None:
        """End the wait without a look."""
        self.outcome = outcome
        self._tell(self.ended(words, now))

    def fail(self, failure: BaseException) -> None:
        """Let the trigger fail with an error that is no answer of the service's: a bug is not a job's end."""
        self.failure = failure
        self._wake()

    def _tell(self, sentence: str) -> None:
        self.sentence = sentence
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
