"""Requests that Magic Hour would refuse, and with which message."""

from __future__ import annotations

import copy
import socket
from typing import Any

import pytest

from helpers.simulator import EXAMPLES, connect
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.simulator import Behavior, Simulator
from magic_hour_provider.simulator.errors import ApiError
from magic_hour_provider.simulator.jobs.validation import validate_create

MANY_FACES = {"video_source": "file", "face_mappings": [{"original_face": "a", "new_face": "b"}] * 6}


@pytest.mark.parametrize(
    ("slug", "change", "status", "words"),
    [
        ("ai-image-generator", {"style": {}}, 400, "style.prompt is required."),
        ("ai-image-generator", {"style": None}, 400, "style is required."),
        ("ai-image-generator", {"style": {"prompt": None}}, 400, "style.prompt is required."),
        ("ai-image-generator", {"style": "x"}, 400, "style must be an object."),
        ("ai-image-generator", {"image_count": "2"}, 400, "image_count must be a whole number."),
        ("ai-image-generator", {"image_count": True}, 400, "image_count must be a whole number."),
        ("ai-image-generator", {"image_count": 1.5}, 400, "image_count must be a whole number."),
        ("ai-image-generator", {"image_count": 0}, 422, "image_count must be 1 or more."),
        ("ai-image-generator", {"image_count": 17}, 422, "image_count must be 16 or less."),
        ("ai-image-generator", {"style": {"prompt": ""}}, 422, "style.prompt must be text of 1 or more characters."),
        ("ai-image-generator", {"orientation": "tall"}, 422, "orientation must be one of landscape, portrait, square."),
        ("ai-image-generator", {"image_count": "2", "orientation": "tall"}, 400, "image_count must be a whole number."),
        ("ai-voice-generator", {"style": {"prompt": "x", "voice_name": "Nobody"}}, 422, "more."),
        ("photo-colorizer", {"assets": {"image_file_path": 7}}, 400, "assets.image_file_path must be text."),
        ("face-swap", {"assets": MANY_FACES}, 422, "assets.face_mappings must be a list of 5 or less."),
        ("face-swap", {"assets": {"face_mappings": [{}]}}, 400, "assets.face_mappings[0].new_face is required"),
        ("face-swap", {"end_seconds": 0}, 422, "end_seconds must be 0.1 or more."),
        ("face-swap", {"start_seconds": 9, "end_seconds": 3}, 422, "end_seconds must come after start_seconds"),
        ("face-swap", {"end_seconds": 1e300}, 422, "86400 seconds at most"),
        ("face-detection", {"confidence_score": 1.01}, 422, "confidence_score must be 1 or less."),
    ],
)
def test_refused(slug: str, change: dict[str, Any], status: int, words: str) -> None:
    """A missing field and a wrong type are a 400, a value beyond lists and bounds is a 422, and none is charged."""
    request = copy.deepcopy(EXAMPLES[slug]["json"]) | change
    with Simulator(manual_clock=True) as sim, connect(sim) as http:
        answer = http.post(TOOLS[slug].path, json=request)
        code = {400: "invalid_request", 422: "unprocessable_entity"}[status]
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert words in answer.json()["message"]
        assert str(sim.summary()) == "1 refused"


@pytest.mark.parametrize("score", [0.15, 0.3, 0.35, 0.6, 0.7, 0.95, 0.333])
def test_steps_are_tolerant(score: float) -> None:
    """A confidence in steps of 0.05 is taken also where floating point cannot divide it."""
    request = {"assets": {"target_file_path": "https://example.com/a.png"}, "confidence_score": score}
    assert validate_create(TOOLS["face-detection"], request, Behavior()) == request


def test_what_a_request_is_taken_as() -> None:
    """Nulls count as left out, as the official SDK sends them, and unknown fields are not taken at any depth."""
    request = {"image_count": 1, "name": None, "style": {"prompt": "x", "new": 1}, "newer": {"deep": None}}
    generator = TOOLS["ai-image-generator"]
    assert validate_create(generator, request, Behavior()) == {"image_count": 1, "style": {"prompt": "x"}}
    with pytest.raises(ApiError, match=r"style\.new is not a field of ai-image-generator; newer is not a field"):
        validate_create(generator, request, Behavior(unknown_fields="refused"))


def test_upload_limits_follow_the_tier() -> None:
    """A file larger than its tier takes is refused before it is read, and a smaller one is not."""
    limits = {"free": 200, "creator": 2000, "pro": 5000, "business": 10_000}
    for tier, megabytes in limits.items():
        with Simulator(manual_clock=True, tier=tier) as sim, connect(sim) as http:
            items = {"items": [{"type": "video", "extension": "mp4"}]}
            link = http.post("/v1/files/upload-urls", json=items).json()["items"][0]["upload_url"]
            length = megabytes * 10**6 + 1
            head = f"PUT {link.removeprefix(sim.url)} HTTP/1.1\r\nHost: x\r\nConnection: close"
            with socket.create_connection(("127.0.0.1", int(sim.url.rsplit(":", 1)[1]))) as connection:
                connection.sendall(f"{head}\r\nContent-Length: {length}\r\n\r\n".encode())
                answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
            assert answer.startswith("HTTP/1.1 413")
            assert f"{megabytes * 10**6} bytes" in answer
            assert http.put(link, content=b"x").status_code == 200
            assert str(sim.summary()) == "1 upload"


def test_an_account_that_pays_later() -> None:
    """A usage-based account has a paid tier and no subscription, and goes below zero instead of being refused."""
    with Simulator(manual_clock=True, credits=4, usage_based=True) as sim, connect(sim) as http:
        assert http.post("/v1/ai-image-generator", json=EXAMPLES["ai-image-generator"]["json"]).status_code == 200
        account = http.get("/v1/account").json()
        assert (account["tier"], account["subscription"]) == ("creator", None)
        assert account["credits"] == 4 - sim.summary().credits < 0
        assert sim.summary().creates == 1
    with pytest.raises(ValueError, match="cannot be free"):
        Simulator(usage_based=True, tier="free")
