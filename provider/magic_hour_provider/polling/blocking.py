"""The worker's poll loop."""

from __future__ import annotations

from collections.abc import Callable

from magic_hour_provider import clock
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.api.models import Job
from magic_hour_provider.polling.progress import Progress
from magic_hour_provider.polling.schedule import Outcome, PollState


def poll_until(
    client: MagicHourClient,
    kind: str,
    job_id: str,
    state: PollState,
    *,
    first: float,
    until: float,
    on_poll: Callable[[Job | MagicHourError, str | None], None],
) -> tuple[Job | MagicHourError | None, Outcome | None]:
    """Poll a job on this worker until it ends, or until the next poll would fall after ``until``.

    :param state: decides when to poll.
    :param first: time of the first poll, in seconds since 1970.
    :param until: latest time of a poll, in seconds since 1970.
    :param on_poll: called with what each poll saw, and the message for the task's log if that is news.
    :returns: what the last poll saw (None: no poll was due), and the outcome, or None while the job is active.
    """
    observation: Job | MagicHourError | None = None
    # The time at the start, counted on by a clock that nobody sets: if the machine's jumps meanwhile, no poll is
    # skipped and none is made too soon.
    offset = clock.current().now() - clock.current().monotonic()
    progress = Progress(job_id, state, clock.current().monotonic() + offset)
    due = first
    while due <= until:
        if (pause := due - (clock.current().monotonic() + offset)) > 0:
            clock.current().sleep(pause)
        try:
            observation = client.get_job(kind, job_id)
        except MagicHourError as error:
            observation = error
        now = clock.current().monotonic() + offset
        decision = state.next_action(observation, now)
        on_poll(observation, progress.on_poll(observation, decision, now))
        if decision.outcome is not None:
            return observation, decision.outcome
        due = decision.next_poll_at
    return observation, None
