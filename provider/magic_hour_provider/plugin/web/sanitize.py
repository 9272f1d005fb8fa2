"""Sanitizes XCom values for the pages: many people can write XComs, so no shape is assumed and no secret passes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from magic_hour_provider.api.redaction import redact

_HALF_PAIR = re.compile("[\ud800-\udfff]")  # no response can be encoded with it
_MAX_TEXT = 4000  # characters
_MAX_DEPTH = 12
_MAX_WIDTH = 200
_MAX_NUMBER = 10**18  # a longer integer costs time, and a page's script cannot read it


def to_safe_json(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON without secrets, limited in length, width and depth."""
    if isinstance(value, bool | None):
        return value
    if isinstance(value, int | float):
        return safe_number(value)
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        return {
            to_safe_json(str(name)): to_safe_json(inner, depth + 1) for name, inner in list(value.items())[:_MAX_WIDTH]
        }
    if isinstance(value, list | tuple) and depth < _MAX_DEPTH:
        return [to_safe_json(inner, depth + 1) for inner in value[:_MAX_WIDTH]]
    return _HALF_PAIR.sub("\ufffd", redact(value, limit=_MAX_TEXT)) if isinstance(value, str) else "…"


def safe_text(value: Any) -> str | None:
    """Return a non-empty text without secrets; None for anything else."""
    return str(to_safe_json(value)) if isinstance(value, str) and value else None


def safe_number(value: Any) -> int | float | None:
    """Return a number that is finite and not beyond what anybody counts; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -_MAX_NUMBER <= value <= _MAX_NUMBER else None


def parse_number(text: str | None) -> float | None:
    """Return the number of a light value, as :func:`safe_number`; None where there is none."""
    try:
        return safe_number(float(text)) if text is not None else None
    except ValueError:
        return None


def flatten_request(value: Any, path: str = "", depth: int = 0) -> list[dict[str, Any]]:
    """Return a request as rows of dotted field names and values, as Magic Hour's documentation writes them."""
    if isinstance(value, Mapping) and value and depth <= _MAX_DEPTH:
        inside = ((f"{path}.{name}" if path else str(name), inner) for name, inner in list(value.items())[:_MAX_WIDTH])
        return [row for name, inner in inside for row in flatten_request(inner, name, depth + 1)][:_MAX_WIDTH]
    return [{"name": to_safe_json(path), "value": to_safe_json(value)}] if path else []
