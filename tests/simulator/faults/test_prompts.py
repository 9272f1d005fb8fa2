"""Prompt directives, and faults that match the text of a prompt."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from helpers.simulator import IMAGE_REQUEST
from magic_hour_provider.simulator import Simulator, Summary
from magic_hour_provider.simulator.faults import prompts

Create = Callable[..., str]
Poll = Callable[..., dict[str, Any]]
CREATE = "/v1/ai-image-generator"


def _asking(words: str) -> dict[str, Any]:
    return {"image_count": 1, "style": {"prompt": f"A lighthouse {words} at dawn"}}


def test_the_table_is_whole() -> None:
    """The module's own documentation has every form of every directive, and no other."""
    documented = re.findall(r"^``(\[\[.*?\]\])``", prompts.__doc__ or "", re.MULTILINE)
    assert documented == [form for forms, _ in prompts.DIRECTIVES.values() for form in forms.split(" or ")]


@pytest.mark.parametrize(
    ("words", "status", "code", "kept"),
    [
        ("[[error]]", "error", "unknown_error", 0),
        ("[[error:no_source_face]]", "error", "no_source_face", 0),
        ("[[canceled]]", "canceled", None, 0),
        ("[[queued]]", "queued", None, 10),
        ("[[rendering]]", "rendering", None, 10),
        ("[[final-status:dreaming]]", "dreaming", None, 10),
        ("[[ seconds : 12 ]]", "complete", None, 10),
        ("[[brand]] [[x:1]] [[Error]] [error]", "complete", None, 10),
    ],
)
def test_the_end_of_a_job(
    sim: Simulator, create: Create, poll: Poll, words: str, status: str, code: str | None, kept: int
) -> None:
    """A job ends as its prompt says, and stays charged or is refunded; other text in brackets means nothing."""
    job = create(request=_asking(words))
    assert poll(job)["status"] == "queued"
    sim.advance(100_000)
    details = poll(job)
    assert (details["status"], (details["error"] or {}).get("code")) == (status, code)
    assert sim.summary() == Summary(creates=1, credits=kept, polls=2)


def test_seconds(sim: Simulator, create: Create, poll: Poll) -> None:
    """A job takes the time that its prompt says, each time that it is created."""
    for _ in range(2):
        job = create(request=_asking("[[seconds:12]]"))
        sim.advance(11.9)
        assert poll(job)["status"] == "rendering"
        sim.advance(0.1)
        assert poll(job)["status"] == "complete"
    assert sim.stats()["faults_injected"] == {"job-duration": 2}
    assert sim.summary().creates == 2


def test_deleted(sim: Simulator, client: httpx.Client, create: Create) -> None:
    """A job is not found once its time is over."""
    job = create(request=_asking("[[deleted]]"))
    assert client.get(f"/v1/image-projects/{job}").status_code == 200
    sim.advance(1000)
    assert client.get(f"/v1/image-projects/{job}").status_code == 404
    assert str(sim.summary()) == "1 create, 10 credits, 2 polls"


@pytest.mark.parametrize(
    ("words", "status", "retry_after", "creates"),
    [
        ("[[status:503]]", 503, None, 0),
        ("[[status:429:30]]", 429, "30", 0),
        ("[[accepted:500]]", 500, None, 1),
        ("[[no-id]]", 200, None, 1),
        ("[[latency:0.01]]", 200, None, 1),
        ("[[status:503]] [[accepted:500]]", 503, None, 0),
    ],
)
def test_the_answer_to_a_create(
    sim: Simulator, client: httpx.Client, words: str, status: int, retry_after: str | None, creates: int
) -> None:
    """A create is answered as its prompt says, and only what was acted upon is charged."""
    answer = client.post(CREATE, json=_asking(words))
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry_after)
    assert ("id" in answer.json()) == (words == "[[latency:0.01]]")
    assert sim.summary() == Summary(creates=creates, refused=1 - creates, credits=10 * creates)


@pytest.mark.parametrize(("words", "creates"), [("[[lost-response]]", 1), ("[[connection-closed]]", 0)])
def test_a_closed_connection(sim: Simulator, client: httpx.Client, words: str, creates: int) -> None:
    """A create whose connection closes was acted upon or not, as its prompt says."""
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.post(CREATE, json=_asking(words))
    assert sim.summary() == Summary(creates=creates, refused=1 - creates, credits=10 * creates)


def test_a_response_gets_one_fault(sim: Simulator, client: httpx.Client) -> None:
    """A pending fault waits for the next create when a directive, or another fault, has spoilt this response."""
    sim.inject_fault("no-id")
    sim.inject_fault("truncated", prompt="lighthouse")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.post(CREATE, json={"image_count": 1, "style": {"prompt": "[[lost-response]]"}})
    assert len(client.post(CREATE, json=IMAGE_REQUEST).content) < 60
    assert [pending["fault"] for pending in sim.pending_faults()] == ["no-id"]
    assert "id" not in client.post(CREATE, json=IMAGE_REQUEST).json()
    assert sim.stats()["faults_injected"] == {"close-after-accept": 1, "no-id": 1, "truncated": 1}
    assert sim.summary() == Summary(creates=3, credits=30)


def test_a_directive_in_a_name(sim: Simulator, create: Create, poll: Poll) -> None:
    """Tools without a prompt take directives in the job's name."""
    request = {"assets": {"image_file_path": "https://example.com/a.png"}, "name": "mine [[error:file_too_large]]"}
    job = create("photo-colorizer", request)
    sim.advance(1000)
    assert poll(job)["error"]["code"] == "file_too_large"
    assert sim.summary() == Summary(creates=1, polls=1)


@pytest.mark.parametrize(
    "words",
    [
        "[[seconds]]",
        "[[seconds:soon]]",
        "[[seconds:-1]]",
        "[[seconds:nan]]",
        "[[seconds:]]",
        "[[seconds:1:2]]",
        "[[error:]]",
        "[[canceled:now]]",
        "[[final-status]]",
        "[[status]]",
        "[[status:99]]",
        "[[status:50.5]]",
        "[[status:429:soon]]",
        "[[status:429:1e999]]",
        "[[accepted:no]]",
        "[[latency:x]]",
    ],
)
def test_a_directive_that_makes_no_sense(sim: Simulator, client: httpx.Client, words: str) -> None:
    """It is refused in a sentence that shows the right form, and costs nothing."""
    answer = client.post(CREATE, json=_asking(words))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert f"[[{words.strip('[]').split(':')[0]}" in answer.json()["message"].split("Use ")[1]
    assert sim.summary() == Summary(refused=1)


def test_a_fault_that_matches_text(sim: Simulator, client: httpx.Client, create: Create, poll: Poll) -> None:
    """A fault that matches text passes over other requests, and other jobs' polls."""
    sim.inject_fault("status", status=500, prompt="cat|dog", count=2)
    sim.inject_fault("job-outcome", status="error", prompt="harbour")
    sim.inject_fault("status", status=500, prompt="LIGHTHOUSE", endpoint="get-job")
    fish = create(request={"image_count": 1, "style": {"prompt": "A fish in a harbour"}})
    assert client.post(CREATE, json={"image_count": 1, "style": {"prompt": "A Cat"}}).status_code == 500
    lighthouse = create(request=IMAGE_REQUEST)
    assert client.post(CREATE, json={"image_count": 1, "style": {"prompt": "dogs"}}).status_code == 500
    sim.advance(1000)
    assert poll(fish)["status"] == "error"
    assert client.get(f"/v1/image-projects/{lighthouse}").status_code == 500
    assert poll(lighthouse)["status"] == "complete"
    assert (sim.pending_faults(), sim.summary().creates, sim.summary().refused) == ([], 2, 2)


def test_directives_are_one_shot_entries_before_the_queue(sim: Simulator, client: httpx.Client, create: Create) -> None:
    """A directive is taken before what is pending, at each stage, and what is not taken stays pending."""
    sim.inject_fault("job-duration", seconds=500)
    sim.inject_fault("status", status=500, prompt="lighthouse")
    assert client.post(CREATE, json=_asking("[[status:503]] [[seconds:7]]")).status_code == 503
    assert [pending["fault"] for pending in sim.pending_faults()] == ["job-duration", "status"]
    assert client.post(CREATE, json=_asking("[[no-id]] [[seconds:7]]")).json() == {
        "credits_charged": 10,
        "frame_cost": 10,
    }
    assert [job["seconds"] for job in sim.jobs()] == [7]
    assert [pending["fault"] for pending in sim.pending_faults()] == ["job-duration", "status"]
    assert client.post(CREATE, json=IMAGE_REQUEST).status_code == 500
    create()
    assert [job["seconds"] for job in sim.jobs()] == [7, 500]
    assert (sim.pending_faults(), sim.stats()["faults_injected"]) == (
        [],
        {"job-duration": 2, "no-id": 1, "status": 2},
    )
    assert sim.summary() == Summary(creates=2, refused=2, credits=20)


@pytest.mark.parametrize("words", ["[[accepted:500]] [[status:503]]", "[[status:503]] [[accepted:500]]"])
def test_a_create_that_is_not_acted_upon_has_no_response_to_spoil(
    sim: Simulator, client: httpx.Client, words: str
) -> None:
    """Of two directives the one that answers instead of acting counts, whatever their order."""
    assert client.post(CREATE, json=_asking(words)).status_code == 503
    assert sim.summary() == Summary(refused=1)
    assert sim.stats()["faults_injected"] == {"status": 1}
