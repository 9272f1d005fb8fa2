"""Media types of stored files: a fixed list, checked against the file's first bytes."""

from __future__ import annotations

SIGNATURE_SIZE = 64
"""Number of bytes that :func:`sniff_served_type` needs."""

_IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif")
_VIDEOS = ("video/mp4", "video/quicktime")

# The types that a file with this extension may have. Of types with the same signature, the first one is used.
_ALLOWED: dict[str, tuple[str, ...]] = {
    "png": _IMAGES,
    "jpg": _IMAGES,
    "jpeg": _IMAGES,
    "webp": _IMAGES,
    "gif": _IMAGES,
    "mp4": _VIDEOS,
    "m4v": _VIDEOS,
    "mov": ("video/quicktime",),
    "webm": ("video/webm",),
    "mp3": ("audio/mpeg",),
    "wav": ("audio/wav",),
    "m4a": ("audio/mp4",),
}


_KINDS = {name: types[0].partition("/")[0] for name, types in _ALLOWED.items()}


def extension(name: str) -> str:
    """Return a file name's extension in lower case, without its dot."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def expected_kind(name: str) -> str:
    """Return ``image``, ``video`` or ``audio`` by the extension of a file name or URI; ``other`` for anything else."""
    return _KINDS.get(extension(name), "other")


def sniff_served_type(name: str, head: bytes) -> str | None:
    """Return the media type under which a file may be shown in the page, or None: it is for download only.

    :param name: the file's name.
    :param head: its first bytes, :data:`SIGNATURE_SIZE` of them or all.
    """
    possible = _possible_types(head)
    return next((kind for kind in _ALLOWED.get(extension(name), ()) if kind in possible), None)


def _possible_types(head: bytes) -> tuple[str, ...]:
    """Return the types that a file's first bytes allow (the signatures of https://mimesniff.spec.whatwg.org)."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ("image/png",)
    if head.startswith(b"\xff\xd8\xff"):
        return ("image/jpeg",)
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ("image/gif",)
    if head.startswith(b"RIFF"):
        return {b"WEBP": ("image/webp",), b"WAVE": ("audio/wav",)}.get(head[8:12], ())
    if head[4:8] == b"ftyp":
        return ("video/quicktime",) if head[8:12] == b"qt  " else ("video/mp4", "audio/mp4")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return ("video/webm",)
    if head.startswith(b"ID3") or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return ("audio/mpeg",)  # tag, or a frame of layer III
    return ()
