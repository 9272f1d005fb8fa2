"""Rows of a batch, as tests read them."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import Any

from magic_hour_provider.batch.rows.formats.row import Row
from magic_hour_provider.batch.rows.formats.text import open_text
from magic_hour_provider.batch.rows.items import Items, read_items

TOOL = "ai-image-editor"
LINK = "https://x.example/a.png"
SHARED = {"style": {"prompt": "On a beach"}, "assets": {"image_file_paths": [LINK]}}


def reading(requests: Any, **options: Any) -> AbstractContextManager[Items]:
    """Read rows of a tool that edits pictures; what they have in common is a whole request."""
    given = {"request": SHARED, "conn_id": "magic_hour", "host": "https://api.example"} | options
    return read_items(given.pop("tool", TOOL), requests, **given)


def bodies(items: Items) -> list[dict[str, Any]]:
    """Return what is sent for each item."""
    return [dict(items.prepare(item).body) for item in items]


def keys(requests: Any, **options: Any) -> list[str]:
    """Return the keys of the items of rows."""
    with reading(requests, **options) as items:
        return [item.key for item in items]


def parse(read: Any, data: bytes | str) -> list[Row]:
    """Return the rows that a reader of text finds in a file."""
    return list(read(open_text(io.BytesIO(data.encode() if isinstance(data, str) else data))))
