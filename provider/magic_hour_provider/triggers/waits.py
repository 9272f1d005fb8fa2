"""What a trigger's stored arguments mean now: when to poll its jobs, when to give up, when it may send its event."""

from __future__ import annotations

from dataclasses import dataclass

from magic_hour_provider import clock
from magic_hour_provider.polling.durations import Durations
from magic_hour_provider.polling.schedule import PollState, Schedule
from magic_hour_provider.triggers.learned.table import get_durations_table
from magic_hour_provider.triggers.resume_delay import resume_delay_s


@dataclass(frozen=True)
class Wait:
    """One deferral's wait, as the triggerer begins it. Its times are of one monotonic clock, in seconds.

    The machine's clock is read once, by :meth:`begin`; from then on time is counted by one that nobody sets, so that
    a jump ends no wait and begins no burst.

    :param durations: what is known of how long such jobs take.
    :param schedule: the jobs' polling intervals, which follow from that.
    :param now: the time when it began.
    :param began_at: the same by the machine's clock, in seconds since 1970.
    :param deferred_at: when the task deferred.
    :param not_before: when an event may be sent at the earliest.
    :param deadline: when to give up.
    :param needs_files: False: nobody waits for a link that is missing.
    """

    durations: Durations
    schedule: Schedule
    now: float
    began_at: float
    deferred_at: float
    not_before: float
    deadline: float
    needs_files: bool

    @classmethod
    def begin(
        cls,
        *,
        conn_id: str,
        kind: str,
        tool: str,
        polling: str | None,
        deferred_at: float,
        deadline: float,
        needs_files: bool,
    ) -> Wait:
        """Begin the wait.

        :param conn_id: their connection.
        :param kind: the jobs' kind.
        :param tool: slug of their tool, or their kind where the tool is not known.
        :param polling: name of the polling class; None: the tool's default.
        :param deferred_at: time of the deferral, in seconds since 1970.
        :param deadline: when to give up, in seconds since 1970.
        """
        durations = get_durations_table().find(conn_id, tool, kind, polling)
        monotonic, now = clock.current().monotonic(), clock.current().now()
        # A clock that was ahead when the deadline was set, or is behind now, gives no wait longer than was asked for.
        left = min(deadline - now, deadline - deferred_at)
        return cls(
            durations=durations,
            schedule=durations.schedule,
            now=monotonic,
            began_at=now,
            deferred_at=monotonic - max(0.0, now - deferred_at),
            not_before=monotonic + resume_delay_s(deferred_at, now),
            deadline=monotonic + left,
            needs_files=needs_files,
        )

    def poll_state(self, submitted_at: float) -> PollState:
        """Return the state of one job's wait.

        :param submitted_at: time of its submission, in seconds since 1970.
        """
        return PollState(
            self.schedule,
            submitted_at=self.now - max(0.0, self.began_at - submitted_at),
            deadline=self.deadline,
            needs_files=self.needs_files,
        )

    def first_poll_at(self, state: PollState) -> float:
        """Return the time of a job's first poll: one before an event may be sent would be in vain."""
        return state.first_poll_at(self.now, not_before=self.not_before)
