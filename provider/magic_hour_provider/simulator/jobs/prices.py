"""Prices of jobs. Where Magic Hour publishes none plainly, a flat guess: image 10, second of video 24.

Sources: the official SDK 0.90.0 and https://docs.magichour.ai/billing; they change, so compare no bill with this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.simulator.jobs.facts import main_text, text_at

ESTIMATED_FPS = 30  # what the service assumes before it has seen the video


@dataclass(frozen=True)
class Price:
    """The price of one tool.

    :param credits: credits per unit, when no row of the table fits.
    :param per: the unit: ``image``, ``second``, ``frame``, ``character`` or ``task``.
    :param by: request fields that pick a row of the table, as dotted paths.
    :param table: credits per unit by the values of those fields, joined by spaces.
    """

    credits: float
    per: str
    by: tuple[str, ...] = ()
    table: Mapping[str, float] = field(default_factory=dict)


_MODES = ("style.generation_mode",)
_UPSCALER = {"2 preserve": 25, "2 pro": 25, "4 preserve": 100, "4 pro": 100, "2": 50, "4": 200}

PRICES: Mapping[str, Price] = {
    "ai-clothes-changer": Price(25, "image"),
    "ai-face-editor": Price(1, "image"),
    "ai-gif-generator": Price(50, "task"),
    "ai-headshot-generator": Price(50, "image"),
    "ai-image-upscaler": Price(
        50,
        "image",
        ("scale_factor", "style.mode"),
        _UPSCALER | {"2 balanced": 50, "2 creative": 50, "4 balanced": 200, "4 creative": 200},
    ),
    "ai-meme-generator": Price(10, "image"),
    "ai-music-generator": Price(1, "second"),
    "ai-qr-code-generator": Price(0, "image"),
    "ai-talking-photo": Price(20, "second", _MODES, {"realistic": 48}),
    "ai-voice-cloner": Price(0.1, "character"),
    "ai-voice-generator": Price(0.1, "character"),
    "animation": Price(24, "second"),
    "audio-to-video": Price(24, "second", ("resolution",), {"480p": 24, "720p": 48, "1080p": 72}),
    "auto-subtitle-generator": Price(4.8, "second"),
    "body-swap": Price(100, "image", ("resolution",), {"640px": 50}),
    "character-replace": Price(48, "second"),
    "face-detection": Price(0, "task"),
    "face-swap": Price(1, "frame"),
    "face-swap-photo": Price(10, "image"),
    "head-swap": Price(10, "image"),
    "image-background-remover": Price(5, "image"),
    "lip-sync": Price(1, "frame", _MODES, {"pro": 2}),
    "photo-colorizer": Price(10, "image"),
    "video-to-video": Price(2, "frame"),
}
_OF_KIND = {
    "image": Price(10, "image"),
    "video": Price(24, "second"),
    "audio": Price(0.1, "character"),
    "face-detection": Price(0, "task"),
}


def credits_for(
    tool: Tool, request: Mapping[str, Any], *, images: int, seconds: float, fps: float = ESTIMATED_FPS
) -> int:
    """Return the whole credits that a job costs.

    Tools charged by the frame take an estimate at 30 frames a second, and settle to the frames that were rendered.

    :param images: number of images asked for.
    :param seconds: length of the clip or piece asked for, in seconds.
    :param fps: frames a second.
    """
    price = PRICES.get(tool.slug) or _OF_KIND[tool.kind]
    row = " ".join(filter(None, (text_at(request, path) for path in price.by)))
    each = price.table.get(row, price.credits)
    units = {
        "image": images,
        "second": seconds,
        "frame": seconds * fps,
        "character": len(main_text(request)),
        "task": 1,
    }[price.per]
    # Rounded first, as 0.1 credits times 30 characters is a hair above 3 in floating point.
    return math.ceil(round(each * units, 6))
