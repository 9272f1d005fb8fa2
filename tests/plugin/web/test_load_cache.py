"""What is loaded for a page is loaded once for all its viewers, and kept for a few seconds."""

from __future__ import annotations

import asyncio
import threading

from helpers.clocks import MovableTime, set_clock
from helpers.waiting import HANG_S
from magic_hour_provider.clock import SimulatedClock
from magic_hour_provider.plugin.web import load_cache
from magic_hour_provider.plugin.web.load_cache import LoadCache


class Loads:
    """Loads of summaries, which end when a test wants it."""

    def __init__(self):
        self.runs, self.free, self.error = [], threading.Event(), None
        self.free.set()

    def __call__(self, dag_id, run_id):
        """Load one."""
        self.runs.append(run_id)
        assert self.free.wait(HANG_S)
        if self.error:
            raise self.error
        return len(self.runs)


def test_viewers_share_a_summary(monkeypatch):
    """However many ask at the same time, the run is read once; again some seconds later."""
    set_clock(monkeypatch, clock := SimulatedClock(MovableTime()))
    loads = Loads()

    async def story():
        cache = LoadCache(loads)
        loads.free.clear()
        viewers = [asyncio.create_task(cache.get("many", "run")) for _ in range(50)]
        viewers[0].cancel()  # one who leaves takes nobody else's summary along
        await asyncio.sleep(0)
        loads.free.set()
        summaries = await asyncio.gather(*viewers, return_exceptions=True)
        assert summaries[1:] == [1] * 49
        assert await cache.get("many", "run") == 1
        clock.sleep(load_cache._KEPT_S + 1)
        assert await cache.get("many", "run") == 2

    asyncio.run(story())


def test_a_load_that_fails_is_not_kept():
    """All that wait for it learn of it, and the next one asks again."""
    loads = Loads()

    async def story():
        cache = LoadCache(loads)
        loads.error = LookupError()
        results = await asyncio.gather(*(cache.get("many", "run") for _ in range(3)), return_exceptions=True)
        assert {type(one) for one in results} == {LookupError}
        loads.error = None
        assert await cache.get("many", "run") == 2

    asyncio.run(story())


def test_few_summaries_are_kept_and_few_loaded_at_once(monkeypatch):
    """A viewer of many runs takes neither the server's memory nor its threads."""
    loads = Loads()

    async def story():
        cache = LoadCache(loads)
        loads.free.clear()
        viewers = [asyncio.create_task(cache.get("many", f"run{number}")) for number in range(100)]
        async with asyncio.timeout(30):
            while len(loads.runs) < load_cache._LOADS:  # noqa: ASYNC110 (what is waited for has no event)
                await asyncio.sleep(0.005)
        assert cache._limiter.borrowed_tokens == load_cache._LOADS
        assert len(loads.runs) == load_cache._LOADS
        loads.free.set()
        await asyncio.gather(*viewers)
        assert len(cache._entries) <= load_cache._MAX_KEPT

    asyncio.run(story())
