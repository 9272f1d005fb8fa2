"""Storage reads are few, limited in time and abandoned, and a root that stalls is left alone for a while."""

from __future__ import annotations

import asyncio
import threading

import pytest

from helpers.clocks import MovableTime, set_clock
from helpers.waiting import HANG_S
from magic_hour_provider.clock import SimulatedClock
from magic_hour_provider.plugin.media_tab.files import guard as module
from magic_hour_provider.plugin.media_tab.files.guard import CircuitBreaker, ReadGuard, StorageUnavailableError


class Stall:
    """Reads that do not return until they are released."""

    def __init__(self):
        self.release, self.reading, self.started = threading.Event(), 0, 0
        self._lock = threading.Lock()

    def read(self):
        """Stand for one read."""
        with self._lock:
            self.reading += 1
            self.started += 1
        assert self.release.wait(HANG_S)
        with self._lock:
            self.reading -= 1
        return "read"


async def soon(found):
    """Wait until something is there."""
    async with asyncio.timeout(30):
        while not found():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.005)


def run(story):
    """Run a story with a guard and reads that stall, and let them go at its end."""

    async def whole():
        stall = Stall()
        try:
            await story(ReadGuard("test"), stall)
        finally:
            stall.release.set()

    asyncio.run(whole())


def test_only_so_many_reads_at_the_same_time():
    """The others wait without a thread, and all are read when the storage responds."""

    async def story(guard, stall):
        reads = [asyncio.create_task(guard.run_in_thread("root", stall.read)) for _ in range(50)]
        await soon(lambda: stall.reading == module._SLOTS)
        assert (guard._waiting, stall.started) == (50 - module._SLOTS, module._SLOTS)
        stall.release.set()
        assert await asyncio.gather(*reads) == ["read"] * 50

    run(story)


def test_a_queue_that_is_full(monkeypatch):
    """One more is refused at once; so is one that has waited too long."""
    monkeypatch.setattr(module, "_MAX_WAITING", 3)

    async def story(guard, stall):
        reads = [asyncio.create_task(guard.run_in_thread("root", stall.read)) for _ in range(module._SLOTS + 3)]
        await soon(lambda: guard._waiting == 3)
        with pytest.raises(StorageUnavailableError, match="Too many files are being read"):
            await guard.run_in_thread("root", stall.read)
        assert stall.started == module._SLOTS
        monkeypatch.setattr(module, "_MAX_WAITING", 4)
        monkeypatch.setattr(module, "_MAX_WAIT_S", 0.01)
        with pytest.raises(StorageUnavailableError, match="Too many files are being read"):
            await guard.run_in_thread("another", stall.read)
        stall.release.set()
        await asyncio.gather(*reads)

    run(story)


def test_a_thread_that_is_stuck_keeps_its_slot(monkeypatch):
    """Nobody waits for it any more, but no other thread takes its place; when it returns, the slot is free."""
    monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.3)

    async def story(guard, stall):
        ended = []
        for _ in range(2):
            with pytest.raises(StorageUnavailableError, match="did not respond within"):
                await guard.run_in_thread("root", stall.read, lambda future: ended.append(future.result()))
        assert (stall.reading, guard._slots._value, ended) == (2, module._SLOTS - 2, [])
        stall.release.set()
        await soon(lambda: guard._slots._value == module._SLOTS)
        assert ended == ["read", "read"]

    run(story)


def test_a_viewer_who_leaves():
    """His read is abandoned, one that waited for a slot frees its place, and neither counts against the root."""

    async def story(guard, stall):
        reads = [asyncio.create_task(guard.run_in_thread("root", stall.read)) for _ in range(module._SLOTS + 5)]
        await soon(lambda: guard._waiting == 5)
        for read in reads:
            read.cancel()
        results = await asyncio.gather(*reads, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}
        assert (guard._waiting, stall.started) == (0, module._SLOTS)
        stall.release.set()
        assert await guard.run_in_thread("root", stall.read) == "read"

    run(story)


def test_a_coroutine_that_stalls_is_cancelled(monkeypatch):
    """On the file system's own event loop nothing is left of it, and its slot is free at once."""
    monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.3)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    cancelled = threading.Event()

    async def read():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def story(guard, stall):
        with pytest.raises(StorageUnavailableError):
            await guard.run_on_loop("root", loop, read)
        assert await asyncio.to_thread(cancelled.wait, 30)
        await soon(lambda: guard._slots._value == module._SLOTS)

    try:
        run(story)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(HANG_S)


def test_one_call_for_all_that_ask():
    """Connecting to a root that stalls takes one thread, however many ask and give up; a later one is called again."""

    async def story(guard, stall):
        calls = [asyncio.create_task(guard.run_shared("root", stall.read)) for _ in range(20)]
        await soon(lambda: stall.reading)
        calls[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls[0]
        stall.release.set()
        assert await asyncio.gather(*calls[1:]) == ["read"] * 19
        assert stall.started == 1
        await soon(lambda: not guard._shared)
        assert await guard.run_shared("root", stall.read) == "read"
        assert stall.started == 2

    run(story)


def test_a_root_that_stalls_is_left_alone(monkeypatch):
    """Three time-outs in a row: it is not read, other roots are; some seconds later one read finds out."""
    monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.3)
    set_clock(monkeypatch, clock := SimulatedClock(MovableTime()))

    async def story(guard, stall):
        for _ in range(3):
            with pytest.raises(StorageUnavailableError, match="did not respond within"):
                await guard.run_in_thread("root", stall.read)
        monkeypatch.setattr(module, "READ_TIMEOUT_S", 30)
        for _ in range(100):
            with pytest.raises(StorageUnavailableError, match="is not asked for a few seconds"):
                await guard.run_in_thread("root", stall.read)
        assert stall.started == 3
        assert await guard.run_in_thread("another", lambda: "read") == "read"
        clock.sleep(module.OPEN_S)
        stall.release.set()
        assert await guard.run_in_thread("root", stall.read) == "read"
        assert await guard.run_in_thread("root", stall.read) == "read"

    run(story)


def test_those_that_wait_for_a_root_that_stalls_are_refused_without_a_read(monkeypatch):
    """Everybody who waits for a slot learns it, no work is begun for a later one, and all slots are free again."""
    monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.3)
    monkeypatch.setattr(module, "OPEN_S", 3600)

    async def story(guard, stall):
        guard.check("root")
        reads = [asyncio.create_task(guard.run_in_thread("root", stall.read)) for _ in range(module._SLOTS + 20)]
        await soon(lambda: stall.reading == module._SLOTS)
        waiting = reads[module._SLOTS :]
        await asyncio.gather(*reads[: module._SLOTS], return_exceptions=True)
        with pytest.raises(StorageUnavailableError, match="is not asked for a few seconds"):
            guard.check("root")
        guard.check("another")
        stall.release.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} == {StorageUnavailableError}
        await soon(lambda: guard._slots._value == module._SLOTS)
        assert stall.started == module._SLOTS

    run(story)


@pytest.mark.parametrize("error", [FileNotFoundError("a.png"), PermissionError("no"), ValueError("odd")])
def test_an_error_is_a_response(error, monkeypatch):
    """A storage that says no is not a storage that stalls."""
    monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.3)

    def fail():
        raise error

    async def story(guard, stall):
        for _ in range(2):
            with pytest.raises(StorageUnavailableError):
                await guard.run_in_thread("root", stall.read)
        monkeypatch.setattr(module, "READ_TIMEOUT_S", 30)
        for _ in range(10):
            with pytest.raises(type(error)):
                await guard.run_in_thread("root", fail)
        monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.3)
        with pytest.raises(StorageUnavailableError, match="did not respond within"):
            await guard.run_in_thread("root", stall.read)

    run(story)


def test_one_read_at_a_time_finds_out():
    """While it is under way the others are refused; it closes the breaker, opens it again, or says nothing."""
    breaker = CircuitBreaker(timeouts=3, open_until=10.0)
    for outcome, allowed in ((None, True), (True, False), (False, True)):
        with pytest.raises(StorageUnavailableError):
            breaker.check(breaker.open_until - 0.1)
        now = breaker.open_until
        breaker.start(now)
        with pytest.raises(StorageUnavailableError):
            breaker.check(now)
        breaker.finish(now, timed_out=outcome)
        if allowed:
            breaker.check(now)
        else:
            with pytest.raises(StorageUnavailableError):
                breaker.check(now)
    assert breaker.timeouts == 0
