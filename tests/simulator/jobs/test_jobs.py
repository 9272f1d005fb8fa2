"""Creating, polling and deleting jobs; the account and the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import magic_hour
import pytest

from helpers.simulator import EXAMPLES, IMAGE_REQUEST, KEY, NOW, connect
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.simulator import Simulator
from magic_hour_provider.simulator.jobs.prices import credits_for

Create = Callable[..., str]
Poll = Callable[..., dict[str, Any]]


def test_the_examples_cover_all_tools() -> None:
    """Every tool of the catalog has an example request."""
    assert set(EXAMPLES) == set(TOOLS)
    assert len(TOOLS) == 32


def test_status_walk(sim: Simulator, create: Create, poll: Poll) -> None:
    """A job waits for the first fifth of its time, renders, and is complete with links at the end."""
    job = create()
    median = TOOLS["ai-image-generator"].median_s
    assert median
    assert poll(job)["status"] == "queued"
    sim.advance(median * 0.25)
    assert poll(job)["status"] == "rendering"
    assert poll(job)["downloads"] == []
    sim.advance(median)
    done = poll(job)
    assert (done["status"], len(done["downloads"]), done["error"], done["enabled"]) == ("complete", 1, None, True)
    assert done["name"].startswith("AI Image Generator - ")
    stats = sim.stats()
    assert (stats["creates"]["accepted"], stats["polls"], sim.jobs()[0]["polls"]) == (1, 4, 4)


def test_speed_divides_the_duration() -> None:
    """With speed 20 a job takes a twentieth of its median."""
    with (
        Simulator(speed=20, clock=lambda: NOW) as sim,
        httpx.Client(headers={"Authorization": f"Bearer {KEY}"}) as http,
    ):
        http.post(f"{sim.url}/v1/ai-image-generator", json=IMAGE_REQUEST)
        assert sim.stats()["creates"]["accepted"] == 1
        median = TOOLS["ai-image-generator"].median_s or 0
        sim.advance(median / 20 + 0.01)
        assert sim.jobs()[0]["status"] == "complete"


def test_several_images(sim: Simulator, client: httpx.Client, create: Create, poll: Poll) -> None:
    """Four images are four different files and four times the price of one."""
    job = create(request=IMAGE_REQUEST | {"image_count": 4, "name": "Four"})
    sim.advance(1000)
    details = poll(job)
    assert (details["image_count"], details["name"], len(details["downloads"])) == (4, "Four", 4)
    assert len({client.get(link["url"]).content for link in details["downloads"]}) == 4
    assert sim.stats()["credits"]["charged"] == 4 * credits_for(
        TOOLS["ai-image-generator"], IMAGE_REQUEST, images=1, seconds=1
    )
    assert sim.stats()["creates"]["accepted"] == 1


def test_ids_follow_the_seed() -> None:
    """One seed gives the same ids in the same order, another seed gives others."""
    runs = []
    for seed in (7, 7, 8):
        with Simulator(seed=seed) as sim:
            for _ in range(3):
                httpx.post(
                    f"{sim.url}/v1/ai-image-generator", json=IMAGE_REQUEST, headers={"Authorization": f"Bearer {KEY}"}
                )
            assert sim.stats()["creates"]["accepted"] == 3
            runs.append([job["id"] for job in sim.jobs()])
    assert runs[0] == runs[1] != runs[2]


def test_ids_are_random_without_a_seed() -> None:
    """A simulator that is started again does not repeat the ids of the jobs and files that somebody has kept."""
    ids, paths = set(), set()
    for _ in range(2):
        with Simulator(manual_clock=True) as sim, connect(sim) as http:
            for _ in range(3):
                ids.add(http.post("/v1/ai-image-generator", json=IMAGE_REQUEST).json()["id"])
            items = {"items": [{"type": "image", "extension": "png"}]}
            paths.add(http.post("/v1/files/upload-urls", json=items).json()["items"][0]["file_path"])
            assert sim.summary().creates == 3
    assert (len(ids), len(paths)) == (6, 2)


@pytest.mark.parametrize("bearer", [None, "Bearer wrong", "Bearer", KEY])
def test_wrong_key(sim: Simulator, bearer: str | None) -> None:
    """Without the right key every route under /v1 answers 401, unknown ones too."""
    headers = {} if bearer is None else {"Authorization": bearer}
    for method, path in (("POST", "/v1/ai-image-generator"), ("GET", "/v1/account"), ("GET", "/v1/nothing")):
        answer = httpx.request(method, sim.url + path, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["code"] == "unauthorized"
    assert sim.stats()["creates"] == {"accepted": 0, "refused": 1}


def test_no_credits_left() -> None:
    """A create that costs more than the balance is refused with 402 and charges nothing."""
    with Simulator(credits=15) as sim, httpx.Client(headers={"Authorization": f"Bearer {KEY}"}) as http:
        path = f"{sim.url}/v1/face-swap-photo"
        request = {"assets": {"target_file_path": "https://example.com/a.png"}}
        assert http.post(path, json=request).status_code == 200
        refused = http.post(path, json=request)
        assert (refused.status_code, refused.json()["code"]) == (402, "insufficient_credits")
        assert sim.stats()["creates"] == {"accepted": 1, "refused": 1}
        assert sim.stats()["credits"] == {
            "start": 15,
            "charged": 10,
            "refunded": 0,
            "balance": 5,
            "settled": 0,
        }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[1]", 400),
        (b"{}", 400),
        (b'{"image_count": NaN, "style": {"prompt": "x"}}', 400),
        (b'{"image_count": "two", "style": {"prompt": "x"}}', 400),
        (b'{"image_count": 99, "style": {"prompt": "x"}}', 422),
        (b'{"image_count": 1, "style": "x"}', 400),
        (b" " * 5_000_000, 413),
    ],
)
def test_malformed_requests(sim: Simulator, client: httpx.Client, body: bytes, status: int) -> None:
    """A malformed request is refused in JSON and counted as refused."""
    answer = client.post("/v1/ai-image-generator", content=body)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message"}
    assert sim.stats()["creates"] == {"accepted": 0, "refused": 1}


def test_not_found(sim: Simulator, client: httpx.Client, create: Create) -> None:
    """Unknown ids, the route of another kind and unknown routes answer 404."""
    job = create()
    for path in (
        "/v1/image-projects/nobody",
        "/v1/image-projects/saved-1",
        f"/v1/video-projects/{job}",
        f"/v1/face-detection/{job}",
        "/v1/what",
        "/v1/text-to-video",
        "/",
    ):
        answer = client.get(path)
        assert (path, answer.status_code, answer.json()["code"]) == (path, 404, "not_found")
    assert sim.stats()["creates"]["accepted"] == 1


def test_delete(sim: Simulator, client: httpx.Client, create: Create, poll: Poll) -> None:
    """Only a job that has ended can be deleted; after that neither it nor its files are found."""
    job = create()
    assert client.delete(f"/v1/image-projects/{job}").status_code == 422
    sim.advance(1000)
    url = poll(job)["downloads"][0]["url"]
    assert client.get(url).status_code == 200
    assert client.delete(f"/v1/image-projects/{job}").status_code == 204
    assert client.get(f"/v1/image-projects/{job}").status_code == 404
    assert client.delete(f"/v1/image-projects/{job}").status_code == 404
    assert client.get(url).status_code == 404
    assert sim.jobs()[0]["status"] == "deleted"
    assert (sim.stats()["deletes"], sim.stats()["creates"]["accepted"]) == (1, 1)


def test_face_detection(sim: Simulator, client: httpx.Client, create: Create, poll: Poll) -> None:
    """Faces are there when the job is complete, open as pictures, and can be named in a later request."""
    job = create("face-detection", {"assets": {"target_file_path": "https://example.com/a.png"}})
    assert poll(job, "face-detection")["faces"] == []
    sim.advance(1000)
    details = poll(job, "face-detection")
    assert set(details) == {"id", "status", "credits_charged", "faces"}
    assert [face["path"].rsplit("/", 1)[1] for face in details["faces"]] == ["0-0.png", "0-1.png"]
    assert client.get(details["faces"][0]["url"]).headers["content-type"] == "image/png"
    edit = create("photo-colorizer", {"assets": {"image_file_path": details["faces"][1]["path"]}})
    sim.advance(1000)
    assert poll(edit)["status"] == "complete"
    assert sim.stats()["creates"]["accepted"] == 2


def test_faces_are_found_one_by_one(sim: Simulator, create: Create, poll: Poll) -> None:
    """While a face detection renders, its list of faces grows; each can be named in a request at once."""
    job = create("face-detection", {"assets": {"target_file_path": "https://example.com/a.png"}})
    seconds = sim.jobs()[0]["seconds"]
    counts = []
    for _ in range(4):
        counts.append((poll(job, "face-detection")["status"], len(poll(job, "face-detection")["faces"])))
        sim.advance(seconds * 0.35)
    assert counts == [("queued", 0), ("rendering", 0), ("rendering", 1), ("complete", 2)]
    assert sim.stats()["creates"]["accepted"] == 1


def test_account(sim: Simulator, client: httpx.Client, create: Create) -> None:
    """The account shows the balance, and the official SDK can read it."""
    create()
    account = client.get("/v1/account").json()
    assert account["credits"] == sim.stats()["credits"]["balance"] < 100_000
    assert account["tier"] == "creator"
    assert magic_hour.Client(token=KEY, base_url=sim.url).v1.account.list().subscription
    assert sim.stats()["creates"]["accepted"] == 1


def test_saved_items(sim: Simulator, client: httpx.Client) -> None:
    """Saved items come in pages and by type, and their files can be had."""
    assert len(magic_hour.Client(token=KEY, base_url=sim.url).v1.saved_items.list().items) == 2
    first = client.get("/v1/saved-items", params={"limit": 1}).json()
    second = client.get("/v1/saved-items", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [page["items"][0]["type"] for page in (first, second)] == ["character", "voice"]
    assert second["next_cursor"] is None
    assert client.get("/v1/saved-items", params={"type": "voice"}).json()["items"] == second["items"]
    assert client.get(second["items"][0]["assets"][0]["url"]).content[:4] == b"RIFF"
    for bad in ({"limit": "0"}, {"limit": "x"}, {"cursor": "no"}, {"type": "no"}):
        assert client.get("/v1/saved-items", params=bad).status_code == 400


def test_advance_over_http(sim: Simulator, client: httpx.Client, create: Create, poll: Poll) -> None:
    """The clock moves by HTTP as it does by Python, only forward, and needs no key."""
    job = create()
    assert httpx.post(f"{sim.url}/_simulator/advance", json={"seconds": 90}).json() == {"now": NOW + 90}
    assert poll(job)["status"] == "complete"
    for bad in ({"seconds": -1}, {"seconds": "x"}, {"seconds": 1e300}, {}, []):
        assert client.post("/_simulator/advance", json=bad).status_code == 400
    assert httpx.get(f"{sim.url}/_simulator/jobs").json() == sim.jobs()
    assert httpx.get(f"{sim.url}/_simulator/stats").json() == sim.stats()
    assert sim.stats()["creates"]["accepted"] == 1
