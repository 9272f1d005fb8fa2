"""What a stored file is: a fixed list of media types, and a look at the file's first bytes."""

from __future__ import annotations

HEAD = 64
"""How many bytes of a file :func:`served_type` wants to see."""

_PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif")
_FILMS = ("video/mp4", "video/quicktime")

# What a file with this extension may turn out to be. Where two types look alike, the first is told by the extension.
_ALLOWED: dict[str, tuple[str, ...]] = {
    "png": _PICTURES,
    "jpg": _PICTURES,
    "jpeg": _PICTURES,
    "webp": _PICTURES,
    "gif": _PICTURES,
    "mp4": _FILMS,
    "m4v": _FILMS,
    "mov": ("video/quicktime",),
    "webm": ("video/webm",),
    "mp3": ("audio/mpeg",),
    "wav": ("audio/wav",),
    "m4a": ("audio/mp4",),
}


def extension(name: str) -> str:
    """Return a file name's extension, without its dot, in small letters."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def expected_kind(name: str) -> str:
    """Return ``image``, ``video`` or ``audio`` as a name promises it; ``other`` for anything else."""
    allowed = _ALLOWED.get(extension(name))
    return allowed[0].partition("/")[0] if allowed else "other"


def served_type(name: str, head: bytes) -> str | None:
    """Return the media type under which a file may be shown in place, or None: it is for download only.

    :param name: the file's name.
    :param head: its first bytes, :data:`HEAD` of them or all.
    """
    looks = _looks_like(head)
    return next((kind for kind in _ALLOWED.get(extension(name), ()) if kind in looks), None)


def _looks_like(head: bytes) -> tuple[str, ...]:
    """Return the types that a file's first bytes allow (https://mimesniff.spec.whatwg.org has the same signatures)."""
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
