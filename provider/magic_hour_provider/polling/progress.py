"""What a person is told while a job is waited for: what changed, how old it is, when the next poll is."""

from __future__ import annotations

import sys

from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.api.models import Job
from magic_hour_provider.polling.schedule import Outcome, PollState

# Nobody reads a line per poll: without anything new there is a sign of life this often.
_SIGN_OF_LIFE_S = 600.0


def duration(seconds: float) -> str:
    """Return a duration in words, such as ``85 s`` or ``2 h 5 min``."""
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """What is known of one job's wait. All times are of one clock, in seconds.

    :param job_id: the job.
    :param wait: its wait.
    :param now: the time.
    """

    __slots__ = ("_failing_said_at", "_said_at", "job_id", "polls", "status", "wait")

    def __init__(self, job_id: str, wait: PollState, now: float) -> None:
        self.job_id = job_id
        self.wait = wait
        self.polls = 0
        self.status: str | None = None
        self._said_at = now
        self._failing_said_at = float("-inf")

    def on_poll(self, observation: Job | MagicHourError, decided: float | Outcome, now: float) -> str | None:
        """Take what a poll saw and what follows; return the sentence for the task's log, or None if it is no news.

        News are a new status, the end, the first of failing polls, and now and then that the wait goes on.
        """
        self.polls += 1
        news = None
        if isinstance(observation, MagicHourError):
            if isinstance(decided, Outcome) or now - self._failing_said_at >= _SIGN_OF_LIFE_S:
                news, self._failing_said_at = f"poll failed: {str(observation).rstrip('.')}", now
        else:
            news = observation.status if observation.status != self.status else None
            self.status = sys.intern(observation.status)  # ten thousand jobs share a few words
        if isinstance(decided, Outcome):
            return self.ended(news or f"no longer waited for ({decided.status})", now)
        if news is None and now - self._said_at < _SIGN_OF_LIFE_S:
            return None
        left = duration(self.wait.deadline - now)
        return self._format(
            f"{news or self._still()}; next poll in {duration(decided - now)}, giving up in {left}", now
        )

    def ended(self, words: str, now: float) -> str:
        """Return the last sentence."""
        return self._format(f"{words}; {self.polls} poll{'' if self.polls == 1 else 's'}", now)

    def _still(self) -> str:
        if self.wait.failed_polls:
            return f"{self.status or 'not seen yet'}, and the last {self.wait.failed_polls} polls failed"
        return f"still {self.status or 'not seen'}"

    def _format(self, words: str, now: float) -> str:
        self._said_at = now
        return f"Magic Hour job {self.job_id} after {duration(now - self.wait.submitted_at)}: {words}."
