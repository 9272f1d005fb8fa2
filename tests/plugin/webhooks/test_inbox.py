"""The inbox is bounded, answers in time whatever the database does, and loses nothing that it need not lose."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest
from sqlalchemy.exc import OperationalError

from helpers.webhooks import MovedClock
from magic_hour_provider.api.webhooks import Delivery
from magic_hour_provider.plugin.webhooks import inbox as module
from magic_hour_provider.plugin.webhooks.inbox import Inbox, InboxFullError

AWAY = OperationalError("SELECT 1", {}, ConnectionError("gone"))


def delivery(number=0):
    """Return a delivery of its own job."""
    return Delivery(type="video.completed", kind="video", event="completed", id=f"job{number}")


class Database:
    """Does the work, as slowly and as badly as it is told."""

    def __init__(self):
        self.looks, self.free, self.fails, self.waits = Counter(), threading.Event(), 0, []
        self.free.set()

    def handle(self, one, conn_id, memory, now, again):
        """Stand for the work on one delivery."""
        assert self.free.wait(20)
        self.looks[one.key, again] += 1
        if self.fails:
            self.fails -= 1
            raise AWAY
        return self.waits.pop(0) if self.waits else None


def run(story):
    """Run a story with an inbox on an event loop."""

    async def whole():
        database, clock = Database(), MovedClock()
        await story(Inbox(clock, database.handle), database, clock)

    asyncio.run(whole())


async def soon(found):
    """Wait until something is there."""
    async with asyncio.timeout(10):
        while not found():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.005)


def test_work_that_is_quick_is_done_before_the_answer():
    """One look, and nothing is kept."""

    async def story(inbox, database, clock):
        assert await inbox.take(delivery(), "mine") is True
        assert (database.looks.total(), inbox._at_work, inbox._held) == (1, {}, {})

    run(story)


def test_work_that_is_slow_goes_on_after_the_answer():
    """The answer comes within a second; repeats of the delivery meanwhile cost nothing."""

    async def story(inbox, database, clock):
        database.free.clear()
        begun = asyncio.get_running_loop().time()
        assert await inbox.take(delivery(), "mine") is False
        assert await inbox.take(delivery(), "mine") is False
        assert asyncio.get_running_loop().time() - begun < 1
        database.free.set()
        await soon(lambda: not inbox._at_work)
        assert database.looks.total() == 1

    run(story)


def test_a_database_that_is_away_before_the_answer():
    """Magic Hour is asked to send it again, so nothing is tried here."""

    async def story(inbox, database, clock):
        database.fails = 1
        with pytest.raises(OperationalError):
            await inbox.take(delivery(), "mine")
        assert (database.looks.total(), inbox._at_work, clock.pauses) == (1, {}, [])
        assert await inbox.take(delivery(), "mine") is True

    run(story)


@pytest.mark.parametrize(("fails", "looks", "said"), [(2, 3, None), (9, 4, "is lost")])
def test_a_database_that_is_away_after_the_answer(fails, looks, said, caplog):
    """It is tried again, and given up with a line in the log: looking goes on."""

    async def story(inbox, database, clock):
        database.free.clear()
        database.fails = fails
        assert await inbox.take(delivery(), "mine") is False
        database.free.set()
        for tries in range(1, looks):
            await soon(lambda tries=tries: len(clock.pauses) == tries)
            clock.advance(60)
        await soon(lambda: not inbox._at_work)
        assert database.looks.total() == looks

    run(story)
    assert any("is lost" in line for line in caplog.messages) == (said is not None)


def test_no_more_than_so_many_at_once(monkeypatch):
    """One more is refused; when there is room again it is taken."""
    monkeypatch.setattr(module, "_MOST_AT_WORK", 3)

    async def story(inbox, database, clock):
        database.free.clear()
        await asyncio.gather(*(inbox.take(delivery(number), "mine") for number in range(3)))
        with pytest.raises(InboxFullError):
            await inbox.take(delivery(3), "mine")
        database.free.set()
        await soon(lambda: not inbox._at_work)
        assert await inbox.take(delivery(3), "mine") is True

    run(story)


def test_a_delivery_that_is_early_is_held(caplog):
    """It is looked at again when its time has come, a few times at the most."""

    async def story(inbox, database, clock):
        database.waits = [10.0] * 50
        assert await inbox.take(delivery(), "mine") is True
        assert await inbox.take(delivery(), "mine") is False, "held already"
        while inbox._held:
            clock.advance(10)
            await asyncio.sleep(0.005)
        assert database.looks == {("job0:video.completed", False): 1, ("job0:video.completed", True): module._LOOKS}

    run(story)


def test_no_more_than_so_many_are_held(monkeypatch, caplog):
    """One more is left to its watcher, with a line in the log; its other work is done."""
    monkeypatch.setattr(module, "_MOST_HELD", 2)

    async def story(inbox, database, clock):
        database.waits = [10.0] * 3
        assert [await inbox.take(delivery(number), "mine") for number in range(3)] == [True] * 3
        assert len(inbox._held) == 2
        for held in list(inbox._held.values()):
            held.cancel()

    run(story)
    assert any("job2 is left to its watcher" in line for line in caplog.messages)


def test_a_database_that_is_away_while_a_delivery_is_held():
    """The look counts as one that found nothing: there is another."""

    async def story(inbox, database, clock):
        database.waits = [10.0]
        await inbox.take(delivery(), "mine")
        database.fails = 1
        await soon(lambda: clock.pauses)
        clock.advance(10)
        await soon(lambda: len(clock.pauses) == 2)
        clock.advance(10)
        await soon(lambda: not inbox._held)
        assert database.looks.total() == 3

    run(story)
