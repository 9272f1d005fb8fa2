"""The inbox is bounded, answers in time whatever the database does, and loses nothing that it need not lose."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter

import pytest
from sqlalchemy.exc import OperationalError

from helpers.clocks import HeldClock, MovableTime
from helpers.waiting import HANG_S
from magic_hour_provider.api.webhooks import Delivery
from magic_hour_provider.clock import override
from magic_hour_provider.plugin.webhooks import inbox as module
from magic_hour_provider.plugin.webhooks.inbox import Inbox, InboxFullError

UNAVAILABLE = OperationalError("SELECT 1", {}, ConnectionError("gone"))


def delivery(number=0):
    """Return a delivery of its own job."""
    return Delivery(type="video.completed", kind="video", event="completed", id=f"job{number}")


class Database:
    """Does the work, as slowly and as badly as a test asks."""

    def __init__(self):
        self.calls, self.free, self.fails, self.waits = Counter(), threading.Event(), 0, []
        self.free.set()

    def process(self, one, conn_id, state, now, is_recheck):
        """Stand for the work on one delivery."""
        assert self.free.wait(HANG_S)
        self.calls[one.key, is_recheck] += 1
        if self.fails:
            self.fails -= 1
            raise UNAVAILABLE
        return self.waits.pop(0) if self.waits else None


def run(story):
    """Run a story with an inbox on an event loop."""

    async def whole():
        database, clock = Database(), HeldClock(MovableTime(time.time))
        with override(clock):
            await story(Inbox(database.process), database, clock)

    asyncio.run(whole())


async def soon(found):
    """Wait until something is there."""
    async with asyncio.timeout(10):
        while not found():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.005)


def test_work_that_is_quick_is_done_before_the_answer():
    """One call, and nothing is kept."""

    async def story(inbox, database, clock):
        assert await inbox.accept(delivery(), "mine") is True
        assert (database.calls.total(), inbox._in_progress, inbox._scheduled) == (1, {}, {})

    run(story)


def test_work_that_is_slow_continues_after_the_response():
    """The answer comes within a second; repeats of the delivery meanwhile cost nothing."""

    async def story(inbox, database, clock):
        database.free.clear()
        assert module._RESPONSE_S < 1
        assert await inbox.accept(delivery(), "mine") is False, "the response came while the work could not be done"
        assert await inbox.accept(delivery(), "mine") is False
        database.free.set()
        await soon(lambda: not inbox._in_progress)
        assert database.calls.total() == 1

    run(story)


def test_a_database_that_is_away_before_the_answer():
    """Magic Hour is asked to send it again, so nothing is tried here."""

    async def story(inbox, database, clock):
        database.fails = 1
        with pytest.raises(OperationalError):
            await inbox.accept(delivery(), "mine")
        assert (database.calls.total(), inbox._in_progress, clock.waits) == (1, {}, [])
        assert await inbox.accept(delivery(), "mine") is True

    run(story)


@pytest.mark.parametrize(("fails", "calls", "said"), [(2, 3, None), (9, 4, "is lost")])
def test_a_database_that_is_away_after_the_answer(fails, calls, said, caplog):
    """It is retried, and abandoned with a line in the log: polling continues."""

    async def story(inbox, database, clock):
        database.free.clear()
        database.fails = fails
        assert await inbox.accept(delivery(), "mine") is False
        database.free.set()
        for tries in range(1, calls):
            await soon(lambda tries=tries: len(clock.waits) == tries)
            clock.advance(60)
        await soon(lambda: not inbox._in_progress)
        assert database.calls.total() == calls

    run(story)
    assert any("is lost" in line for line in caplog.messages) == (said is not None)


def test_no_more_than_so_many_at_once(monkeypatch):
    """One more is refused; when there is room again it is taken."""
    monkeypatch.setattr(module, "_MAX_IN_PROGRESS", 3)

    async def story(inbox, database, clock):
        database.free.clear()
        await asyncio.gather(*(inbox.accept(delivery(number), "mine") for number in range(3)))
        with pytest.raises(InboxFullError):
            await inbox.accept(delivery(3), "mine")
        database.free.set()
        await soon(lambda: not inbox._in_progress)
        assert await inbox.accept(delivery(3), "mine") is True

    run(story)


def test_a_delivery_that_is_early_is_held(caplog):
    """It is checked again when its time has come, a few times at the most."""

    async def story(inbox, database, clock):
        database.waits = [10.0] * 50
        assert await inbox.accept(delivery(), "mine") is True
        assert await inbox.accept(delivery(), "mine") is False, "held already"
        while inbox._scheduled:
            clock.advance(10)
            await asyncio.sleep(0.005)
        assert database.calls == {
            ("job0:video.completed", False): 1,
            ("job0:video.completed", True): module._MAX_RECHECKS,
        }

    run(story)


def test_no_more_than_so_many_are_held(monkeypatch, caplog):
    """One more is left to polling, with a line in the log; its other work is done."""
    monkeypatch.setattr(module, "_MAX_SCHEDULED", 2)

    async def story(inbox, database, clock):
        database.waits = [10.0] * 3
        assert [await inbox.accept(delivery(number), "mine") for number in range(3)] == [True] * 3
        assert len(inbox._scheduled) == 2
        for held in list(inbox._scheduled.values()):
            held.cancel()

    run(story)
    assert any("job2 is left to polling" in line for line in caplog.messages)


def test_a_database_that_is_away_while_a_delivery_is_held():
    """The check counts as one that found nothing: there is another."""

    async def story(inbox, database, clock):
        database.waits = [10.0]
        await inbox.accept(delivery(), "mine")
        database.fails = 1
        await soon(lambda: clock.waits)
        clock.advance(10)
        await soon(lambda: len(clock.waits) == 2)
        clock.advance(10)
        await soon(lambda: not inbox._scheduled)
        assert database.calls.total() == 3

    run(story)
