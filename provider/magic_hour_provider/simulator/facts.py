"""What the service demands and names that the catalog does not carry.

Sources: the request and details schemas of the official SDK 0.90.0 and of https://docs.magichour.ai/api-reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONTENT_TYPES: Mapping[str, str] = {
    "png": "image/png",
    "gif": "image/gif",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "wav": "audio/wav",
}

# Fields without which a create is refused, as dotted paths.
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "ai-clothes-changer": ("assets.garment_file_path", "assets.person_file_path"),
    "ai-face-editor": ("assets.image_file_path", "style"),
    "ai-gif-generator": ("style.prompt",),
    "ai-headshot-generator": ("assets.image_file_path",),
    "ai-image-editor": ("assets", "style.prompt"),
    "ai-image-generator": ("image_count", "style.prompt"),
    "ai-image-upscaler": ("assets.image_file_path", "scale_factor"),
    "ai-meme-generator": ("style.template", "style.topic"),
    "ai-music-generator": ("duration", "style.prompt"),
    "ai-qr-code-generator": ("content", "style.art_style"),
    "ai-talking-photo": ("assets.audio_file_path", "assets.image_file_path", "end_seconds", "start_seconds"),
    "ai-ugc-ad": ("assets.image_file_path", "end_seconds", "script"),
    "ai-video-editor": ("assets.video_file_path", "end_seconds", "style.prompt"),
    "ai-video-translator": ("assets.video_file_path", "end_seconds", "target_language"),
    "ai-video-upscaler": ("assets.video_file_path", "end_seconds", "resolution"),
    "ai-voice-cloner": ("assets.audio_file_path", "style.prompt"),
    "ai-voice-generator": ("style.prompt", "style.voice_name"),
    "animation": (
        "assets.audio_source",
        "end_seconds",
        "fps",
        "height",
        "style.art_style",
        "style.camera_effect",
        "style.prompt_type",
        "style.transition_speed",
        "width",
    ),
    "audio-to-video": ("assets.audio_file_path", "end_seconds"),
    "auto-subtitle-generator": ("assets.video_file_path", "end_seconds", "start_seconds", "style"),
    "body-swap": ("assets.person_file_path", "assets.scene_file_path", "resolution"),
    "character-replace": ("assets.image_file_path", "assets.video_file_path", "end_seconds"),
    "face-detection": ("assets.target_file_path",),
    "face-swap": ("assets.video_source", "end_seconds", "start_seconds"),
    "face-swap-photo": ("assets.target_file_path",),
    "head-swap": ("assets.body_file_path", "assets.head_file_path"),
    "image-background-remover": ("assets.image_file_path",),
    "image-to-video": ("assets.image_file_path", "end_seconds"),
    "lip-sync": ("assets.audio_file_path", "assets.video_source", "end_seconds", "start_seconds"),
    "photo-colorizer": ("assets.image_file_path",),
    "text-to-video": ("end_seconds", "style.prompt"),
    "video-to-video": ("assets.video_source", "end_seconds", "start_seconds", "style.art_style"),
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

# Where a request may hold words worth showing, the likeliest first.
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


def text_of(body: Any) -> str:
    """Return the words of a request that say best what was asked for; empty when it has none."""
    for path in _TEXTS:
        for value in values_at(body, path):
            if isinstance(value, list):
                value = ". ".join(part for part in value if isinstance(part, str))
            if isinstance(value, str) and value.strip():
                return value.strip()
    return ""
