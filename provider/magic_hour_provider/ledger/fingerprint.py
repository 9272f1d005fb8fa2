"""The fingerprint of a request: which of its fields changed, without keeping the request itself.

Names in parentheses are no fields of the request but further facts of it. That of a mapped task also says which fields
were its index's own, and where the files among them were: whether an index was given another item must be known also
when its file cannot be read any more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

UNREADABLE = "magic-hour:unreadable-file"
"""Stands for a file that cannot be read now: unless it is known to have been elsewhere, it counts as unchanged."""

_OWN = "(own)"  # the names of an index's own fields, one a line
_ITEM = "(item)"  # the arguments that a function was given for its index
_SOURCE = "(source) "  # and a field's name: where its files are


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


def field_of(path: Sequence[str | int]) -> str:
    """Return the field in which a value of the request stands: a list is one field."""
    names: list[str] = []
    for part in path:
        if not isinstance(part, str):
            break
        names.append(part)
    return ".".join(names)


def digest_arguments(arguments: Any) -> str | None:
    """Return the SHA-256 of what a function was given for its map index.

    :returns: None where it is no JSON, nor dates and paths: two that differ might have one text.
    """
    try:
        text = json.dumps(arguments, sort_keys=True, separators=(",", ":"), default=_to_text)
    except (TypeError, ValueError, RecursionError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def _to_text(value: Any) -> str:
    from airflow.sdk import ObjectStoragePath

    if not isinstance(value, date | timedelta | PurePath | ObjectStoragePath | UUID | Decimal):
        raise TypeError
    return f"{type(value).__name__} {value}"


def describe_item(own: Iterable[str], sources: Mapping[str, str], arguments: str | None = None) -> dict[str, str]:
    """Return what the fingerprint of a mapped task's item has beside that of any request.

    :param own: the fields that differ by map index.
    :param sources: digests of where the files are, by the field that they are in; those that are not own are left out.
    :param arguments: of :func:`digest_arguments`; None: not known, or no function makes the request.
    """
    names = sorted(own)
    item = {} if arguments is None else {_ITEM: arguments}
    return {_OWN: "\n".join(names)} | item | {f"{_SOURCE}{name}": sources[name] for name in names if name in sources}


def has_same_arguments(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Whether a function was given the same arguments for its index, whatever request it has made of them."""
    return _ITEM in before and before.get(_ITEM) == after.get(_ITEM)


def find_readable(fingerprint: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of the fields that could be read when the fingerprint was made."""
    return {name: digest for name, digest in fingerprint.items() if digest != UNREADABLE}


def find_own_fields(fingerprint: Mapping[str, str]) -> frozenset[str]:
    """Return the fields that differed by map index when the fingerprint was made."""
    return frozenset(fingerprint.get(_OWN, "").split("\n"))


def find_changed_fields(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Name the fields that differ.

    A request nobody recorded counts as unchanged. So does a file that cannot be read, unless both fingerprints say
    where it was, and it was elsewhere.
    """
    if not before:
        return []

    def differs(name: str) -> bool:
        if name not in before or name not in after:
            return True
        if UNREADABLE in (before[name], after[name]):
            then, now = before.get(_SOURCE + name), after.get(_SOURCE + name)
            return then is not None and now is not None and then != now
        return before[name] != after[name]

    names = (before.keys() | after.keys()) - {_OWN, _ITEM}
    return sorted(name for name in names if not name.startswith(_SOURCE) and differs(name))


def find_unknown_fields(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Name a map index's own files that cannot be compared: not readable, and recorded before their places were."""
    return sorted(
        name
        for name in before.keys() & after.keys()
        if UNREADABLE in (before[name], after[name]) and _SOURCE + name in after and _SOURCE + name not in before
    )
