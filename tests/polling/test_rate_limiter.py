"""The rate limiter by the numbers, against a server of a few lines."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from magic_hour_provider.polling.rate_limiter import RateLimiter


class Server:
    """Answers at most so many polls within any second."""

    def __init__(self, most: float, retry_after: float | None = None) -> None:
        self.most, self.retry_after = most, retry_after
        self.answered: deque[float] = deque()
        self.refused = 0

    def poll(self, rate: RateLimiter, now: float) -> None:
        """Take one poll and tell the rate what came of it."""
        while self.answered and self.answered[0] <= now - 1:
            self.answered.popleft()
        if len(self.answered) < self.most:
            self.answered.append(now)
            rate.on_success(now)
        else:
            self.refused += 1
            rate.on_throttled(now, now, self.retry_after)


def polls(rate: RateLimiter, server: Server, count: int, start: float = 0.0) -> list[float]:
    """Send so many polls, all of them due from the start, and return their times."""
    now, times = start, []
    while len(times) < count:
        if rate.next_at > now:
            rate.on_wait(now)
            now = rate.next_at
        rate.on_send(now)
        server.poll(rate, now)
        times.append(now)
    return times


def test_a_thousand_polls_at_once_begin_slowly():
    """A burst goes out at ten per second first, and faster as answers come."""
    times = polls(RateLimiter(), Server(10**9), 1000)
    assert 8 <= sum(time < 1 for time in times) <= 13
    assert times[-1] < 30
    assert all(later - earlier >= 1 / 201 for earlier, later in pairwise(times))


def test_a_limit_is_found_and_kept():
    """Behind a limit of 40 per second hardly a poll is refused, and most of the limit is used."""
    for retry_after in (None, 1.0):
        server = Server(40, retry_after)
        times = polls(RateLimiter(), server, 5000)
        assert server.refused / 5000 <= 0.01
        assert 5000 / times[-1] >= 20


def test_a_tiny_limit():
    """Two polls per second are found as well as forty."""
    server = Server(2)
    polls(RateLimiter(), server, 1000)
    assert server.refused / 1000 <= 0.05


def test_retry_after_stops_everybody():
    """After a 429 nobody polls before its Retry-After is over, and then at half the rate."""
    rate = RateLimiter()
    rate.on_send(5.0)
    rate.on_throttled(5.0, 5.1, 30.0)
    assert rate.next_at == 35.1
    assert rate.per_second == 5.0
    rate.on_throttled(5.0, 5.2, None)  # was under way when the first came back
    assert (rate.next_at, rate.per_second) == (35.1, 5.0)


def test_a_spell_in_which_everything_is_refused():
    """It says nothing about the rate that the service takes: minutes later that is nearly reached again."""
    rate = RateLimiter()
    polls(rate, Server(40), 3000)
    before = rate.per_second
    now, closed = 1000.0, Server(0)
    while now < 1120:
        now = polls(rate, closed, 1, now)[-1]
    assert rate.per_second < 0.1
    again = polls(rate, Server(40), 2000, now)
    assert again[-1] < now + 240
    assert rate.per_second > before / 2


def test_a_spell_in_which_every_second_poll_is_refused():
    """It had nothing to do with the rate: some two minutes later jobs are polled as fast as at the start again."""
    rate, now = RateLimiter(), 0.0
    for refused in (True, False) * 6:
        now = max(now, rate.next_at)
        rate.on_wait(now)
        rate.on_send(now)
        if refused:
            rate.on_throttled(now, now, 2.0)
        else:
            rate.on_success(now)
    assert rate.per_second < 1
    times = polls(rate, Server(10**9), 400, now)
    assert rate.per_second > 10
    assert times[-1] < now + 150


def test_it_is_doubled_at_the_most():
    """However little is left of a throttled rate: a first success makes no burst."""
    rate = RateLimiter()
    rate.on_send(0.0)
    rate.on_throttled(0.0, 0.0, None)
    now = 0.0
    for _ in range(6):
        now = rate.next_at
        rate.on_wait(now)
        rate.on_send(now)
        rate.on_throttled(now, now, None)
    before = rate.per_second
    now = polls(rate, Server(10**9), 1, now)[-1]
    assert before < 0.1
    assert rate.per_second == 2 * before


def test_a_second_refusal_below_the_first():
    """Others have joined, and are left something: the rate stays below the refused one for longer than before."""

    def recovered(refusals):
        rate, now = RateLimiter(), 0.0
        for _ in range(refusals):
            refused = rate.per_second
            rate.on_throttled(now, now, None)
            now = polls(rate, Server(10**9), 1, now)[-1]
        began = now
        while rate.per_second < refused:
            now = polls(rate, Server(10**9), 1, now)[-1]
        return now - began

    assert 15 < recovered(1) < 30
    assert recovered(2) > 1.3 * recovered(1)


def test_several_share_a_limit():
    """Three triggerers, one of them late, on two polls per second: none is left without, and most of it is used."""
    rates, server, times = [RateLimiter() for _ in range(3)], Server(2), [0.0, 0.0, 120.0]
    taken = [0, 0, 0]
    while (now := min(times)) < 1800:
        one = times.index(now)
        rates[one].on_wait(now)
        rates[one].on_send(now)
        before = server.refused
        server.poll(rates[one], now)
        taken[one] += now >= 600 and server.refused == before
        times[one] = max(now + 0.001 * (one + 1), rates[one].next_at)
    assert min(taken) / 1200 >= 0.2
    assert sum(taken) / 1200 >= 1.1


def test_a_connection_that_wants_next_to_nothing():
    """A rate below the least one is not exceeded after a 429."""
    rate = RateLimiter()
    rate.set_max_rate(0.01)
    rate.on_throttled(1.0, 1.0, None)
    assert rate.per_second == 0.01


def test_a_rate_that_was_not_used_does_not_rise():
    """A thousand polls, one per second, say nothing about what the service can take."""
    rate, server = RateLimiter(), Server(10**9)
    for second in range(1000):
        rate.on_send(second)
        server.poll(rate, second)
    assert rate.per_second == 10


def test_the_connection_bounds_the_rate():
    """The extra of the connection bounds the start and the growth."""
    rate = RateLimiter()
    rate.set_max_rate(4.0)
    times = polls(rate, Server(10**9), 100)
    assert rate.per_second == 4
    assert times[-1] > 24
