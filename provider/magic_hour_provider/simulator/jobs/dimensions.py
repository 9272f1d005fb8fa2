"""Dimensions of a request's files: size, length and number, within what the simulator renders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magic_hour_provider.api.catalog import Tool
from magic_hour_provider.simulator.errors import ApiError
from magic_hour_provider.simulator.jobs.facts import main_text, text_at, values_at

LONG_SIDE = 640
_LONGEST_CLIP_S = 24 * 3600
_DEFAULT_CLIP_S = 3.0
_CLIP_S = (1.0, 10.0)
_SOUND_S = (1.0, 20.0)
_SECONDS_PER_CHARACTER = 0.06  # of an ordinary reading voice
_ORIENTATIONS = {"landscape": 16 / 9, "portrait": 9 / 16, "square": 1.0}


def _number(request: Mapping[str, Any], field: str, default: float) -> float:
    return float(next(iter(values_at(request, field)), default))


def image_count(request: Mapping[str, Any]) -> int:
    """Return how many images a validated request asks for."""
    return int(_number(request, "image_count", 1))


def clip_range(tool: Tool, request: Mapping[str, Any]) -> tuple[float, float]:
    """Return start and end of the clip or sound that a validated request asks for, in seconds.

    :raises ApiError: the end is not after the start, or too far from it.
    """
    start = _number(request, "start_seconds", 0)
    if tool.kind == "audio":
        end = start + _number(request, "duration", len(main_text(request)) * _SECONDS_PER_CHARACTER or 1)
    else:
        end = _number(request, "end_seconds", start + _DEFAULT_CLIP_S)
    if start < 0 or not 0 < end - start <= _LONGEST_CLIP_S:
        sentence = f"end_seconds must come after start_seconds, by {_LONGEST_CLIP_S} seconds at most."
        raise ApiError(422, "unprocessable_entity", sentence)
    return start, end


def rendered_seconds(kind: str, start: float, end: float) -> float:
    """Return how long the rendered file is, in seconds, for a clip or sound with this start and end."""
    shortest, longest = _SOUND_S if kind == "audio" else _CLIP_S
    return min(max(end - start, shortest), longest)


def has_aspect_ratio(request: Mapping[str, Any]) -> bool:
    """Return whether the request asks for an aspect ratio."""
    return _ratio(request) is not None


def _ratio(request: Mapping[str, Any]) -> float | None:
    width, _, height = text_at(request, "aspect_ratio").partition(":")
    if width.isdecimal() and height.isdecimal() and int(height):
        return int(width) / int(height)
    orientation = text_at(request, "orientation")
    if orientation in _ORIENTATIONS:
        return _ORIENTATIONS[orientation]
    sides = [value for key in ("width", "height") for value in values_at(request, key)]
    if len(sides) == 2 and all(isinstance(side, (int, float)) and side > 0 for side in sides):
        return float(sides[0] / sides[1])
    return None


def image_size(request: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height in pixels: the aspect ratio asked for, or 16:9, at a size that is cheap to render."""
    return size_for_ratio(_ratio(request) or 16 / 9)


def size_for_ratio(ratio: float) -> tuple[int, int]:
    """Return width and height in pixels for a ratio of width to height. Both are even, as H.264 needs."""
    ratio = min(max(ratio, 0.4), 2.5)
    width, height = (1.0, 1 / ratio) if ratio >= 1 else (ratio, 1.0)
    return round(LONG_SIDE * width / 2) * 2, round(LONG_SIDE * height / 2) * 2
