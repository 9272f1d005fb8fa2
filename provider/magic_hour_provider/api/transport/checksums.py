"""Checksums of a whole file in the headers of its storage's response."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import httpx


def expected_checksums(headers: httpx.Headers) -> list[tuple[Any, bytes]]:
    """Return the checksums of a whole file in its response's headers: pairs of an open hash and the digest expected.

    Read are RFC 9530's ``Repr-Digest``, Google's ``x-goog-hash``, Azure's ``Content-MD5``, and of Amazon
    ``x-amz-checksum-sha256`` and the ETag, which is the MD5 of an object that was stored in one piece without a key of
    the customer's. CRCs are not read, as Python computes few of them.
    """
    found: list[tuple[str, bytes | None]] = []
    for name, kind in (("content-md5", "md5"), ("x-ms-blob-content-md5", "md5"), ("x-amz-checksum-sha256", "sha256")):
        found.append((kind, _base64(headers.get(name, ""))))
    # What Google stores compressed it may decompress on the way: its checksum is of what is stored.
    is_stored = headers.get("x-goog-stored-content-encoding", "identity").lower() in ("", "identity")
    for part in headers.get("x-goog-hash", "").split(",") if is_stored else ():
        found.append(("md5", _base64(part.strip().removeprefix("md5=")) if "md5=" in part else None))
    for part in headers.get("repr-digest", "").split(","):
        name, _, value = part.strip().partition("=")
        found.append((name.replace("sha-256", "sha256"), _base64(value.strip(":")) if name == "sha-256" else None))
    etag = re.fullmatch(r'"([0-9a-f]{32})"', headers.get("etag", ""))
    keys = headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
    keys = keys or "x-amz-server-side-encryption-customer-algorithm" in headers
    if etag and headers.get("server") == "AmazonS3" and not keys:
        found.append(("md5", bytes.fromhex(etag[1])))
    return [
        (hashlib.new(kind, usedforsecurity=False), wanted)
        for kind, wanted in found
        if wanted is not None and len(wanted) == hashlib.new(kind, usedforsecurity=False).digest_size
    ]


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) or None
    except ValueError:
        return None
