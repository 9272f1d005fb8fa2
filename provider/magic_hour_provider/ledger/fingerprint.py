"""The fingerprint of a request: which of its fields changed, without keeping the request itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

UNREADABLE = "magic-hour:unreadable-file"
"""Stands for a file that cannot be read now: it counts as unchanged."""


def compute_fingerprint(request: Mapping[str, Any], **more: str) -> dict[str, str]:
    """Return the SHA-256 of each field of a request, by its dotted path, over canonical JSON.

    :param request: the request, with every input file replaced by what identifies it.
    :param more: further facts that make a request another one, such as the connection.
    """
    digests: dict[str, str] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for name, inner in value.items():
                walk(f"{path}.{name}" if path else str(name), inner)
        else:
            # What is no JSON is refused where it would be paid for; here it only is another value.
            try:
                text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=repr)
            except (TypeError, ValueError):  # keys that are no text, numbers of thousands of digits
                text = type(value).__name__
            unreadable = f'"{UNREADABLE}"' in text
            digests[path] = UNREADABLE if unreadable else hashlib.sha256(text.encode()).hexdigest()

    walk("", request)
    for name, value in more.items():
        walk(f"({name})", value)
    return digests


def find_changed_fields(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Name the fields that differ; a file that cannot be read, or a request nobody recorded, counts as unchanged."""
    if not before:
        return []
    return sorted(
        name
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name) and UNREADABLE not in (before.get(name), after.get(name))
    )
