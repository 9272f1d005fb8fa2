"""One job in a watcher: what was seen of it, and what its task's log is told."""

from __future__ import annotations

import asyncio

from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.api.jobs import Job
from magic_hour_provider.api.waiting import Outcome, Wait

# Nobody reads a line per look: without anything new there is a sign of life this often.
_SIGN_OF_LIFE_S = 600.0


def duration(seconds: float) -> str:
    """Return a duration in words, such as ``85 s`` or ``2 h 5 min``."""
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class Watched:
    """One job that a trigger waits for. All times are of one steady clock, in seconds.

    :param kind: the job's kind.
    :param job_id: its id.
    :param wait: decides when to look.
    :param not_before: when an event may be sent at the earliest.
    :param now: the time.
    """

    __slots__ = (
        "_failing_said_at",
        "_said_at",
        "_waiter",
        "active_at",
        "failure",
        "job_id",
        "kind",
        "left",
        "looking",
        "looks",
        "not_before",
        "outcome",
        "refusals",
        "sentence",
        "status",
        "wait",
    )

    def __init__(self, kind: str, job_id: str, wait: Wait, *, not_before: float, now: float) -> None:
        self.kind = kind
        self.job_id = job_id
        self.wait = wait
        self.not_before = not_before
        self.looks = 0
        self.looking = False
        self.refusals = 0
        """Looks in a row that were refused."""
        self.left = False
        """Nobody waits for it any more."""
        self.status: str | None = None
        self.active_at: float | None = None
        """When a look last saw it active."""
        self.sentence: str | None = None
        """What its task's log has not been told yet; only the newest is kept, however slow the reader is."""
        self.outcome: Outcome | None = None
        self.failure: BaseException | None = None
        self._said_at = now
        self._failing_said_at = float("-inf")
        self._waiter: asyncio.Future[None] | None = None

    def changed(self) -> asyncio.Future[None]:
        """Return what is done as soon as there is a sentence or an end."""
        self._waiter = asyncio.get_running_loop().create_future()
        if self.sentence is not None or self.outcome is not None or self.failure is not None:
            self._waiter.set_result(None)
        return self._waiter

    def saw(self, seen: Job | MagicHourError, decided: float | Outcome, now: float) -> None:
        """Take what a look saw and what follows from it; wakes the trigger only if that is news."""
        news = None
        if isinstance(seen, MagicHourError):
            if isinstance(decided, Outcome) or now - self._failing_said_at >= _SIGN_OF_LIFE_S:
                news, self._failing_said_at = f"this look failed: {seen}", now
        else:
            if seen.status != self.status:
                news = seen.status
            self.status = seen.status
            if not seen.ended:
                self.active_at = now
        if isinstance(decided, Outcome):
            self.end(decided, news or f"no longer waited for: {decided.status}", now)
        elif news is not None or now - self._said_at >= _SIGN_OF_LIFE_S:
            following = f"looking again in {duration(decided - now)}"
            self._say(f"{news or self._still()}; {following}", now)

    def end(self, outcome: Outcome, words: str, now: float) -> None:
        """End the wait."""
        self.outcome = outcome
        self._say(f"{words}; {self.looks} looks", now)

    def fail(self, failure: BaseException) -> None:
        """Let the trigger fail with an error that is no answer of the service's: a bug is not a job's end."""
        self.failure = failure
        self._wake()

    def _still(self) -> str:
        if self.wait.failing_looks:
            return f"{self.status or 'not seen yet'}, and the last {self.wait.failing_looks} looks failed"
        return f"still {self.status or 'not seen'}"

    def _say(self, words: str, now: float) -> None:
        age, left = now - self.wait.submitted_at, self.wait.deadline - now
        limit = f", giving up in {duration(left)}" if self.outcome is None else ""
        self.sentence = f"Magic Hour job {self.job_id} after {duration(age)}: {words}{limit}."
        self._said_at = now
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
