"""The rate of an account, by the numbers: no clock, no server but a few lines."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from magic_hour_provider.polling.rate_limiter import Rate


class Server:
    """Answers at most so many looks within any second."""

    def __init__(self, most: float, retry_after: float | None = None) -> None:
        self.most, self.retry_after = most, retry_after
        self.answered: deque[float] = deque()
        self.refused = 0

    def look(self, rate: Rate, now: float) -> None:
        """Take one look and tell the rate what came of it."""
        while self.answered and self.answered[0] <= now - 1:
            self.answered.popleft()
        if len(self.answered) < self.most:
            self.answered.append(now)
            rate.answered(now)
        else:
            self.refused += 1
            rate.refused(now, now, self.retry_after)


def looks(rate: Rate, server: Server, count: int, start: float = 0.0) -> list[float]:
    """Send so many looks, all of them due from the start, and return their times."""
    now, times = start, []
    while len(times) < count:
        if rate.next_at > now:
            rate.waited(now)
            now = rate.next_at
        rate.sent(now)
        server.look(rate, now)
        times.append(now)
    return times


def test_a_thousand_looks_at_once_begin_slowly():
    """A burst goes out at ten per second first, and faster as answers come."""
    times = looks(Rate(), Server(10**9), 1000)
    assert 8 <= sum(time < 1 for time in times) <= 13
    assert times[-1] < 30
    assert all(later - earlier >= 1 / 201 for earlier, later in pairwise(times))


def test_a_limit_is_found_and_kept():
    """Behind a limit of 40 per second hardly a look is refused, and most of the limit is used."""
    for retry_after in (None, 1.0):
        server = Server(40, retry_after)
        times = looks(Rate(), server, 5000)
        assert server.refused / 5000 <= 0.01
        assert 5000 / times[-1] >= 20


def test_a_tiny_limit():
    """Two looks per second are found as well as forty."""
    server = Server(2)
    looks(Rate(), server, 1000)
    assert server.refused / 1000 <= 0.05


def test_retry_after_stops_everybody():
    """After a 429 nobody looks before its Retry-After is over, and then at half the rate."""
    rate = Rate()
    rate.sent(5.0)
    rate.refused(5.0, 5.1, 30.0)
    assert rate.next_at == 35.1
    assert rate.per_second == 5.0
    rate.refused(5.0, 5.2, None)  # was under way when the first came back
    assert (rate.next_at, rate.per_second) == (35.1, 5.0)


def test_a_spell_in_which_everything_is_refused():
    """It says nothing about the rate that the service takes: minutes later that is nearly reached again."""
    rate = Rate()
    looks(rate, Server(40), 3000)
    before = rate.per_second
    now, closed = 1000.0, Server(0)
    while now < 1120:
        now = looks(rate, closed, 1, now)[-1]
    assert rate.per_second < 0.1
    again = looks(rate, Server(40), 2000, now)
    assert again[-1] < now + 240
    assert rate.per_second > before / 2


def test_a_rate_that_was_not_used_does_not_rise():
    """A thousand looks, one per second, say nothing about what the service can take."""
    rate, server = Rate(), Server(10**9)
    for second in range(1000):
        rate.sent(second)
        server.look(rate, second)
    assert rate.per_second == 10


def test_the_connection_bounds_the_rate():
    """The extra of the connection bounds the start and the growth."""
    rate = Rate()
    rate.limit(4.0)
    times = looks(rate, Server(10**9), 100)
    assert rate.per_second == 4
    assert times[-1] > 24
