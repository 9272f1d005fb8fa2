"""Facts of the service that the catalog does not carry, and how values are read from a request.

Sources: the request and details schemas of the official SDK 0.90.0 and of https://docs.magichour.ai/api-reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

CONTENT_TYPES: Mapping[str, str] = {
    "png": "image/png",
    "gif": "image/gif",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "wav": "audio/wav",
}

# The models that a free account may use, of the tools whose models depend on the plan; ``default`` always works.
FREE_MODELS: Mapping[str, frozenset[str]] = {
    "ai-image-editor": frozenset({"default", "flux-2-klein", "krea-2", "qwen-edit", "qwen-image-2.1"}),
    "ai-image-generator": frozenset(
        {"default", "flux-2-klein", "flux-schnell", "krea-2", "qwen-image-2.1", "z-image-turbo"}
    ),
}

# ``type`` in a job's details, where it is not the slug in capitals without its "ai-".
_TYPES: Mapping[str, str] = {
    "ai-gif-generator": "AI_GIF",
    "ai-headshot-generator": "AI_HEADSHOT",
    "ai-image-editor": "AI_IMAGE_EDITOR",
    "ai-image-generator": "AI_IMAGE",
    "ai-meme-generator": "AI_MEME",
    "ai-qr-code-generator": "QR_CODE",
    "auto-subtitle-generator": "AUTO_SUBTITLE",
    "face-swap-photo": "FACE_SWAP",
    "image-background-remover": "BACKGROUND_REMOVER",
}

# Where a request may have text worth showing, the likeliest first.
_TEXTS = (
    "style.prompt",
    "prompt",
    "prompts",
    "script",
    "style.topic",
    "content",
    "style.text",
    "text",
    "target_language",
    "style.art_style",
    "style.template",
)


def format_api_time(seconds: float) -> str:
    """Return a time in seconds since 1970 as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def searchable_text(body: Any) -> str:
    """Return all text of a request and its name, where prompt directives are searched for; files are not part of it."""
    found = [value for path in (*_TEXTS, "name") for value in values_at(body, path)]
    lines = [line for value in found for line in (value if isinstance(value, list) else [value])]
    return "\n".join(line for line in lines if isinstance(line, str))


def project_type(slug: str) -> str:
    """Return the ``type`` that a job of this tool has in its details, such as ``TEXT_TO_VIDEO``."""
    return _TYPES.get(slug) or slug.removeprefix("ai-").replace("-", "_").upper()


def values_at(body: Any, path: str) -> list[Any]:
    """Return the values at a dotted path of a request, leaving out what is absent or null.

    :param path: keys joined by dots; ``[]`` after a key stands for every element of its list.
    """
    found = [body]
    for part in path.split("."):
        key = part.removesuffix("[]")
        found = [value[key] for value in found if isinstance(value, Mapping) and value.get(key) is not None]
        if key != part:
            found = [element for value in found if isinstance(value, list) for element in value if element is not None]
    return found


def text_at(body: Any, path: str) -> str:
    """Return the text at a dotted path of a request; numbers become text, anything else is empty."""
    for value in values_at(body, path):
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return f"{value:g}"
    return ""


def main_text(body: Any) -> str:
    """Return the text of a request that says best what was asked for; empty when it has none."""
    for path in _TEXTS:
        for value in values_at(body, path):
            if isinstance(value, list):
                value = ". ".join(part for part in value if isinstance(part, str))
            if isinstance(value, str) and value.strip():
                return value.strip()
    return ""
