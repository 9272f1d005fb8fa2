"""The identity of an item as a safe file name: what is paid for once.

A key is made of ``a`` to ``z``, ``0`` to ``9``, ``-`` and ``_``, begins with a letter or a digit, and has at most 68
characters, so that file systems that ignore case or normal forms keep two of them apart. It is one of

* a short id as it is, where it can be: ``shoe-17``;
* what is readable of any other id, ``--``, and a digest of all of it: ``shoe-17--v1...`` of ``Shoe 17``;
* of an item without an id ``request--v1...``, with a digest of its request.

An id that stays as it is holds no ``--``, so none can be another one's key. ``v1`` is the version of the digests: a
later package that makes others still finds the items of this one. Nothing here may change what a key is made of.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from typing import Any

from magic_hour_provider.inputs.fields import strip_blanks

_VERSION = "v1"
_READABLE = 32  # characters of an id that stay readable beside its digest
_MAX_PLAIN = 64
_PLAIN = re.compile(r"[a-z0-9](?:-?[a-z0-9_])*+")
_RESERVED = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")  # names that Windows has no file of


def clean_item_id(value: Any) -> str:
    """Return an id as text: the same one, whatever form of file it comes in.

    Blanks around it are dropped and its characters composed (NFC): a spreadsheet that a Mac has saved has the same ids.

    :param value: text or a whole number.
    :raises ValueError: it is something else, or empty; the message says what.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"must be text or a whole number; it is {str(value)[:60]!r} ({type(value).__name__})")
    try:
        text = unicodedata.normalize("NFC", strip_blanks(str(value)))
        text.encode()
    except ValueError:  # half a character, or a number of thousands of digits
        raise ValueError("cannot be written as text") from None
    if not text:
        raise ValueError("is empty")
    return text


def make_key(item_id: str) -> str:
    """Return the key of an id; those of two ids are never the same.

    :param item_id: as :func:`clean_item_id` returns it.
    """
    if len(item_id) <= _MAX_PLAIN and _PLAIN.fullmatch(item_id) and not _RESERVED.fullmatch(item_id):
        return item_id
    # Of ASCII alone: what Python knows of other characters changes with its versions.
    ascii_text = item_id[: 4 * _READABLE].encode("ascii", "replace").decode().lower()
    readable = re.sub("[^a-z0-9]+", "-", ascii_text).strip("-")[:_READABLE].rstrip("-") or "item"
    return f"{readable}--{_digest('id', item_id)}"


def make_request_key(body: Any, **facts: str) -> str:
    """Return the key of a request without an id.

    :param body: the request, as JSON, with every file in it replaced by what identifies it.
    :param facts: what else makes it another one, such as the connection.
    """
    whole = {"facts": facts, "request": body}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return f"request--{_digest('request', text)}"


def _digest(of: str, text: str) -> str:
    digest = hashlib.sha256(f"magic-hour item {_VERSION} {of}\n{text}".encode()).digest()[:20]
    return f"{_VERSION}{base64.b32encode(digest).decode().lower()}"
