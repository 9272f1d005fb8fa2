"""Estimates: each published figure is reproduced as its source says it, and what nobody has published is unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import magic_hour
import pytest

from helpers.samples import KEY
from magic_hour_provider.api import prices
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.prices import Estimate, estimate
from magic_hour_provider.api.prices.table import find_published_price, published_prices

# Magic Hour's page of models at f5df0c5: credits per second of output, and with audio where that costs more.
VIDEO = {
    ("ltx-2.3", "480p"): (24, 24),
    ("ltx-2.3", "720p"): (48, 48),
    ("ltx-2.3", "1080p"): (72, 72),
    ("wan-2.2", "480p"): (24, 24),
    ("wan-2.2", "720p"): (48, 48),
    ("wan-2.2", "1080p"): (72, 72),
    ("kling-2.6", "720p"): (36, 36),
    ("kling-2.6", "1080p"): (72, 72),
    ("kling-3.0", "720p"): (48, 72),
    ("kling-3.0", "1080p"): (72, 96),
    ("kling-3.0", "4k"): (240, 288),
    ("veo3.1-lite", "720p"): (48, 72),
    ("veo3.1-lite", "1080p"): (72, 96),
    ("veo3.1", "720p"): (96, 120),
    ("veo3.1", "1080p"): (120, 144),
    ("seedance-1.5", "480p"): (30, 60),
    ("seedance-1.5", "720p"): (60, 120),
    ("seedance-1.5", "1080p"): (90, 180),
    ("seedance-2.0-mini", "480p"): (96, 96),
    ("seedance-2.0-mini", "720p"): (192, 192),
    ("seedance-2.0", "480p"): (144, 144),
    ("seedance-2.0", "720p"): (288, 288),
    ("seedance-2.5", "480p"): (288, 288),
    ("seedance-2.5", "720p"): (576, 576),
    ("sora-2", "720p"): (120, 120),
}
# The docstrings of the SDK, of one image at the model's lowest resolution.
IMAGES = {
    "ai-image-generator": {
        "flux-2-klein": 5,
        "flux-schnell": 5,
        "gpt-image-2": 50,
        "gpt-image-2.5-flare": 100,
        "krea-2": 10,
        "nano-banana": 50,
        "nano-banana-2": 100,
        "nano-banana-2-lite": 50,
        "nano-banana-2.1": 50,
        "nano-banana-pro": 150,
        "qwen-image-2.1": 10,
        "seedream-v4": 40,
        "seedream-v5-pro": 75,
        "z-image-turbo": 5,
    },
    "ai-image-editor": {
        "flux-2-klein": 5,
        "gpt-image-2": 50,
        "gpt-image-2.5-flare": 100,
        "krea-2": 10,
        "nano-banana": 50,
        "nano-banana-2": 100,
        "nano-banana-2-lite": 50,
        "nano-banana-2.1": 50,
        "nano-banana-pro": 150,
        "qwen-edit": 10,
        "qwen-image-2.1": 10,
        "seedream-v4": 40,
        "seedream-v4.5": 50,
        "seedream-v5-pro": 75,
    },
}
CLIP = {"start_seconds": 2, "end_seconds": 12}
TEN_SECONDS = {"end_seconds": 10}
# The other figures: a request, and what it costs by the sentence of the source.
OTHERS = [
    ("ai-clothes-changer", {}, 25),
    ("ai-face-editor", {}, 1),
    ("ai-gif-generator", {}, 50),
    ("ai-headshot-generator", {}, 50),
    ("ai-meme-generator", {}, 10),
    ("ai-qr-code-generator", {}, 0),
    ("face-detection", {}, 0),
    ("face-swap-photo", {}, 10),
    ("head-swap", {}, 10),
    ("image-background-remover", {}, 5),
    ("photo-colorizer", {}, 10),
    ("body-swap", {"resolution": "640px"}, 50),
    ("ai-image-upscaler", {"scale_factor": 2, "style": {"mode": "preserve"}}, 25),
    ("ai-image-upscaler", {"scale_factor": 2, "style": {"mode": "pro"}}, 25),
    ("ai-image-upscaler", {"scale_factor": 2}, 50),  # balanced by default
    ("ai-image-upscaler", {"scale_factor": 2.0, "style": {"mode": "creative"}}, 50),
    ("ai-image-upscaler", {"scale_factor": 4, "style": {"mode": "preserve"}}, 100),
    ("ai-image-upscaler", {"scale_factor": 4, "style": {"mode": "pro"}}, 100),
    ("ai-image-upscaler", {"scale_factor": 4, "style": {"mode": "balanced"}}, 200),
    ("ai-image-upscaler", {"scale_factor": 4, "style": {"mode": "creative"}}, 200),
    ("ai-music-generator", {"duration": 60}, 60),
    ("ai-voice-generator", {"style": {"prompt": "x" * 31}}, 4),
    ("ai-voice-cloner", {"style": {"prompt": "x" * 30}}, 3),
    ("animation", TEN_SECONDS | {"fps": 24}, 240),
    ("audio-to-video", CLIP | {"resolution": "480p"}, 240),
    ("audio-to-video", CLIP | {"resolution": "720p"}, 480),
    ("audio-to-video", CLIP | {"resolution": "1080p"}, 720),
    ("auto-subtitle-generator", CLIP, 48),
    ("face-swap", CLIP, 300),  # at 30 frames a second, as the service estimates
    ("lip-sync", CLIP, 300),
    ("lip-sync", CLIP | {"style": {"generation_mode": "standard"}}, 300),
    ("lip-sync", CLIP | {"style": {"generation_mode": "pro"}}, 600),
    ("ai-talking-photo", CLIP | {"style": {"generation_mode": "prompted"}}, 200),
    ("ai-talking-photo", CLIP, 480),  # realistic by default
    ("video-to-video", CLIP, 600),
]


def video_cases() -> list[tuple[str, dict[str, Any], int]]:
    """Return ten seconds of each model and resolution, with and without audio."""
    return [
        (slug, TEN_SECONDS | {"model": model, "resolution": size, "audio": audio}, 10 * per_second[audio])
        for slug in ("text-to-video", "image-to-video")
        for (model, size), per_second in VIDEO.items()
        for audio in (False, True)
    ]


def image_cases() -> list[tuple[str, dict[str, Any], int]]:
    """Return four images of each model at its lowest resolution."""
    lowest = {"nano-banana-pro": "1k"}
    return [
        (slug, {"image_count": 4, "model": model, "resolution": lowest.get(model, "640px")}, 4 * per_image)
        for slug, models in IMAGES.items()
        for model, per_image in models.items()
    ]


CASES = [*video_cases(), *image_cases(), *OTHERS]
UNKNOWN = [
    # How much is asked for, in a field that the tool is not known to have, or none of it.
    ("text-to-video", {"model": "wan-2.2", "resolution": "480p", "end_seconds": 60, "duration": 0.1}),
    ("text-to-video", {"model": "wan-2.2", "resolution": "480p", "end_seconds": 60, "start_seconds": 59}),
    ("photo-colorizer", {"image_count": 0}),
    ("ai-image-generator", {"model": "flux-schnell", "resolution": "640px", "image_count": 0}),
    ("ai-music-generator", {"duration": 0}),
    ("text-to-video", TEN_SECONDS),  # the model that is taken then changes, and so does the resolution
    ("text-to-video", TEN_SECONDS | {"model": "kling-3.0"}),
    ("text-to-video", TEN_SECONDS | {"model": "wan-3.0", "resolution": "720p"}),  # newer than the page
    ("text-to-video", {"end_seconds": "{{ params.s }}", "model": "sora-2", "resolution": "720p"}),
    ("ai-image-generator", {"image_count": 1, "model": "nano-banana"}),
    ("ai-image-generator", {"image_count": 1, "model": "nano-banana", "resolution": "1k"}),  # "from" is of the lowest
    ("ai-image-generator", {"image_count": "{{ params.n }}", "model": "nano-banana", "resolution": "640px"}),
    ("body-swap", {"resolution": "4k"}),
    ("ai-talking-photo", CLIP | {"style": {"generation_mode": "stable"}}),
    ("lip-sync", {"start_seconds": 0}),
    ("lip-sync", {"start_seconds": 5, "end_seconds": 5}),
    ("ai-voice-generator", {"style": {}}),
    ("character-replace", TEN_SECONDS),
    ("ai-ugc-ad", TEN_SECONDS),
]


@pytest.mark.parametrize(("slug", "request_", "credits"), CASES)
def test_a_published_figure_is_reproduced(slug, request_, credits):
    """A request costs what the source of its figure says."""
    assert estimate(slug, request_) == Estimate(credits, "published")


def test_no_figure_is_without_a_test():
    """The cases above ask for every row of the table, of every tool that it is for."""
    asked = {(slug, id(find_published_price(TOOLS[slug], request))) for slug, request, _ in CASES}
    assert asked == {(slug, id(price)) for slug, rows in published_prices().items() for price in rows}


def test_every_figure_has_a_source_and_a_date():
    """The sentence of a figure holds its number, and the installed SDK still says what is taken from it."""
    sources = json.loads((Path(prices.__file__).parent / "prices.json").read_text())["sources"]
    sdk = "\n".join(path.read_text() for path in Path(magic_hour.__file__).parent.rglob("*.py"))
    for slug, rows in published_prices().items():
        for price in rows:
            assert price.date == sources[price.source]["date"], slug
            numbers = (price.credits, price.credits * 24)  # of a frame, at 24 frames a second
            assert any(f"{number:g}" in price.figure for number in numbers) or price.credits == 0, (slug, price)
            assert price.source == "models" or price.figure in sdk, (slug, price.figure)


@pytest.mark.parametrize(("slug", "request_"), UNKNOWN)
def test_an_unknown_price_is_unknown(slug, request_):
    """What is left to a moving default, or published for something else, has no price: it is never 0."""
    assert estimate(slug, request_) == Estimate(None, "none")


def test_media_of_a_known_length():
    """Where the request does not say how long the output is, the length of its media does, from where it starts."""
    assert estimate("lip-sync", {"start_seconds": 2}, media_seconds=12) == Estimate(300, "published")
    assert estimate("lip-sync", CLIP, media_seconds=99) == Estimate(300, "published")


def test_what_a_job_was_charged_counts_more():
    """An observed price comes before a published one; a tool that nobody knows is refused."""
    assert estimate("photo-colorizer", {}, observed=12) == Estimate(12, "observed")
    with pytest.raises(InvalidInputError, match="photo-colorizer"):
        estimate("photo-coloriser", {})


@pytest.mark.parametrize("observed", [0, -5, True, 10**12])
def test_what_no_job_costs_is_no_price(observed):
    """Where a job was charged nothing, less, or more than any job costs, what is published counts."""
    assert estimate("lip-sync", CLIP, observed=observed) == Estimate(300, "published")
    assert estimate("character-replace", TEN_SECONDS, observed=observed) == Estimate(None, "none")
    assert estimate("face-detection", {}, observed=observed) == Estimate(0, "published")


def test_the_simulator_charges_by_the_same_table(sim):
    """What a job is charged first is what was estimated, of every unit."""
    client = MagicHourClient(api_key=KEY, base_url=sim.url)
    files = {"video_source": "file", "video_file_path": "https://h/a.mp4", "audio_file_path": "https://h/a.mp3"}
    requests = {
        "text-to-video": {**TEN_SECONDS, "model": "kling-3.0", "resolution": "720p", "audio": True},
        "ai-image-generator": {"image_count": 4, "model": "flux-schnell", "resolution": "640px"},
        "ai-voice-generator": {"style": {"voice_name": "Morgan Freeman", "prompt": "Good evening."}},
        "lip-sync": {"assets": files, **CLIP},
        "ai-music-generator": {"duration": 30},
    }
    for slug, request in requests.items():
        sent = request if slug == "lip-sync" else {"style": {"prompt": "x"}} | request
        assert client.create(slug, sent).credits_charged == estimate(slug, sent).credits, slug
    assert sim.summary().creates == len(requests)
