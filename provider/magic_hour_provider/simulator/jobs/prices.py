"""Prices of jobs: the published ones, and a flat guess where there is none: image 10, second of video 24."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.api.prices.table import compute_credits, find_published_price
from magic_hour_provider.simulator.jobs.facts import main_text

_GUESSES = {"image": 10.0, "video": 24.0, "audio": 0.1, "face-detection": 0.0}


def credits_for(
    tool: Tool, request: Mapping[str, Any], *, images: int, seconds: float, fps: float | None = None
) -> int:
    """Return the whole credits that a job costs.

    Tools charged by the frame take an estimate at 30 frames a second, and settle to the frames that were rendered.

    :param images: number of images asked for.
    :param seconds: length of the clip or piece asked for, in seconds.
    :param fps: frames a second that are rendered; None: before that is known.
    """
    price = find_published_price(tool, request)
    credits = compute_credits(price, request, media_seconds=seconds, fps=fps) if price is not None else None
    if credits is not None:
        return credits
    units = {"image": images, "video": seconds, "audio": len(main_text(request)), "face-detection": 1}[tool.kind]
    return math.ceil(round(_GUESSES[tool.kind] * units, 6))
