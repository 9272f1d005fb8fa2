"""The published prices of jobs: each figure with its unit, its source and its date, from ``prices.json``.

The sources are Magic Hour's page of models and the docstrings of the official SDK, whose release has no known date: its
figures have the day on which they were read. Where the two contradict each other the SDK counts, as the later one.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from magic_hour_provider.api.catalog import Tool

ESTIMATED_FPS = 30.0
"""Frames a second that the service assumes before it has seen the video; the charge settles to what was rendered."""

COUNTED = ("image_count", "duration", "start_seconds", "end_seconds")
"""Fields of a request that say how much it asks for."""
_LARGEST = 1e9  # what is more is no number of seconds or images that a service takes
_TEXT = "style.prompt"  # of the tools that are charged by the character


class PublishedPrice(NamedTuple):
    """One figure.

    :param credits: credits per unit.
    :param unit: ``image``, ``second``, ``frame`` or ``character``.
    :param when: the request fields that it is for, as dotted paths, and their values as text.
    :param figure: what the source says.
    :param source: key of the source in ``prices.json``.
    :param date: on which the source said so.
    :param fps: the request field that has the frames per second; empty: 30 are assumed.
    """

    credits: float
    unit: str
    when: Mapping[str, str]
    figure: str
    source: str
    date: str
    fps: str = ""


@cache
def published_prices() -> Mapping[str, tuple[PublishedPrice, ...]]:
    """Return all figures by the tool's slug. Read when first asked for: parsing a DAG has no use for them."""
    found: dict[str, list[PublishedPrice]] = defaultdict(list)
    for row in json.loads((Path(__file__).parent / "prices.json").read_text(encoding="utf-8"))["prices"]:
        tools = row.pop("tools")
        price = PublishedPrice(**{"when": {}} | row)
        for slug in tools:
            found[slug].append(price)
    return {slug: tuple(prices) for slug, prices in found.items()}


def find_published_price(tool: Tool, request: Mapping[str, Any]) -> PublishedPrice | None:
    """Return the figure that is for a request; None: none is published for what it asks for.

    A field that is left out counts as its documented default; one whose default moves, or depends on the plan, is not
    known. So is a value that is not known yet, such as a template.

    :param request: its JSON body.
    """
    for price in published_prices().get(tool.slug, ()):
        if all(_text_at(tool, request, path) == value for path, value in price.when.items()):
            return price
    return None


def compute_credits(
    price: PublishedPrice, request: Mapping[str, Any], *, media_seconds: float | None = None, fps: float | None = None
) -> int | None:
    """Return what a request costs at a figure, rounded up to whole credits; None: how much it asks for is not known.

    :param media_seconds: length of its input in seconds, where the request does not say how long its output is.
    :param fps: frames a second that are rendered; None: what the service assumes before.
    """
    units: float | None
    if price.unit == "image":
        units = _number_at(request, "image_count") if request.get("image_count") is not None else 1
    elif price.unit == "character":
        text = _value_at(request, _TEXT)
        units = len(text.strip()) if isinstance(text, str) else None
    else:
        units = find_seconds(request, media_seconds=media_seconds)
        if price.unit == "frame" and units is not None:
            given = _number_at(request, price.fps) if price.fps else None
            rate = given if given is not None else ESTIMATED_FPS
            units *= min(rate, fps) if fps is not None else rate
    if not units:  # of nothing nobody knows what the service makes
        return None
    # Rounded first, as 0.1 credits times 30 characters is a hair above 3 in floating point.
    return math.ceil(round(price.credits * units, 6))


def find_seconds(request: Mapping[str, Any], *, media_seconds: float | None = None) -> float | None:
    """Return how long the output of a request is, in seconds; None: it does not say, and nobody else does.

    :param media_seconds: length of its input, in seconds.
    """
    duration = _number_at(request, "duration")
    if duration is not None:
        return duration
    end = _number_at(request, "end_seconds")
    end = end if end is not None else media_seconds
    seconds = None if end is None else end - (_number_at(request, "start_seconds") or 0.0)
    return seconds if seconds is not None and seconds > 0 else None


def _value_at(request: Mapping[str, Any], path: str) -> Any:
    value: Any = request
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _number_at(request: Mapping[str, Any], path: str) -> float | None:
    value = _value_at(request, path)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= _LARGEST else None


def _text_at(tool: Tool, request: Mapping[str, Any], path: str) -> str:
    """Return a field's value as text: the documented default, where it is left out; empty where there is none."""
    value = _value_at(request, path)
    if value is None:
        schema: Any = tool.schema
        for name in path.split("."):
            schema = schema.get("properties", {}).get(name, {})
        value = schema.get("default")
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else value if isinstance(value, str) else ""
