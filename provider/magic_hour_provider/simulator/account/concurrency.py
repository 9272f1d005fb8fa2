"""How many jobs of the account run at the same time, and what becomes of one more."""

from __future__ import annotations

from collections.abc import Iterable

from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.errors import ApiError
from magic_hour_provider.simulator.jobs.job import SimulatedJob

_RETRY_AFTER_S = 5


class ConcurrencyLimit:
    """Lets jobs wait, or refuses them, beyond a number of active ones.

    :param behavior: the limit, what happens beyond it, and whether a refusal says how long to wait.
    """

    def __init__(self, behavior: Behavior) -> None:
        self._limit, self._beyond = behavior.concurrent_jobs, behavior.concurrent_jobs_beyond
        self._retry_after = _RETRY_AFTER_S if behavior.retry_after == "included" else None

    def apply(self, job: SimulatedJob, others: Iterable[SimulatedJob], now: float) -> None:
        """Set how long a new job waits for others to end.

        :param others: every job accepted before.
        :param now: the time, in seconds since 1970 on the simulator's clock.
        :raises ApiError: 429, there are too many.
        """
        if not self._limit:
            return
        ends = sorted(one.ends_at for one in others if not one.is_over(now) and not one.deleted)
        if len(ends) < self._limit:
            return
        if self._beyond == "refused":
            sentence = f"The plan runs {self._limit} jobs at the same time, and so many are active."
            raise ApiError(429, "too_many_requests", sentence, retry_after=self._retry_after)
        job.queue_s = ends[-self._limit] - now
