"""Accounting: credits that are charged, settled and refunded, counters, and a thousand jobs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from helpers.simulator import EXAMPLES, KEY, LIP_SYNC_REQUEST, connect
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.client import AsyncMagicHourClient, MagicHourClient
from magic_hour_provider.simulator import Simulator, Summary

Create = Callable[..., str]
Poll = Callable[..., dict[str, Any]]


def test_the_summary_is_one_line(sim: Simulator, create: Create, poll: Poll) -> None:
    """The summary is one line in a test, as text and as an object; at first it is nothing."""
    assert (str(sim.summary()), sim.summary()) == ("nothing", Summary())
    job = create()
    for _ in range(9):
        poll(job)
    assert str(sim.summary()) == "1 create, 10 credits, 9 polls"
    assert sim.summary() == Summary(creates=1, credits=10, polls=9)


@pytest.mark.parametrize(("limit", "settled"), [(None, 240), (12, 120), (60, 240)])
def test_tools_charged_by_the_frame_settle(
    sim: Simulator, client: httpx.Client, limit: float | None, settled: int
) -> None:
    """Lip sync charges an estimate at 30 frames a second, and refunds what was not rendered at its end."""
    request = LIP_SYNC_REQUEST | ({"max_fps_limit": limit} if limit else {})
    made = client.post("/v1/lip-sync", json=request).json()
    assert made["credits_charged"] == made["estimated_frame_cost"] == 300
    assert client.get(f"/v1/video-projects/{made['id']}").json()["credits_charged"] == 300
    sim.advance(4000)
    details = client.get(f"/v1/video-projects/{made['id']}").json()
    assert details["credits_charged"] == details["total_frame_cost"] == settled
    money = {"start": 100_000, "charged": 300, "refunded": 300 - settled, "balance": 100_000 - settled}
    assert sim.stats()["credits"] == money | {"settled": settled}
    assert sim.summary() == Summary(creates=1, credits=settled, polls=2)


def test_credits_of_active_jobs(sim: Simulator, client: httpx.Client, create: Create) -> None:
    """The credits of active jobs are charged, neither settled nor refunded, until their time is over."""
    create()
    create(request={"image_count": 1, "style": {"prompt": "[[error]]"}})
    money = sim.stats()["credits"]
    assert (money["charged"], money["settled"], money["refunded"]) == (20, 0, 0)
    sim.advance(1000)
    assert client.get("/v1/account").json()["credits"] == 99_990
    money = sim.stats()["credits"]
    assert (money["charged"], money["settled"], money["refunded"], sim.summary().creates) == (20, 10, 10, 2)


def test_polls_and_requests_are_counted(sim: Simulator, client: httpx.Client, create: Create, poll: Poll) -> None:
    """Every poll of a job is counted with its time, and every request by its endpoint."""
    job = create()
    poll(job)
    sim.advance(90)
    poll(job)
    client.get("/v1/account")
    client.get("/v1/image-projects/nobody")
    httpx.get(f"{sim.url}/v1/account", headers={"Authorization": "Bearer wrong"})
    stats = sim.stats()
    times = ["2026-05-28T20:26:40.000Z", "2026-05-28T20:28:10.000Z"]
    assert stats["jobs"] == {job: {"polls": 2, "polled_at": times}}
    assert (sim.jobs()[0]["polled_at"], sim.jobs()[0]["seconds"]) == (times, TOOLS["ai-image-generator"].median_s)
    assert stats["requests"] == {"account": 1, "create": 1, "get-job": 3, "unauthorized": 1}
    assert sim.summary() == Summary(creates=1, credits=10, polls=3)


def test_the_times_of_polls_are_bounded(sim: Simulator, create: Create, poll: Poll) -> None:
    """A job that is polled for ever does not fill the memory, and all its polls are counted."""
    job = create()
    for _ in range(60):
        poll(job)
    assert (len(sim.jobs()[0]["polled_at"]), sim.jobs()[0]["polls"], sim.summary().creates) == (50, 60, 1)


def test_a_thousand_jobs() -> None:
    """A thousand jobs are created, polled five times each by our async client, and finish; the credits add up."""
    tools = ("ai-image-generator", "lip-sync", "ai-qr-code-generator", "face-detection")
    made: list[tuple[str, str]] = []

    async def poll_all(sim: Simulator) -> list[str]:
        async with AsyncMagicHourClient(api_key=KEY, base_url=sim.url) as client:
            free = asyncio.Semaphore(2)

            async def poll(kind: str, job: str) -> str:
                async with free:
                    return (await client.get_job(kind, job)).status

            statuses: list[str] = []
            for _ in range(5):
                statuses = await asyncio.gather(*(poll(kind, job) for kind, job in made))
                sim.advance(200)
            return statuses

    with Simulator(manual_clock=True, credits=10**6) as sim, connect(sim) as http:
        sim.inject_fault("job-outcome", status="error", tool="lip-sync", count=20)
        sim.inject_fault("job-outcome", status="canceled", tool="ai-image-generator", count=5)
        for number in range(1000):
            slug = tools[number // 10 % 4] if number % 10 == 0 else tools[0]
            request = LIP_SYNC_REQUEST if slug == "lip-sync" else EXAMPLES[slug]["json"]
            answer = http.post(TOOLS[slug].path, json=request)
            made.append((TOOLS[slug].kind, answer.json()["id"]))
        statuses = asyncio.run(poll_all(sim))
        # 20 of the lip syncs fail by an injected fault, and all face detections miss the file that they name.
        assert Counter(statuses) == {"complete": 1000 - 5 - 20 - 25, "canceled": 5, "error": 20 + 25}
        money, jobs = sim.stats()["credits"], sim.jobs()
        assert len({job["id"] for job in jobs}) == 1000
        assert {job["polls"] for job in jobs} == {5}
        assert money["balance"] == money["start"] - money["charged"] + money["refunded"]
        assert money["settled"] == money["charged"] - money["refunded"] == sum(job["credits_charged"] for job in jobs)
        assert (sim.summary().creates, sim.summary().polls) == (1000, 5000)


@pytest.fixture(scope="module")
def shared() -> Any:
    with Simulator(manual_clock=True, credits=10**7) as sim:
        yield sim


@pytest.mark.parametrize("slug", TOOLS)
def test_our_client_reads_every_tool(shared: Simulator, slug: str) -> None:
    """Each tool takes its documented request and charges its price; our own client reads the job to its end."""
    tool, creates, balance = TOOLS[slug], shared.summary().creates, shared.stats()["credits"]["balance"]
    with MagicHourClient(api_key=KEY, base_url=shared.url, verify=False) as client:
        made = client.create(slug, EXAMPLES[slug]["json"])
        assert shared.stats()["credits"]["balance"] == balance - (made.credits_charged or 0)
        early = client.get_job(made.kind, made.id)
        shared.advance(20_000)
        late = client.get_job(made.kind, made.id)
    assert (shared.summary().creates, shared.summary().refused) == (creates + 1, 0)
    job = shared.jobs()[-1]
    assert (job["tool"], job["id"], job["request"]) == (slug, made.id, EXAMPLES[slug]["json"])
    assert (early.status, early.credits_charged, early.downloads, early.faces) == (
        "queued",
        made.credits_charged,
        (),
        (),
    )
    if late.status == "error":  # the example names an upload that is not there
        assert tool.files
        assert late.credits_charged == 0
    else:
        assert late.status == "complete"
        assert bool(late.downloads) != bool(late.faces)
    if tool.kind != "face-detection":  # which has neither an error nor a time
        assert (late.error_code is None) == (late.status == "complete")
        assert early.created_at == late.created_at is not None
