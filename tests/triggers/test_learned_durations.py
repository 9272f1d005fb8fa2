"""What triggers learn of how long jobs take: by connection, and only from jobs that polls saw complete."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from helpers.attempts import first_event
from helpers.virtual_time import run
from magic_hour_provider.polling.durations import LearnedSchedule
from magic_hour_provider.triggers.learned.table import get_durations_table
from magic_hour_provider.triggers.waits import Wait


def begin(virtual, **changes) -> Wait:
    """Begin the wait of a lip sync that was deferred now."""
    now = virtual.clock.now()
    arguments = {"conn_id": "magic_hour_default", "kind": "video", "tool": "lip-sync", "polling": None}
    return Wait.begin(**arguments | changes, deferred_at=now, deadline=now + 3600, needs_files=True)


async def wait_for(virtual, names: list[str], takes_s: float, **changes) -> None:
    """Wait for jobs that are submitted now and end after so many seconds, each with a trigger of its own."""
    now = virtual.clock.monotonic()
    virtual.service.ends |= {name: now + takes_s + number for number, name in enumerate(names)}
    await asyncio.gather(*(first_event(virtual.trigger(name, **changes)) for name in names))


@pytest.mark.parametrize("way", ["single jobs", "a batch"])
def test_later_jobs_are_polled_by_what_earlier_ones_took(virtual, way):
    """Forty lip syncs of 460 s, twice the published median, teach it; the poller has closed in between."""

    async def main():
        names = [f"job{n}" for n in range(40)]
        if way == "a batch":
            virtual.service.ends |= {name: 440.0 + number for number, name in enumerate(names)}
            await first_event(virtual.batch(names))
        else:
            await wait_for(virtual, names, 440.0)
        before = len(virtual.service.times("job20"))
        await wait_for(virtual, ["next"], 460.0)
        late = virtual.service.times("next")[-1] - virtual.service.ends["next"]
        return begin(virtual), before, len(virtual.service.times("next")), late

    wait, before, after, late = run(main())
    assert wait.durations.jobs == 41
    assert isinstance(wait.schedule, LearnedSchedule)
    assert wait.schedule.median_s == pytest.approx(460, rel=0.1)
    assert after <= 0.75 * before
    assert late <= 10
    assert virtual.clients == 2


def test_each_connection_tool_and_class_learns_for_itself(virtual):
    """Another account, tool or polling class is polled by what is published of it."""

    async def main():
        await wait_for(virtual, [f"job{n}" for n in range(30)], 440.0)
        return [
            isinstance(begin(virtual, **changes).schedule, LearnedSchedule)
            for changes in ({}, {"conn_id": "other"}, {"tool": "face-swap"}, {"polling": "long_video"})
        ]

    assert run(main()) == [True, False, False, False]


def test_a_job_that_failed_or_was_left_teaches_nothing(virtual):
    """A failed one ends early, and of one that a webhook has resumed nobody here knows the end."""
    failed = {"id": "bad", "status": "error", "credits_charged": 0, "downloads": [], "error": {"code": "x"}}
    virtual.service.answer = lambda job_id, number: (
        httpx.Response(200, json=failed | {"id": job_id}) if job_id.startswith("bad") else None
    )

    async def main():
        resumed = [asyncio.create_task(first_event(virtual.trigger(f"resumed{n}"))) for n in range(30)]
        await wait_for(virtual, [f"bad{n}" for n in range(30)], 0.0)
        await asyncio.sleep(60)
        for task in resumed:
            task.cancel()
        await asyncio.gather(*resumed, return_exceptions=True)
        return begin(virtual).durations.jobs

    assert run(main()) == 0


def test_a_restart_teaches_nothing_of_jobs_that_ended_meanwhile(virtual):
    """Jobs that a triggerer takes over after an hour were complete before: that hour is not how long they took."""

    async def main():
        submitted = virtual.clock.now() - 3000
        await wait_for(virtual, [f"job{n}" for n in range(30)], -30.0, submitted_at=submitted, deferred_at=submitted)
        return begin(virtual).durations.jobs

    assert run(main()) == 0


def test_so_many_connections_are_remembered(virtual):
    """The one that has gone unused for longest is forgotten, so that memory does not grow with what was ever used."""

    async def main():
        kept = begin(virtual, conn_id="kept").durations
        for number in range(700):
            begin(virtual, conn_id=f"c{number}")
            if number % 100 == 0:
                begin(virtual, conn_id="kept")
        return len(get_durations_table().histograms), begin(virtual, conn_id="kept").durations is kept

    assert run(main()) == (500, True)
