"""The client of a connection: made once, made again when its key rotates, closed when nobody uses it."""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from contextlib import asynccontextmanager

import httpx

from helpers.attempts import first_event
from helpers.virtual_time import run, statuses
from magic_hour_provider.api.errors import ConnectionFailedError, InvalidInputError
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.triggers.client_provider import READ_AGAIN_S, ClientProvider


@asynccontextmanager
async def providing(on_read=lambda settings: None):
    """Give a provider of the default connection, and close it."""
    provider = ClientProvider("magic_hour_default", contextvars.Context(), on_read)
    yield provider
    await provider.aclose()


def test_one_reading_for_all_who_ask(virtual):
    """Fifty polls that need the client at once get the same one, also where the first of them is canceled."""
    read = []

    async def main():
        async with providing(read.append) as provider:
            first = asyncio.create_task(provider.acquire())
            others = [asyncio.create_task(provider.acquire()) for _ in range(50)]
            await asyncio.sleep(0)
            first.cancel()
            leases = await asyncio.gather(*others)
            assert first.cancelled()
            return {id(lease) for lease in leases}, provider.generation

    leases, generation = run(main())
    assert (len(leases), generation, virtual.readings, virtual.clients) == (1, 1, 1, 1)
    assert [one.api_key for one in read] == [virtual.key]
    assert virtual.service.closed == 1


def test_a_client_in_use_is_not_closed(virtual):
    """A client whose key was replaced closes when the last poll that uses it ends, and not before."""

    async def main():
        async with providing() as provider:
            old = await provider.acquire()
            assert await provider.acquire() is old
            assert provider.on_rejected(provider.generation)
            virtual.key = "mhk_live_two"
            new = await provider.acquire()
            assert new is not old
            provider.release(old)
            await asyncio.sleep(1)
            assert virtual.service.closed == 0
            provider.release(old)
            await asyncio.sleep(1)
            assert virtual.service.closed == 1
            provider.release(new)

    run(main())
    assert virtual.service.closed == 2


def test_when_a_rejection_is_final(virtual):
    """A rejection is final only soon after the connection was read again, and only for those who polled with that."""

    async def main():
        async with providing() as provider:
            lease = await provider.acquire()
            before = provider.generation
            assert provider.on_rejected(before), "the key may have been replaced: it is read again"
            assert provider.on_rejected(before), "others polled with it too"
            assert await provider.acquire() is lease, "the same settings are the same client"
            assert provider.generation == before + 1
            assert provider.on_rejected(before), "polled before it was read again"
            assert not provider.on_rejected(provider.generation), "it has just been read"
            provider.on_accepted(lease)
            assert provider.on_rejected(provider.generation), "it has worked since"
            await provider.acquire()
            assert not provider.on_rejected(provider.generation)
            await asyncio.sleep(READ_AGAIN_S)
            assert provider.on_rejected(provider.generation), "the new key may be saved late"

    run(main())
    assert (virtual.readings, virtual.clients, virtual.service.closed) == (3, 1, 1)


def test_a_connection_that_cannot_work(virtual, monkeypatch):
    """What is wrong with it is raised for everyone who asks, and it is read again for the next."""
    failures = [InvalidInputError("no such connection"), OSError("the API server is away")]
    real = MagicHourHook.async_settings

    async def sometimes(hook):
        if failures:
            await asyncio.sleep(0.01)
            raise failures.pop(0)
        return await real(hook)

    monkeypatch.setattr(MagicHourHook, "async_settings", sometimes)

    async def main():
        async with providing() as provider:
            for error in (InvalidInputError, ConnectionFailedError):
                asked = [asyncio.create_task(provider.acquire()) for _ in range(3)]
                await asyncio.wait(asked)
                assert {type(one.exception()) for one in asked} == {error}
            await provider.acquire()
            return provider.generation

    assert run(main()) == 1


def test_a_key_that_rotates(virtual):
    """A rejected key is read again once, polling continues with the new one, and no wait ends."""

    async def main():
        virtual.service.ends = {f"job{n}": 500.0 for n in range(40)}
        tasks = [asyncio.create_task(first_event(virtual.trigger(f"job{n}"))) for n in range(40)]
        await asyncio.sleep(100)
        virtual.service.keys, virtual.key = ("mhk_live_two",), "mhk_live_two"
        await asyncio.sleep(100)
        virtual.service.keys, virtual.key = ("mhk_live_three",), "mhk_live_three"
        return await asyncio.gather(*tasks)

    assert statuses(run(main())) == {"complete": 40}
    assert (virtual.readings, virtual.clients) == (3, 3)
    assert virtual.service.closed == 3


def test_a_key_that_is_revoked(virtual):
    """A key that is still rejected after it was read again ends every wait, and is not read again for each."""

    async def main():
        tasks = [asyncio.create_task(first_event(virtual.trigger(f"job{n}"))) for n in range(40)]
        await asyncio.sleep(100)
        virtual.service.keys = ()
        return await asyncio.gather(*tasks)

    assert statuses(run(main())) == {"refused": 40}
    assert virtual.readings == 2
    assert virtual.clients == 1


def test_a_key_that_is_replaced_late(virtual):
    """The new key is saved some time after the old one ended: tasks that defer meanwhile use it."""
    again = Counter()

    async def task(job_id):
        while (event := await first_event(virtual.trigger(job_id)))["status"] == "refused":
            again[job_id] += 1
            assert again[job_id] <= 5
            # A worker, which reads the connection again, sees the job at work and defers; so the poller is never empty.
            await asyncio.sleep(3 + int(job_id[3:]) % 6)
        return event

    async def main():
        virtual.service.ends = {f"job{n}": 500.0 for n in range(100)}
        tasks = []
        for number in range(100):
            tasks.append(asyncio.create_task(task(f"job{number}")))
            await asyncio.sleep(1)
        virtual.service.keys = ("mhk_live_two",)
        await asyncio.sleep(30)
        virtual.key = "mhk_live_two"
        return await asyncio.gather(*tasks), virtual.clock.monotonic()

    events, end = run(main())
    assert statuses(events) == {"complete": 100}
    assert end < 540
    assert again.total() >= 50, "that is what the new key is late for"


def test_one_job_of_another_account(virtual):
    """A job that only this key may not see ends after a second poll; the others do not notice."""

    async def main():
        virtual.service.ends["mine"] = 200.0
        virtual.service.answer = lambda job_id, _: httpx.Response(403, json={}) if job_id == "theirs" else None
        return await asyncio.gather(*(first_event(virtual.trigger(job_id)) for job_id in ("mine", "theirs")))

    mine, theirs = run(main())
    assert (mine["status"], theirs["status"]) == ("complete", "refused")
    assert len(virtual.service.times("theirs")) == 2
    assert virtual.clients == 1


def test_a_connection_that_cannot_be_read_for_a_moment(virtual, monkeypatch):
    """Airflow's API in trouble is a failed poll for every job, not the end of their waits."""
    real, failures = MagicHourHook.get_async_conn, [RuntimeError("API server away"), OSError("and again")]

    async def sometimes(hook, settings):
        if failures:
            raise failures.pop()
        return await real(hook, settings)

    monkeypatch.setattr(MagicHourHook, "get_async_conn", sometimes)

    async def main():
        virtual.service.ends = {f"job{n}": 60.0 for n in range(3)}
        return await asyncio.gather(*(first_event(virtual.trigger(f"job{n}")) for n in range(3)))

    assert statuses(run(main())) == {"complete": 3}
    assert failures == []
    assert any("could not be read (OSError); trying again" in line for line in virtual.logged)
