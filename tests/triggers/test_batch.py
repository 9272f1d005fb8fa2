"""The trigger of a batch: over real HTTP, and with many jobs and for long times in virtual time."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import tracemalloc
import weakref
from datetime import UTC, datetime
from pkgutil import resolve_name
from types import SimpleNamespace

import httpx
import pytest

from helpers.attempts import first_event
from helpers.jobs import batch_trigger_arguments
from helpers.samples import DATA, KEY
from helpers.virtual_time import START, run
from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.api.transport.http import MAX_CONNECTIONS
from magic_hour_provider.triggers import poller as poller_module
from magic_hour_provider.triggers.batch import MagicHourBatchTrigger
from magic_hour_provider.triggers.polled_batch import PolledBatch
from magic_hour_provider.triggers.poller import JobPoller

HOUR = 3600.0


def submit(sim, count: int) -> list[str]:
    """Submit videos and return their ids."""
    request = {"end_seconds": 3, "style": {"prompt": "x"}}
    with httpx.Client(base_url=sim.url, headers={"Authorization": f"Bearer {KEY}"}) as client:
        return [client.post(get_tool("text-to-video").path, json=request).json()["id"] for _ in range(count)]


def trigger(airflow, job_ids, **changes) -> MagicHourBatchTrigger:
    """Make the trigger of videos submitted now, of which all are waited for."""
    return MagicHourBatchTrigger(**batch_trigger_arguments(job_ids, airflow.clock.now(), **changes))


def event_of(one: MagicHourBatchTrigger) -> dict:
    """Run a trigger on a loop of its own until its event."""
    return asyncio.run(first_event(one))


def pollers() -> dict[str, JobPoller]:
    """Return this loop's pollers."""
    return poller_module._pollers.get(asyncio.get_running_loop(), {})


def complete(job_id: str, expires_at: float | None) -> httpx.Response:
    """Return the response to a poll of a complete job whose link expires then, in seconds since 1970."""
    link = {"url": "https://files.example/1.mp4"}
    if expires_at is not None:
        link["expires_at"] = datetime.fromtimestamp(expires_at, UTC).isoformat()
    return httpx.Response(200, json={"id": job_id, "status": "complete", "downloads": [link]})


# -- what it is


@pytest.mark.parametrize(
    "row", json.loads((DATA / "batch_trigger_rows.json").read_text()), ids=["usual", "whole", "no job"]
)
def test_rows_of_released_versions_are_resumed(row):
    """Rows once written into a database are read by every later version: this file only grows."""
    one = resolve_name(row["path"].replace(".Magic", ":Magic"))(**row["kwargs"])
    assert one.serialize() == (row["path"], row["kwargs"])

    async def main() -> PolledBatch:
        return one._polled_batch()

    batch = asyncio.run(main())
    assert batch.wait.schedule.max_interval_s == (30 if row["kwargs"].get("polling") else 10)
    assert [job.job_id for job in batch.jobs] == [job_id for job_id, _ in row["kwargs"]["jobs"]]


def test_an_id_that_is_there_twice_is_one_job(airflow):
    """It is polled once, as of its first entry, counts once, and is stored once."""
    now = airflow.clock.now()
    first, second = submit(airflow.sim, 2)
    one = trigger(airflow, (), jobs=[(first, now - 5), (second, now), (first, now)], wake_at=3)
    path, kwargs = one.serialize()
    assert kwargs["jobs"] == [[first, now - 5], [second, now]]
    assert MagicHourBatchTrigger(**json.loads(json.dumps(kwargs))).serialize() == (path, kwargs)
    event = event_of(one)
    assert event == {"ended": {first: ["complete", None], second: ["complete", None]}, "status": "reached"}
    assert airflow.creates() == 2


def test_nothing_to_wait_for(virtual):
    """With no job there is an event as soon as there may be one, and nothing is polled or read."""

    async def main():
        event = await first_event(virtual.batch([], wake_at=16))
        assert pollers() == {}
        return event, virtual.clock.monotonic()

    assert run(main()) == ({"ended": {}, "status": "reached"}, 10)
    assert virtual.readings == 0


# -- when it wakes the worker


def test_the_event_names_how_each_job_has_ended(airflow):
    """One event has the status and the error code of each job, and nothing else."""
    ends = [
        {"status": "complete"},
        {"status": "error", "code": "no_source_face"},
        {"status": "error", "code": "x" * 500},
        {"status": "canceled"},
        {"status": "gone"},
    ]
    job_ids = []
    for end in ends:
        airflow.sim.inject_fault("job-outcome", **end)
        job_ids += submit(airflow.sim, 1)
    assert event_of(trigger(airflow, job_ids)) == {
        "ended": dict(
            zip(
                job_ids,
                [
                    ["complete", None],
                    ["error", "no_source_face"],
                    ["error", "x" * 100],
                    ["canceled", None],
                    ["gone", None],
                ],
                strict=True,
            )
        ),
        "status": "reached",
    }
    assert airflow.creates() == 5
    assert airflow.sim.stats()["deletes"] == 0


@pytest.mark.parametrize(("wake_at", "count"), [(-1, 1), (0, 1), (1, 1), (3, 3), (8, 8), (100, 8)])
def test_so_many_jobs_are_worth_a_worker(virtual, wake_at, count):
    """The event comes soon after that many jobs have ended, or all of them, and not before."""

    async def main():
        virtual.service.ends = {f"job{n}": 100.0 * (n + 1) for n in range(8)}
        event = await first_event(virtual.batch(virtual.service.ends, wake_at=wake_at))
        assert pollers() == {}
        return event, virtual.clock.monotonic()

    event, end = run(main())
    assert event == {"ended": {f"job{n}": ["complete", None] for n in range(count)}, "status": "reached"}
    assert 100 * count <= end <= 100 * count + 11


def test_no_event_in_the_first_seconds(airflow):
    """Jobs that are complete at once send no event before the supervisor has let go of the task."""
    job_ids = submit(airflow.sim, 3)
    airflow.sim.advance(600)
    start = airflow.clock.now()
    event = event_of(trigger(airflow, job_ids, jobs=[[one, start - 600] for one in job_ids]))
    assert len(event["ended"]) == 3
    assert 10 <= airflow.clock.now() - start < 20
    assert airflow.creates() == 3


def test_a_deadline_in_the_first_seconds(virtual):
    """It ends the polls, and the event waits until the task may be resumed."""

    async def main():
        event = await first_event(virtual.batch(["one", "two"], deadline=START + 3))
        return event, virtual.clock.monotonic()

    assert run(main()) == ({"ended": {}, "status": "timeout"}, 10)
    assert max(time for time, _ in virtual.service.polls) < 4


def test_a_rejected_key_ends_the_wait(airflow):
    """A key that is rejected, or a connection that is not there, is an event; the worker then says what is wrong."""
    job_ids = submit(airflow.sim, 3)
    airflow.connect(password="mhk_live_wrong")
    start = airflow.clock.now()
    assert event_of(trigger(airflow, job_ids)) == {"ended": {}, "status": "refused"}
    airflow.disconnect()
    assert event_of(trigger(airflow, job_ids)) == {"ended": {}, "status": "refused"}
    assert airflow.clock.now() - start < 600
    assert airflow.creates() == 3


def test_a_key_that_is_revoked_in_the_middle(virtual):
    """What was seen to end before is in the event; the jobs that nobody can see any more are not."""

    async def main():
        virtual.service.ends = {f"job{n}": 100.0 for n in range(3)}
        one = virtual.batch([f"job{n}" for n in range(50)], wake_at=40)
        waiting = asyncio.create_task(first_event(one))
        await asyncio.sleep(200)
        virtual.service.keys = ()
        return await waiting, virtual.clock.monotonic()

    event, end = run(main())
    assert event == {"ended": {f"job{n}": ["complete", None] for n in range(3)}, "status": "refused"}
    assert 200 <= end < 240


def test_a_key_that_is_rotated_in_the_middle(virtual):
    """The connection is read again, and no job is lost for it."""

    async def main():
        virtual.service.ends = {f"job{n}": 300.0 for n in range(50)}
        waiting = asyncio.create_task(first_event(virtual.batch(virtual.service.ends)))
        await asyncio.sleep(150)
        virtual.key = "mhk_live_two"
        virtual.service.keys = ("mhk_live_two",)
        return await waiting

    event = run(main())
    assert event == {"ended": {f"job{n}": ["complete", None] for n in range(50)}, "status": "reached"}
    assert virtual.readings == 2


def test_a_job_whose_responses_cannot_be_read(virtual):
    """It is given up after some minutes and counts as ended; the others are waited for."""

    async def main():
        virtual.service.answer = lambda job_id, _: httpx.Response(200, text="<html>") if job_id == "odd" else None
        virtual.service.ends = {"one": 2000.0, "two": 2500.0}
        return await first_event(virtual.batch(["one", "odd", "two"], wake_at=2)), virtual.clock.monotonic()

    event, end = run(main())
    assert event == {"ended": {"odd": ["refused", None], "one": ["complete", None]}, "status": "reached"}
    assert 2000 <= end < 2050


def test_when_no_job_can_be_read_nothing_can_be_polled(virtual):
    """A wrong host is given up after ten minutes, not at the deadline, and its name is that of a rejected key."""

    async def main():
        virtual.service.answer = lambda *_: httpx.Response(404, text="<html>")
        event = await first_event(virtual.batch(["one", "two", "three"], deadline=START + 24 * HOUR))
        return event, virtual.clock.monotonic()

    event, end = run(main())
    assert event["status"] == "refused"
    assert 300 < end < 1200


@pytest.mark.parametrize("status", [503, 429])
def test_a_service_in_trouble_is_waited_out(virtual, status):
    """Whatever polls meet for a while, each job's end is seen afterwards."""

    async def main():
        in_trouble = httpx.Response(status, json={})
        virtual.service.answer = lambda *_: in_trouble if 100 < virtual.clock.monotonic() < 1000 else None
        virtual.service.ends = {f"job{n}": 300.0 + n for n in range(40)}
        return await first_event(virtual.batch(virtual.service.ends)), virtual.clock.monotonic()

    event, end = run(main())
    assert event == {"ended": {f"job{n}": ["complete", None] for n in range(40)}, "status": "reached"}
    assert 1000 <= end < 1250


# -- the deadline


def test_the_deadline_survives_a_restart(airflow):
    """A trigger rebuilt late gives up at its old deadline, when each job was polled once more."""
    job_ids = submit(airflow.sim, 2)
    airflow.sim.inject_fault("job-outcome", status="stuck")
    job_ids += submit(airflow.sim, 1)
    one = trigger(airflow, job_ids, deadline=airflow.clock.now() + 100)
    airflow.sim.advance(5000)
    start = airflow.clock.now()
    again = MagicHourBatchTrigger(**one.serialize()[1])
    assert event_of(again) == {"ended": {one: ["complete", None] for one in job_ids[:2]}, "status": "timeout"}
    assert airflow.clock.now() - start < 5
    assert airflow.sim.stats()["polls"] == 3
    assert airflow.creates() == 3


def test_a_service_that_stalls_keeps_nobody_beyond_the_deadline(virtual):
    """With every place taken by polls that never come back, the wait still ends soon after its deadline."""

    async def main():
        virtual.service.latency_s = 60.0
        virtual.service.answer = lambda *_: httpx.ReadTimeout("stalled")
        event = await first_event(virtual.batch([f"job{n}" for n in range(500)], deadline=START + 300))
        return event, virtual.clock.monotonic()

    event, end = run(main())
    assert event == {"ended": {}, "status": "timeout"}
    assert 300 <= end < 300 + 130


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0, 600.0])
def test_a_clock_that_jumps(virtual, jump):
    """A machine's clock set while jobs are waited for ends no wait, delays no end and lets no link grow old."""

    async def main():
        virtual.service.ends = {f"job{n}": 200.0 if n < 5 else 900.0 for n in range(20)}
        waiting = asyncio.create_task(first_event(virtual.batch(virtual.service.ends)))
        await asyncio.sleep(150)
        virtual.clock.ahead = jump
        return await waiting, virtual.clock.monotonic()

    event, end = run(main())
    assert (len(event["ended"]), event["status"]) == (20, "reached")
    assert 900 <= end <= 912


# -- links


@pytest.mark.parametrize(
    ("life", "wakes_after"),
    [
        (24 * HOUR, 18 * HOUR),
        (None, 18 * HOUR),  # the link does not say it
        (HOUR, 0.75 * HOUR),
        (-24 * HOUR, 18 * HOUR),  # our clock is wrong
    ],
)
def test_links_do_not_grow_old_for_want_of_others(virtual, life, wakes_after):
    """When the first complete job's links have a quarter of their life left, the worker is woken for it."""

    async def main():
        ended_at = 600.0
        expires_at = None if life is None else START + ended_at + life

        def answer(job_id, _):
            return complete(job_id, expires_at) if job_id == "job0" and virtual.clock.monotonic() >= ended_at else None

        virtual.service.answer = answer
        one = virtual.batch(["job0", "job1"], deadline=START + 40 * HOUR, polling="long_video")
        event = await first_event(one)
        return event, virtual.clock.monotonic() - ended_at

    event, after = run(main())
    assert event == {"ended": {"job0": ["complete", None]}, "status": "links-aging"}
    assert abs(after - wakes_after) <= 60


def test_links_grow_old_while_no_triggerer_runs(virtual):
    """A job that is complete at the first poll of a new triggerer may have been so since its task deferred."""

    async def main():
        virtual.service.ends["one"] = 0.0
        one = virtual.batch(["one", "two"], deadline=START + 40 * HOUR)
        await asyncio.sleep(17 * HOUR)
        return await first_event(one), virtual.clock.monotonic()

    event, end = run(main())
    assert event == {"ended": {"one": ["complete", None]}, "status": "links-aging"}
    assert 18 * HOUR <= end <= 18 * HOUR + 60


def test_nobody_waits_for_links_that_nobody_needs(virtual):
    """Where files are stored nowhere, old links wake nobody, and a job without links has ended all the same."""

    async def main():
        virtual.service.answer = lambda job_id, _: (
            httpx.Response(200, json={"id": job_id, "status": "complete"}) if job_id == "one" else None
        )
        one = virtual.batch(["one", "two"], deadline=START + 30 * HOUR, needs_files=False, polling="long_video")
        return await first_event(one), virtual.clock.monotonic()

    event, end = run(main())
    assert event == {"ended": {"one": ["complete", None]}, "status": "timeout"}
    assert 30 * HOUR <= end <= 30 * HOUR + 60


# -- what it costs


def test_a_waiting_job_is_small(virtual):
    """With its place in the heap and its entry of the trigger a waiting job takes less than 1.5 KiB and no task."""

    async def main():
        waiting = [asyncio.create_task(first_event(virtual.batch(["early"], deadline=START + 90_000)))]
        await asyncio.sleep(50)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        one = virtual.batch([f"job{n}" for n in range(1000)], deadline=START + 90_000, polling="long_video")
        waiting.append(asyncio.create_task(first_event(one)))
        await asyncio.sleep(110)
        tasks = asyncio.all_tasks()
        virtual.service.polls.clear()
        virtual.logged.clear()
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / 1000
        tracemalloc.stop()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return each, len(tasks)

    each, tasks = run(main())
    assert each < 1536
    assert tasks <= 3 + MAX_CONNECTIONS  # of polls in flight


def test_handing_over_many_jobs_lets_the_loop_turn(virtual):
    """Five thousand jobs are no single step of the loop."""

    async def main():
        one = asyncio.create_task(first_event(virtual.batch([f"job{n}" for n in range(5000)])))
        seen = []
        while not seen or seen[-1] < 5000:
            await asyncio.sleep(0)
            seen += [len(poller.jobs) for poller in pollers().values()]
        one.cancel()
        await asyncio.wait([one])
        assert pollers() == {}
        return seen

    seen = run(main())
    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) <= 100


def test_what_has_ended_is_polled_no_more(virtual):
    """A job that has ended leaves the poller at once: it costs nothing and counts as no active job."""

    async def main():
        virtual.service.ends = {f"job{n}": 100.0 for n in range(30)}
        waiting = asyncio.create_task(first_event(virtual.batch([f"job{n}" for n in range(40)])))
        await asyncio.sleep(200)
        (poller,) = pollers().values()
        assert len(poller.jobs) == 10
        before = len(virtual.service.times("job0"))
        await asyncio.sleep(1000)
        assert len(virtual.service.times("job0")) == before
        assert len(virtual.service.times("job39")) > before
        waiting.cancel()
        await asyncio.wait([waiting])

    run(main())


def test_nothing_is_left_of_two_thousand_jobs(virtual):
    """When the trigger has sent its event there is no poller, client, task, timer or reference any more."""

    async def main():
        virtual.service.ends = {f"job{n}": 90.0 + n / 100 for n in range(2000)}
        one = virtual.batch(virtual.service.ends, wake_at=1500)
        event = await first_event(one)
        assert pollers() == {}
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert asyncio.get_running_loop()._scheduled == []
        gone = weakref.ref(one)
        del one
        await asyncio.sleep(0.1)  # the loop closes the generator of its events
        gc.collect()
        assert gone() is None
        assert [one for one in gc.get_objects() if type(one) is PolledBatch] == []
        return event

    event = run(main())
    assert 1500 <= len(event["ended"]) < 2000
    assert len(json.dumps(event)) < 50 * 2000
    assert (virtual.clients, virtual.service.closed) == (1, 1)


def test_batches_and_single_jobs_share_one_client(virtual):
    """A canceled batch, one that ends early and one whose poll meets a bug disturb no other wait."""

    async def main():
        virtual.service.answer = lambda job_id, _: ValueError("a bug") if job_id == "bug" else None
        virtual.service.ends = {f"job{n}": 200.0 for n in range(20)} | {"early": 50.0, "alone": 300.0}
        alone = asyncio.create_task(first_event(virtual.trigger("alone")))
        early = asyncio.create_task(first_event(virtual.batch(["early", "late1"], wake_at=1)))
        canceled = asyncio.create_task(first_event(virtual.batch(["late2", "late3"])))
        buggy = asyncio.create_task(first_event(virtual.batch(["late4", "bug", "late5"])))
        batch = asyncio.create_task(first_event(virtual.batch([f"job{n}" for n in range(20)])))
        assert (await early)["ended"] == {"early": ["complete", None]}
        canceled.cancel()
        with pytest.raises(ValueError, match="a bug"):
            await buggy
        assert len((await batch)["ended"]) == 20
        assert virtual.clock.monotonic() < 215
        assert (await alone)["status"] == "complete"
        assert pollers() == {}

    run(main())
    assert (virtual.readings, virtual.clients, virtual.service.closed) == (1, 1, 1)


# -- what it says


def test_a_line_a_minute_at_the_most(virtual):
    """While something happens there is a line a minute that counts, else one in ten minutes."""
    times = []

    async def ainfo(line):
        times.append((virtual.clock.monotonic(), line))

    virtual_log = SimpleNamespace(ainfo=ainfo)

    async def main(monkeypatch):
        monkeypatch.setattr(MagicHourBatchTrigger, "log", virtual_log)
        virtual.service.ends = {f"job{n}": 30.0 + 10 * n for n in range(100)}
        failed = httpx.Response(200, json={"id": "x", "status": "error", "error": {"code": "y", "message": "z"}})
        virtual.service.answer = lambda job_id, _: failed if job_id == "job7" else None
        return await first_event(virtual.batch([*virtual.service.ends, "late"], deadline=START + 2 * HOUR))

    with pytest.MonkeyPatch.context() as patch:
        event = run(main(patch))
    assert event["status"] == "timeout"
    moments = [0.0, *(moment for moment, _ in times)]
    assert min(after - before for before, after in itertools.pairwise(moments)) >= 60
    assert 15 <= sum(moment < 1050 for moment in moments) <= 18
    assert 8 <= sum(moment > 1150 for moment in moments) <= 11
    assert times[-1][1].startswith("Magic Hour batch after 1 hour 5")
    assert "minutes: 100 of 101 jobs have ended (99 complete, 1 error), 1 under way; giving up in " in times[-1][1]


def test_polls_that_fail_are_in_the_line(virtual):
    """The line says how many polls failed since the last one, and with what."""

    async def main():
        failed = httpx.Response(503, json={"message": "too much to do"})
        virtual.service.answer = lambda *_: failed if virtual.clock.monotonic() < 100 else None
        virtual.service.ends = {"one": 1000.0}
        return await first_event(virtual.batch(["one", "two"], wake_at=1))

    assert run(main())["status"] == "reached"
    first, *_, last = virtual.logged
    assert "0 of 2 jobs have ended, 2 under way; " in first
    assert "polls failed, the last one with: " in first
    assert "too much to do" in first
    assert "minutes: 0 of 2 jobs have ended, 2 under way; giving up in " in last


def test_being_killed_does_not_touch_the_jobs(airflow, monkeypatch):
    """It says how many jobs keep running, as far as it knows, and asks nobody."""
    said = []
    log = SimpleNamespace(info=lambda text, *values: said.append(text % values), ainfo=None)
    monkeypatch.setattr(MagicHourBatchTrigger, "log", log)
    job_ids = submit(airflow.sim, 3)
    one = trigger(airflow, job_ids, wake_at=1)
    asyncio.run(one.on_kill())
    assert airflow.sim.stats()["polls"] == 0
    assert "Jobs that keep running: 3." in said[-1]
    event = event_of(one)
    asyncio.run(one.on_kill())
    assert f"Jobs that keep running: {3 - len(event['ended'])}." in said[-1]
    assert airflow.sim.stats()["deletes"] == 0
    assert airflow.creates() == 3


# -- a time at which a worker is needed


@pytest.mark.parametrize(
    ("job_ids", "ends", "status"), [((), {}, "due"), (("a", "b"), {"a": 40}, "due"), (("a",), {"a": 40}, "reached")]
)
def test_a_time_at_which_a_worker_is_needed(virtual, job_ids, ends, status):
    """The wait ends then, also one for no job at all, unless it has ended before; and no poller stays behind."""
    virtual.service.ends = ends

    async def wait() -> tuple[dict, float]:
        event = await first_event(virtual.batch(job_ids, wake_at=9, wake_by=START + 1000))
        assert not pollers()
        return event, asyncio.get_running_loop().time()

    event, ended_at = run(wait())
    assert (event["status"], list(event["ended"])) == (status, list(ends))
    assert ended_at <= 1005
    assert ended_at >= 1000 or status == "reached"


@pytest.mark.parametrize("ahead", [0, 5000, -5000])
def test_a_triggerer_that_restarts_late(virtual, ahead):
    """A time that has passed ends the wait at once; a clock that was set ends it no later than was asked for."""

    async def wait() -> float:
        one = virtual.batch((), wake_by=virtual.clock.now() + 100)
        virtual.clock.ahead = ahead
        await first_event(one)
        return asyncio.get_running_loop().time()

    assert run(wait()) <= 101
