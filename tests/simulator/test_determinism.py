"""One seed, one run."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from helpers.simulator import IMAGE_REQUEST, connect
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.simulator import Simulator

REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ai-image-generator", IMAGE_REQUEST),
    ("text-to-video", {"end_seconds": 3, "style": {"prompt": "A lighthouse at dawn"}}),
    ("audio-to-video", {"assets": {"audio_file_path": "https://example.com/a.mp3"}, "end_seconds": 2}),
    ("ai-gif-generator", {"style": {"prompt": "A lighthouse"}, "output_format": "webm"}),
    ("ai-gif-generator", {"style": {"prompt": "A lighthouse"}}),
    ("ai-voice-generator", {"style": {"prompt": "Good morning", "voice_name": "Elon Musk"}}),
)


def _run(seed: int) -> tuple[list[Any], list[bytes], list[bool]]:
    """Return the jobs, the files, and whether a fault with a probability was injected, of one run."""
    with Simulator(manual_clock=True, seed=seed, duration_jitter=0.3) as sim, connect(sim) as http:
        sim.inject_fault("status", endpoint="account", status=503, probability=0.5)
        injected = [http.get("/v1/account").status_code == 503 for _ in range(40)]
        ids = [(TOOLS[slug].kind, http.post(f"/v1/{slug}", json=body).json()["id"]) for slug, body in REQUESTS]
        sim.advance(10_000)
        files = []
        for kind, job in ids:
            (link,) = http.get(f"/v1/{kind}-projects/{job}").json()["downloads"]
            files.append(http.get(link["url"]).content)
        assert sim.summary().creates == len(REQUESTS)
        return sim.jobs(), files, injected


def test_one_seed_gives_the_same() -> None:
    """Two simulators with one seed give the same ids, durations, faults and files, byte by byte; another differs."""
    (jobs, files, injected), again, other = _run(7), _run(7), _run(8)
    assert (jobs, injected) == (again[0], again[2])
    assert files == again[1]
    for part in ("id", "seconds"):
        assert [job[part] for job in jobs] != [job[part] for job in other[0]]
    assert (injected != other[2], 5 < sum(injected) < 35) == (True, True)


def test_durations_spread_around_the_median() -> None:
    """With a spread of 0.3 jobs take from 0.7 to 1.3 times the median, each its own time; without, the median."""
    median = TOOLS["ai-image-generator"].median_s or 0
    for jitter in (0.0, 0.3):
        with Simulator(manual_clock=True, duration_jitter=jitter) as sim, connect(sim) as http:
            for _ in range(30):
                http.post("/v1/ai-image-generator", json=IMAGE_REQUEST)
            times = [job["seconds"] / median for job in sim.jobs()]
            assert sim.summary().creates == 30
        if jitter:
            assert (min(times) >= 0.7, max(times) <= 1.3, len(set(times))) == (True, True, 30)
            assert max(times) - min(times) > 0.3
        else:
            assert set(times) == {1.0}


def test_a_manual_clock_stands_still() -> None:
    """Time moves by advance alone, begins at the same moment in each run, and excludes a clock of one's own."""
    with Simulator(manual_clock=True) as first, Simulator(manual_clock=True) as second:
        assert first.now() == second.now() == first.now()
        answer = httpx.post(f"{first.url}/_simulator/advance", json={"seconds": 90})
        assert answer.json() == {"now": second.now() + 90}
    with pytest.raises(ValueError, match="exclude each other"):
        Simulator(manual_clock=True, clock=lambda: 0.0)
    with pytest.raises(ValueError, match="duration_jitter must be a number from 0 to 1"):
        Simulator(duration_jitter=1.5)


def test_uploads_do_not_change_the_ids_of_jobs() -> None:
    """An upload more or less leaves the ids of the jobs as they are."""
    ids = []
    for uploads in (0, 2):
        with Simulator(manual_clock=True, seed=7) as sim, connect(sim) as http:
            for _ in range(uploads):
                http.post("/v1/files/upload-urls", json={"items": [{"type": "image", "extension": "png"}]})
            ids.append(http.post("/v1/ai-image-generator", json=IMAGE_REQUEST).json()["id"])
            assert sim.summary().creates == 1
    assert ids[0] == ids[1]
