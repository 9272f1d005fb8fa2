"""The poller with many jobs and for long times, in virtual time."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import tracemalloc
import weakref
from collections import deque
from types import SimpleNamespace

import httpx
import pytest

from helpers.attempts import first_event
from helpers.virtual_time import run, statuses
from magic_hour_provider.api.transport.http import MAX_CONNECTIONS
from magic_hour_provider.triggers import poller as poller_module
from magic_hour_provider.triggers.job import MagicHourJobTrigger
from magic_hour_provider.triggers.polled_job import PolledJob
from magic_hour_provider.triggers.poller import JobPoller


def pollers() -> dict[str, JobPoller]:
    """Return this loop's pollers."""
    return poller_module._pollers.get(asyncio.get_running_loop(), {})


def test_a_day_of_one_long_job(virtual):
    """24 hours are waited through at the pace of the class, with some lines an hour, and the end is seen in time."""

    async def main():
        day = 86_400.0
        virtual.service.ends["abc"] = day
        now = virtual.clock.now()
        one = virtual.trigger("abc", tool="video-to-video", deadline=now + 2 * day, polling="long_video")
        event = await first_event(one)
        return event, virtual.clock.monotonic() - day

    event, late = run(main())
    assert event["status"] == "complete"
    assert late <= 30.1
    assert 86_400 / 30 - 40 <= len(virtual.service.polls) <= 86_400 / 30
    assert 140 <= len(virtual.logged) <= 150
    assert (virtual.readings, virtual.clients, virtual.service.closed) == (1, 1, 1)


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0, 600.0, -600.0])
def test_a_clock_that_jumps(virtual, jump):
    """A machine's clock set while jobs are waited for makes no burst, ends no wait and delays no end."""

    async def main():
        virtual.service.ends = {f"job{n}": 300.0 for n in range(20)}
        tasks = [asyncio.create_task(first_event(virtual.trigger(f"job{n}"))) for n in range(20)]
        await asyncio.sleep(150)
        before = len(virtual.service.polls)
        virtual.clock.ahead = jump
        await asyncio.sleep(10)
        soon = len(virtual.service.polls) - before
        return soon, await asyncio.gather(*tasks), virtual.clock.monotonic()

    soon, events, end = run(main())
    assert soon <= 20 * 3
    assert statuses(events) == {"complete": 20}
    assert 300 <= end <= 312


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_restart_with_another_clock(virtual, jump):
    """A triggerer whose clock is behind waits no longer than was asked for; one far ahead polls once and reports."""

    async def main():
        one = virtual.trigger("abc")
        virtual.clock.ahead = jump
        event = await first_event(one)
        return event, virtual.clock.monotonic()

    event, end = run(main())
    assert event["status"] == "timeout"
    assert end == pytest.approx(3600 if jump < 0 else 0, abs=1)
    assert len(virtual.service.polls) > 0


def test_a_restart_is_no_burst(virtual):
    """A thousand triggers loaded at once, whose polls are all overdue, are spread over half a minute."""

    async def main():
        now = virtual.clock.now()
        virtual.service.ends = {f"job{n}": 0.0 for n in range(1000)}
        late = {"submitted_at": now - 500, "deferred_at": now - 500}
        return await asyncio.gather(*(first_event(virtual.trigger(f"job{n}", **late)) for n in range(1000)))

    assert statuses(run(main())) == {"complete": 1000}
    times = [time for time, _ in virtual.service.polls]
    assert len(times) == 1000
    assert sum(time < 1 for time in times) <= 15
    assert 8 <= times[-1] <= 30
    assert (virtual.readings, virtual.clients) == (1, 1)


def test_nothing_is_left_of_5000_jobs(virtual):
    """When the last of 5,000 jobs has left there is no poller, client, task, timer or reference any more."""

    async def main():
        now = virtual.clock.now()
        virtual.service.ends = {f"job{n}": 90.0 + n / 100 for n in range(5000)}
        triggers = [virtual.trigger(f"job{n}", deadline=now + 7200, polling="long_video") for n in range(5000)]
        alive = weakref.WeakSet(triggers)
        tasks = [asyncio.create_task(first_event(one)) for one in triggers]
        del triggers
        await asyncio.sleep(100)
        (poller,) = pollers().values()
        gone = weakref.ref(poller)
        del poller
        canceled = [task.cancel() for task in tasks[::50]]
        # Not the errors of the canceled: their tracebacks hold everything.
        events = [one for one in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(one, dict)]
        tasks.clear()
        await asyncio.sleep(0)  # gather itself holds its results for a moment
        assert pollers() == {}
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert asyncio.get_running_loop()._scheduled == []
        gc.collect()
        assert gone() is None
        assert [
            one for one in gc.get_objects() if type(one) is PolledJob
        ] == []  # isinstance() wakes lazy objects of others
        assert len(alive) == 0
        return sum(canceled), events

    canceled, events = run(main())
    assert statuses(events) == {"complete": 5000 - canceled}
    assert canceled > 50
    assert virtual.service.most_in_flight <= MAX_CONNECTIONS
    assert (virtual.clients, virtual.service.closed) == (1, 1)


def test_a_waiting_job_is_small(virtual):
    """With its task, its coroutines, its trigger and its place in the heap a waiting job takes less than 4 KiB."""

    async def main():
        now = virtual.clock.now()
        tasks = [asyncio.create_task(first_event(virtual.trigger(f"early{n}"))) for n in range(10)]
        await asyncio.sleep(0)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        tasks += [
            asyncio.create_task(first_event(virtual.trigger(f"job{n}", deadline=now + 90_000, polling="long_video")))
            for n in range(1000)
        ]
        await asyncio.sleep(110)
        virtual.service.polls.clear()
        virtual.logged.clear()
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / 1000
        tracemalloc.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return each

    assert run(main()) < 4096


def test_one_job_in_trouble_is_alone(virtual):
    """A canceled trigger, one whose poll meets a bug, failing polls and one that nobody reads disturb no other."""

    def answer(job_id, _):
        return {"bug": ValueError("a bug"), "down": httpx.ConnectError("down")}.get(job_id)

    async def main():
        virtual.service.answer = answer
        virtual.service.ends = {f"job{n}": 200.0 for n in range(5)} | {"unread": 0.0}
        jobs = [asyncio.create_task(first_event(virtual.trigger(f"job{n}"))) for n in range(5)]
        bug = asyncio.create_task(first_event(virtual.trigger("bug")))
        down = asyncio.create_task(first_event(virtual.trigger("down", deadline=virtual.clock.now() + 600)))
        canceled = asyncio.create_task(first_event(virtual.trigger("canceled")))
        unread = virtual.trigger("unread").run()
        event = await anext(unread)  # and nobody asks for more
        canceled.cancel()
        with pytest.raises(ValueError, match="a bug"):
            await bug
        ends = await asyncio.gather(*jobs)
        assert virtual.clock.monotonic() < 212
        assert (await down)["status"] == "timeout"
        assert canceled.cancelled()
        await unread.aclose()
        assert pollers() == {}
        return ends, event.payload["status"]

    ends, unread = run(main())
    assert statuses(ends) == {"complete": 5}
    assert unread == "complete"
    assert virtual.clients == 1


def test_a_service_in_trouble_is_not_asked_faster(virtual):
    """Polls that fail with a 5xx, or bring no answer at all, do not raise the rate."""

    async def main():
        now = virtual.clock.now()
        failures = [httpx.Response(503, json={}), httpx.ConnectError("refused")]
        virtual.service.answer = lambda _, number: failures[number % 2]
        late = {"submitted_at": now - 500, "deferred_at": now - 500, "deadline": now + 100}
        await asyncio.gather(*(first_event(virtual.trigger(f"job{n}", **late)) for n in range(3000)))

    run(main())
    assert sum(time < 60 for time, _ in virtual.service.polls) <= 620


def test_a_triggerer_whose_clock_is_behind(virtual):
    """It polls as soon as one whose clock is right."""

    async def main():
        virtual.service.ends["abc"] = 100.0
        one = virtual.trigger("abc")
        virtual.clock.ahead = -300.0
        return await first_event(one), virtual.clock.monotonic()

    event, end = run(main())
    assert event["status"] == "complete"
    assert end < 115


def test_a_pause_outlives_the_job_that_was_refused(virtual):
    """Retry-After is the account's: a job that comes after the refused one has left waits for it too."""

    async def main():
        virtual.service.answer = lambda _, number: (
            httpx.Response(429, json={}, headers={"Retry-After": "600"}) if number == 1 else None
        )
        refused = asyncio.create_task(first_event(virtual.trigger("refused")))
        await asyncio.sleep(100)
        assert len(virtual.service.polls) == 1
        refused.cancel()
        await asyncio.wait([refused])
        assert pollers() == {}
        virtual.service.ends["next"] = 0.0
        return await first_event(virtual.trigger("next"))

    assert run(main())["status"] == "complete"
    (first, _), (second, _) = virtual.service.polls
    assert second - first >= 600


def test_a_service_that_stalls_keeps_nobody_beyond_the_deadline(virtual):
    """With every place taken by polls that never come back, waits still end soon after their deadline."""

    async def main():
        virtual.service.latency_s = 60.0
        virtual.service.answer = lambda *_: httpx.ReadTimeout("stalled")
        now = virtual.clock.now()
        jobs = [first_event(virtual.trigger(f"job{n}", deadline=now + 300)) for n in range(500)]
        events = await asyncio.gather(*jobs)
        return events, virtual.clock.monotonic()

    events, end = run(main())
    assert statuses(events) == {"timeout": 500}
    assert end < 300 + 130
    assert virtual.service.most_in_flight == MAX_CONNECTIONS


@pytest.mark.parametrize("retry_after", [{}, {"Retry-After": "1"}])
def test_a_thousand_jobs_at_once_behind_a_limit(virtual, retry_after):
    """Behind 40 polls per second few of a thousand jobs' polls are refused, and none of the jobs ends late for it."""
    answered, refused = deque(), []

    def answer(*_):
        now = virtual.clock.monotonic()
        while answered and answered[0] <= now - 1:
            answered.popleft()
        if len(answered) < 40:
            answered.append(now)
            return None
        refused.append(now)
        return httpx.Response(429, json={}, headers=retry_after)

    async def main():
        virtual.service.ends = {f"job{n}": 100.0 + n / 10 for n in range(1000)}
        virtual.service.answer = answer
        events = await asyncio.gather(*(first_event(virtual.trigger(f"job{n}")) for n in range(1000)))
        return events, virtual.clock.monotonic()

    events, end = run(main())
    assert statuses(events) == {"complete": 1000}
    assert len(refused) <= 0.01 * len(virtual.service.polls)
    assert end < 260


def test_retry_after_holds_the_whole_account(virtual):
    """After one 429 nobody of the account polls until its time is over; then at half the rate."""
    sent_at = []

    def answer(job_id, number):
        if number == 100:
            sent_at.append(virtual.clock.monotonic())
            return httpx.Response(429, json={}, headers={"Retry-After": "60"})
        return None

    async def main():
        virtual.service.ends = {f"job{n}": 150.0 for n in range(200)}
        virtual.service.answer = answer
        return await asyncio.gather(*(first_event(virtual.trigger(f"job{n}")) for n in range(200)))

    assert statuses(run(main())) == {"complete": 200}
    (at,) = sent_at
    assert [time for time, _ in virtual.service.polls if at < time < at + 59.9] == []


def test_the_log_of_a_trigger_is_its_own(virtual, monkeypatch):
    """The poller works in no trigger's context, and each trigger writes its own lines in its own context."""
    mark = contextvars.ContextVar("mark", default="nobody")
    polled_by, written_by = set(), set()

    async def ainfo(line):
        written_by.add((mark.get(), line.split()[3]))

    monkeypatch.setattr(MagicHourJobTrigger, "log", SimpleNamespace(ainfo=ainfo))
    virtual.service.answer = lambda *_: polled_by.add(mark.get())

    async def main():
        virtual.service.ends = {"one": 100.0, "two": 200.0}

        async def wait(job_id):
            mark.set(job_id)
            return await first_event(virtual.trigger(job_id))

        return await asyncio.gather(wait("one"), wait("two"))

    assert statuses(run(main())) == {"complete": 2}
    assert polled_by == {"nobody"}
    assert written_by == {("one", "one"), ("two", "two")}
