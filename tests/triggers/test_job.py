"""The trigger and its poller on a real event loop, over real HTTP."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from pkgutil import resolve_name

import httpx
import pytest

from helpers.attempts import first_event
from helpers.jobs import trigger_arguments
from helpers.samples import DATA, KEY
from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.api.client import AsyncMagicHourClient
from magic_hour_provider.api.transport.http import MAX_CONNECTIONS
from magic_hour_provider.simulator.faults.catalog import FAULTS
from magic_hour_provider.triggers import poller as poller_module
from magic_hour_provider.triggers.job import MagicHourJobTrigger
from magic_hour_provider.triggers.polled_job import PolledJob


def submit(sim, tool: str = "text-to-video") -> str:
    """Submit a job and return its id."""
    return submit_many(sim, 1, tool)[0]


def submit_many(sim, count: int, tool: str = "text-to-video") -> list[str]:
    """Submit jobs and return their ids."""
    request = {"end_seconds": 3, "style": {"prompt": "x"}}
    # As the client does, without the client of its own that each of its creates has.
    with httpx.Client(base_url=sim.url, headers={"Authorization": f"Bearer {KEY}"}) as client:
        return [client.post(get_tool(tool).path, json=request).json()["id"] for _ in range(count)]


def trigger(airflow, job_id: str, **changes) -> MagicHourJobTrigger:
    """Make the trigger of a video job submitted now."""
    return MagicHourJobTrigger(**trigger_arguments(job_id, airflow.clock.now(), **changes))


ROWS = json.loads((DATA / "trigger_rows.json").read_text())


def polled_job(one: MagicHourJobTrigger) -> PolledJob:
    """Return the job that a trigger gives to its poller."""

    async def main() -> PolledJob:
        return one._polled_job()[0]

    return asyncio.run(main())


@pytest.mark.parametrize("row", ROWS, ids=[row["kwargs"]["job_id"] for row in ROWS])
def test_rows_of_released_versions_are_resumed(row):
    """Rows once written into a database are read by every later version: this file only grows."""
    one = resolve_name(row["path"].replace(".Magic", ":Magic"))(**row["kwargs"])
    assert one.serialize() == (row["path"], row["kwargs"])
    job = polled_job(one)
    assert job.state.schedule.max_interval_s == (
        30 if row["kwargs"].get("polling") else job.state.schedule.max_interval_s
    )


def test_serialize_is_all_the_trigger_is(airflow):
    """A row has no secret, and of what is new only what is needed, as triggerers of other versions read it too."""
    one = trigger(airflow, "abc")
    path, kwargs = one.serialize()
    assert path == "magic_hour_provider.triggers.job.MagicHourJobTrigger"
    assert list(kwargs) == ["kind", "job_id", "tool", "conn_id", "submitted_at", "deferred_at", "deadline"]
    assert KEY not in repr(one)
    assert trigger(airflow, "abc", polling="long_video").serialize()[1]["polling"] == "long_video"
    assert polled_job(trigger(airflow, "abc", polling="of a later version")).state.schedule.max_interval_s == 5


@pytest.mark.parametrize(
    ("fault", "event"),
    [
        (None, {"status": "complete", "error_code": None}),
        ({"status": "error", "code": "no_source_face"}, {"status": "error", "error_code": "no_source_face"}),
        ({"status": "canceled"}, {"status": "canceled", "error_code": None}),
        ({"status": "gone"}, {"status": "gone", "error_code": None}),
        ({"status": "paused"}, {"status": "timeout", "error_code": None}),
    ],
)
def test_the_event_names_the_end_and_nothing_else(airflow, fault, event):
    """Airflow logs and stores the whole event: it holds kind, id, status and code."""
    if fault:
        airflow.sim.inject_fault("job-outcome", **fault)
    job_id = submit(airflow.sim)
    assert asyncio.run(first_event(trigger(airflow, job_id))) == {"kind": "video", "id": job_id, **event}
    assert airflow.creates() == 1


def test_a_wrong_key_ends_the_wait(airflow):
    """A rejected key is an event; the worker then says what is wrong."""
    job_id = submit(airflow.sim)
    airflow.connect(password="mhk_live_wrong")
    assert asyncio.run(first_event(trigger(airflow, job_id)))["status"] == "refused"
    airflow.disconnect()
    assert asyncio.run(first_event(trigger(airflow, job_id)))["status"] == "refused"
    assert airflow.creates() == 1


def test_no_event_in_the_first_seconds(airflow):
    """A job that is complete at once sends no event before the supervisor has let go of the task."""
    job_id = submit(airflow.sim)
    airflow.sim.advance(600)
    start = airflow.clock.now()
    asyncio.run(first_event(trigger(airflow, job_id, submitted_at=start - 600)))
    assert 10 <= airflow.clock.now() - start < 15
    assert airflow.creates() == 1


def test_the_deadline_survives_a_restart(airflow):
    """A trigger rebuilt late gives up at its old deadline, after one poll."""
    airflow.sim.inject_fault("job-outcome", status="stuck")
    one = trigger(airflow, submit(airflow.sim), deadline=airflow.clock.now() + 100)
    airflow.sim.advance(5000)
    start = airflow.clock.now()
    assert asyncio.run(first_event(one))["status"] == "timeout"
    assert airflow.clock.now() - start < 1
    assert airflow.creates() == 1


FAULTS_OF_A_POLL = {
    "latency": {"seconds": 0.01},
    "status": {"status": 503},
    "close-before-read": {},
    "stall": {},
    "close-after-accept": {},
    "accept-then-status": {"status": 500},
    "close-mid-body": {},
    "stall-mid-body": {},
    "truncated": {},
    "corrupt": {},
    "slow": {"bytes_per_second": 1e6},
}


def test_every_fault_of_a_poll_is_in_the_table():
    """A fault that a poll can meet and that is not here is not tested."""
    assert set(FAULTS_OF_A_POLL) == {name for name, kind in FAULTS.items() if "get-job" in kind.endpoints}


@pytest.mark.parametrize("name", FAULTS_OF_A_POLL)
@pytest.mark.parametrize("count", [1, 4])
def test_a_fault_is_only_a_failed_poll(airflow, name, count):
    """Whatever happens to polls, once or four times in a row, the job's end is seen by a later one."""
    airflow.connect(extra=json.dumps({"timeout": 0.2}))
    job_id = submit(airflow.sim)
    airflow.sim.inject_fault(name, endpoint="get-job", count=count, **FAULTS_OF_A_POLL[name])
    event = asyncio.run(first_event(trigger(airflow, job_id)))
    assert event == {"kind": "video", "id": job_id, "status": "complete", "error_code": None}
    assert airflow.sim.stats()["faults_injected"][name] == count
    assert airflow.creates() == 1


@pytest.mark.parametrize("status", [301, 400, 404, 418])
def test_responses_that_are_never_of_use(airflow, status):
    """A host that is not Magic Hour's is given up after ten minutes, not at the deadline; HTML is no 404 of a job."""
    job_id = submit(airflow.sim)
    airflow.sim.inject_fault("status", endpoint="get-job", count=None, status=status, html=True)
    start = airflow.clock.now()
    event = asyncio.run(first_event(trigger(airflow, job_id, deadline=start + 86_400)))
    assert event["status"] == "refused"
    assert 300 < airflow.clock.now() - start < 1200
    assert airflow.creates() == 1


def test_no_callback_blocks_the_loop(airflow, monkeypatch):
    """While 500 triggers start, poll and end, no single callback takes the event loop 50 ms of its own CPU time."""
    taken: list[tuple[float, str]] = []
    real = asyncio.Handle._run

    def timed(handle):
        # CPU time of this thread: the simulator's thread and other processes do not count.
        before = time.thread_time()
        real(handle)
        taken.append((time.thread_time() - before, repr(handle)))

    async def run(ids):
        tasks = []
        for job_id in ids:
            tasks.append(asyncio.create_task(first_event(trigger(airflow, job_id))))
            await asyncio.sleep(0)
        return await asyncio.gather(*tasks)

    # Imports, and whatever Airflow reads once for a connection: a triggerer has them long before.
    asyncio.run(run(submit_many(airflow.sim, 1)))
    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    longest = []
    for _ in range(3):  # a callback that blocks does so each time; a busy machine's caches do not
        ids = submit_many(airflow.sim, 500)
        taken.clear()
        gc.collect()
        gc.disable()  # a full collection of everything that pytest has loaded is not ours
        try:
            events = asyncio.run(run(ids))
        finally:
            gc.enable()
        assert {event["status"] for event in events} == {"complete"}
        assert len(taken) > 2000
        longest.append(max(taken))
        if longest[-1][0] < 0.05:
            break
    assert min(longest)[0] < 0.05, longest
    assert airflow.creates() == 1 + 500 * len(longest)


def test_many_jobs_share_one_client(airflow, monkeypatch):
    """200 triggers share one session, with as many polls at once as are allowed; the last one to leave closes it."""
    made, in_flight, most = [], 0, 0
    real = AsyncMagicHourClient.get_job

    def count(self, **arguments):
        made.append(self)
        original(self, **arguments)

    async def poll(self, kind, job_id):
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        try:
            return await real(self, kind, job_id)
        finally:
            in_flight -= 1

    original = AsyncMagicHourClient.__init__
    monkeypatch.setattr(AsyncMagicHourClient, "__init__", count)
    monkeypatch.setattr(AsyncMagicHourClient, "get_job", poll)
    ids = submit_many(airflow.sim, 200)

    async def run():
        events = await asyncio.gather(*(first_event(trigger(airflow, job_id)) for job_id in ids))
        assert poller_module._pollers[asyncio.get_running_loop()] == {}
        (client,) = made
        assert client._transport._session.closed
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return events

    assert {event["status"] for event in asyncio.run(run())} == {"complete"}
    assert 1 < most <= MAX_CONNECTIONS
    assert airflow.creates() == 200


def test_one_canceled_trigger_does_not_disturb_another(airflow):
    """The client belongs to the poller, not to the trigger that asked first."""
    job_id = submit(airflow.sim)

    async def run():
        first = asyncio.create_task(first_event(trigger(airflow, job_id)))
        second = asyncio.create_task(first_event(trigger(airflow, job_id)))
        await asyncio.sleep(0.001)
        first.cancel()
        event = await second
        with pytest.raises(asyncio.CancelledError):
            await first
        return event

    assert asyncio.run(run())["status"] == "complete"
    assert airflow.creates() == 1


def test_being_killed_does_not_touch_the_job(airflow):
    """There is no cancel API, and Airflow calls this also when something else resumes the task."""
    job_id = submit(airflow.sim)
    asyncio.run(trigger(airflow, job_id).on_kill())
    assert airflow.sim.stats()["deletes"] == 0
    assert airflow.sim.stats()["polls"] == 0
    assert airflow.creates() == 1
