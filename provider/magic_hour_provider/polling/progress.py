"""Log messages about a job that is being polled: what changed, its age, when the next poll is."""

from __future__ import annotations

import re
import sys

from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.api.models import Job
from magic_hour_provider.polling.schedule import TIMEOUT, PollDecision, PollState
from magic_hour_provider.times import format_duration

# A line per poll would be read by nobody: without news there is a message this often.
_HEARTBEAT_S = 600.0


def describe_failed_poll(error: MagicHourError, job_id: str) -> str:
    """Return what a failed poll met, for a log line that names the job already."""
    return f"poll failed: {re.sub(rf' when polling [a-z-]+ job {re.escape(job_id)}', '', error.message).rstrip('.')}"


class Progress:
    """Progress of one job's wait. All times are of one clock, in seconds.

    :param job_id: the job.
    :param state: the state of its wait.
    :param now: the time.
    """

    __slots__ = ("_failure_logged_at", "_logged_at", "job_id", "polls", "state", "status")

    def __init__(self, job_id: str, state: PollState, now: float) -> None:
        self.job_id = job_id
        self.state = state
        self.polls = 0
        self.status: str | None = None
        """The status that a poll saw last."""
        self._logged_at = now
        self._failure_logged_at = float("-inf")

    def on_poll(self, observation: Job | MagicHourError, decision: PollDecision, now: float) -> str | None:
        """Record a poll; return the message for the task's log, or None without news.

        News are a new status, the end, the first of failed polls, and every ten minutes that the wait continues.

        :param observation: what the poll saw.
        :param decision: what follows from it.
        """
        self.polls += 1
        news = None
        if isinstance(observation, MagicHourError):
            is_told = decision.outcome is not None and decision.outcome.status != TIMEOUT  # by the error that follows
            if not is_told and (decision.outcome is not None or now - self._failure_logged_at >= _HEARTBEAT_S):
                news, self._failure_logged_at = describe_failed_poll(observation, self.job_id), now
        else:
            status = observation.status
            if observation.missing_files and decision.outcome is None:
                status = f"{status}, but without links to all of its files"
            news = status if status != self.status else None
            self.status = sys.intern(status)  # ten thousand jobs share a few words
        if decision.outcome is not None:
            return self.on_end(news or f"no longer waited for ({decision.outcome.status})", now)
        if news is None and now - self._logged_at < _HEARTBEAT_S:
            return None
        following, left = format_duration(decision.next_poll_at - now), format_duration(self.state.deadline - now)
        return self._format(f"{news or self._no_news()}; next poll in {following}, giving up in {left}", now)

    def on_end(self, words: str, now: float) -> str:
        """Return the last message."""
        return self._format(f"{words}; {self.polls} poll{'' if self.polls == 1 else 's'}", now)

    def _no_news(self) -> str:
        if self.state.failed_polls:
            return f"{self.status or 'not seen yet'}, and the last {self.state.failed_polls} polls failed"
        return f"still {self.status or 'not seen'}"

    def _format(self, words: str, now: float) -> str:
        self._logged_at = now
        return f"Magic Hour job {self.job_id} after {format_duration(now - self.state.submitted_at)}: {words}."
