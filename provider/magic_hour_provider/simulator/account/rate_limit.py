"""The account's rate limit: how many polls are answered per second."""

from __future__ import annotations

from collections import deque

from magic_hour_provider.simulator.behavior import Behavior
from magic_hour_provider.simulator.errors import ApiError

_WINDOW_S = 1.0


class RateLimit:
    """Refuses polls beyond a number within any second.

    :param behavior: the limit, and whether a refusal says how long to wait.
    """

    def __init__(self, behavior: Behavior) -> None:
        self._max_polls = behavior.polls_per_second
        self._retry_after = 1 if behavior.retry_after == "included" else None
        self._answered: deque[float] = deque()

    def check(self, now: float) -> None:
        """Count a poll, unless it is beyond the limit.

        :param now: the time, in seconds of the simulator's clock.
        :raises ApiError: 429, there were too many within the last second.
        """
        if not self._max_polls:
            return
        while self._answered and self._answered[0] <= now - _WINDOW_S:
            self._answered.popleft()
        if len(self._answered) >= self._max_polls:
            sentence = f"More than {self._max_polls} requests per second."
            raise ApiError(429, "too_many_requests", sentence, retry_after=self._retry_after)
        self._answered.append(now)
