"""XCom values as a page may show them. Many can write XComs, so no shape is taken for granted and no secret passes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from magic_hour_provider.api.errors import redact

_LONGEST = 4000  # characters
_DEEPEST = 12
_WIDEST = 200


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON: texts without secrets, and neither too long nor too deep."""
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {plain(str(name)): plain(inner, depth + 1) for name, inner in list(value.items())[:_WIDEST]}
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        return [plain(inner, depth + 1) for inner in value[:_WIDEST]]
    return redact(value, limit=_LONGEST) if isinstance(value, str) else "…"


def text_of(value: Any) -> str | None:
    """Return a text that is not empty, without secrets; None if it is none."""
    return str(plain(value)) if isinstance(value, str) and value else None


def number_of(value: Any) -> int | float | None:
    """Return a number; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def seconds_of(value: Any) -> float | None:
    """Return an ISO 8601 time as seconds since 1970; None if it is none."""
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def rows_of(value: Any, path: str = "") -> list[dict[str, Any]]:
    """Return a request as rows of dotted names and values, as Magic Hour's documentation writes them."""
    if isinstance(value, Mapping) and value and path.count(".") < _DEEPEST:
        inside = ((f"{path}.{name}" if path else str(name), inner) for name, inner in list(value.items())[:_WIDEST])
        return [row for name, inner in inside for row in rows_of(inner, name)][:_WIDEST]
    return [{"name": plain(path), "value": plain(value)}] if path else []
