"""Rows that a function returned, kept for the workers that resume the attempt: they do not call it again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from magic_hour_provider.api.validation import to_json_values
from magic_hour_provider.inputs.fields import to_uri
from magic_hour_provider.storage.files import ensure_folder, remove_file, replace_file
from magic_hour_provider.storage.paths import open_folder, open_path

log = logging.getLogger(__name__)

_FILE = "rows.jsonl"


def to_plain_rows(rows: Iterable[Any]) -> list[Any]:
    """Return rows as they are when they have been kept: files are their URIs. What JSON has no value for stays."""
    return [_to_plain(to_json_values(row)) for row in rows]


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _to_plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_to_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else to_uri(value)


def keep_rows(rows: Sequence[Any], folder: str) -> str | None:
    """Write rows into a file of their task instance, over that of an earlier attempt.

    :param folder: of the task instance's results.
    :returns: the file's URI; None: it could not be written, which the log says.
    """
    try:
        lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        target = open_folder(folder)
        ensure_folder(target)
        replace_file(target / _FILE, lines.encode())
    except Exception:
        log.exception("The rows could not be kept in %s: the function is called again to resume.", folder)
        return None
    return f"{folder}/{_FILE}"


def remove_rows(uri: str) -> None:
    """Remove rows that are not needed any more: links in them may be secrets."""
    try:
        remove_file(open_path(uri))
    except FileNotFoundError:
        return
    except Exception as error:  # noqa: BLE001 (each storage library has errors of its own)
        log.warning("The rows of this batch are still in %s, and nothing needs them: %s", uri, error)
