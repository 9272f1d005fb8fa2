"""Rate limiter of one account: halved by a 429, then raised along a cubic curve, as TCP CUBIC does (RFC 9438)."""

from __future__ import annotations

DEFAULT_MAX_RATE = 200.0
"""Polls per second at the most, unless the connection says otherwise: a tenth of one core at 0.5 ms per poll."""

_START_RATE = 10.0
_MIN_RATE = 0.05
# While nothing is known of the service's limit, each response raises the rate by this: it doubles in 3.5 s.
_INCREASE = 0.2
# From half of a rate that was throttled back to that rate, in seconds: fast at first, then slowly past it, so that few
# polls are lost to trying. What lies far beyond it is reached as fast again: a spell of refusals may have had nothing
# to do with our rate, and one that is left at a thirtieth would keep thousands of jobs waiting.
_RECOVERY_S = 30.0
# The part of a throttled rate that is added in each second around that rate.
_SLOWEST = 1 / 120
# The part of a throttled rate that is aimed at where even less is left than the last time: others share the limit, and
# get their part of it (RFC 9438, 4.7).
_YIELDED = 0.75
# Polls that a busy event loop sent late may be made up for, at most by so many seconds' worth.
_CATCH_UP_S = 0.05


class RateLimiter:
    """Rate at which one account is polled. All times are of one monotonic clock, in seconds.

    It rises only while it is what holds polls back: a rate that was never used says nothing about the service.

    :param max_rate: polls per second at the most.
    """

    def __init__(self, max_rate: float = DEFAULT_MAX_RATE) -> None:
        self.max_rate = max_rate
        self.per_second = min(_START_RATE, max_rate)
        self.next_at = 0.0
        """When the next poll may be sent."""
        self._throttled_rate: float | None = None
        self._cut_at = float("-inf")
        self._success_since_cut = True
        self._waited_at = float("-inf")

    def set_max_rate(self, max_rate: float) -> None:
        """Bound the rate, in polls per second."""
        self.max_rate = max_rate
        self.per_second = min(self.per_second, max_rate)

    def on_wait(self, now: float) -> None:
        """Record that a poll is due and has to wait for its turn."""
        self._waited_at = now

    def on_send(self, now: float) -> None:
        """Record that a poll is sent."""
        self.next_at = max(self.next_at, now - _CATCH_UP_S) + 1 / self.per_second

    def on_success(self, sent_at: float) -> None:
        """Record a response other than a 429.

        :param sent_at: when that poll was sent.
        """
        if sent_at < self._cut_at:
            return
        self._success_since_cut = True
        # A slow rate's last wait was before its last poll.
        if self._waited_at < sent_at - max(1.0, 2 / self.per_second):
            return
        if self._throttled_rate is None:
            self.per_second += _INCREASE
        else:
            # The slope of 1 + (s - 1)³ / 2, for s recovery times since the cut, at the height where the rate is now.
            distance = abs(self.per_second / self._throttled_rate - 1)
            slope = max(_SLOWEST, 1.5 * (2 * distance) ** (2 / 3) / _RECOVERY_S)
            # Doubled at the most: after a long refusal the rate is a small part of the one that was throttled.
            self.per_second += min(self.per_second, self._throttled_rate * slope / self.per_second)
        self.per_second = min(self.per_second, self.max_rate)

    def on_throttled(self, sent_at: float, now: float, retry_after: float | None) -> None:
        """Record a 429: no poll is sent before ``Retry-After`` is over, and then at half the rate.

        :param sent_at: when that poll was sent; those sent before a cut do not cut again.
        :param retry_after: seconds that the service asks for, or None.
        """
        if sent_at >= self._cut_at:
            if self._success_since_cut:
                # Not where nothing succeeded since the last cut: a service that throttles everything for a minute
                # says nothing about the rate, which would take hours to rise again from there.
                is_less = self._throttled_rate is not None and self.per_second < self._throttled_rate
                self._throttled_rate = self.per_second * (_YIELDED if is_less else 1)
            self._success_since_cut = False
            self.per_second = max(min(_MIN_RATE, self.max_rate), self.per_second / 2)
            self._cut_at = now
        self.next_at = max(self.next_at, now + max(retry_after or 0.0, 1 / self.per_second))
