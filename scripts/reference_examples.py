"""One request for each tool, for its page of the reference: what somebody would ask for, as short as it can be."""

from __future__ import annotations

from typing import Any

_MEDIA = "s3://aws_default@media"
_PHOTO = f"{_MEDIA}/portrait.jpg"
_PRODUCT = f"{_MEDIA}/shoe.jpg"
_CLIP = f"{_MEDIA}/interview.mp4"
_VOICE = f"{_MEDIA}/narration.mp3"

EXAMPLES: dict[str, dict[str, Any]] = {
    "ai-clothes-changer": {
        "assets": {
            "person_file_path": _PHOTO,
            "garment_file_path": f"{_MEDIA}/raincoat.jpg",
            "garment_type": "upper_body",
        }
    },
    "ai-face-editor": {"assets": {"image_file_path": _PHOTO}, "style": {"mouth_smile": 40, "enhance_face": True}},
    "ai-gif-generator": {"style": {"prompt": "A paper boat rocks on small waves"}},
    "ai-headshot-generator": {"assets": {"image_file_path": _PHOTO}},
    "ai-image-editor": {
        "assets": {"image_file_paths": [_PRODUCT]},
        "style": {"prompt": "Put the shoe on wet sand at sunset"},
        "model": "qwen-edit",
        "resolution": "640px",
    },
    "ai-image-generator": {
        "image_count": 1,
        "style": {"prompt": "A lighthouse at dawn, travel poster"},
        "model": "z-image-turbo",
        "resolution": "640px",
    },
    "ai-image-upscaler": {"assets": {"image_file_path": _PRODUCT}, "scale_factor": 2, "style": {"mode": "preserve"}},
    "ai-meme-generator": {"style": {"template": "Absolute Cinema", "topic": "The build passes on a Friday"}},
    "ai-music-generator": {
        "duration": 30,
        "style": {"prompt": "Calm piano with a little rain", "instrumental": True},
    },
    "ai-qr-code-generator": {"content": "https://magichour.ai", "style": {"art_style": "Watercolor"}},
    "ai-talking-photo": {
        "assets": {"image_file_path": _PHOTO, "audio_file_path": _VOICE},
        "start_seconds": 0,
        "end_seconds": 10,
        "style": {"generation_mode": "realistic"},
    },
    "ai-ugc-ad": {
        "assets": {"image_file_path": _PRODUCT},
        "script": "I have worn these for a month, in all weathers.",
        "end_seconds": 10,
    },
    "ai-video-editor": {
        "assets": {"video_file_path": _CLIP},
        "end_seconds": 5,
        "style": {"prompt": "Make it snow outside the window"},
    },
    "ai-video-translator": {
        "assets": {"video_file_path": _CLIP},
        "start_seconds": 0,
        "end_seconds": 20,
        "target_language": "Catalan",
    },
    "ai-video-upscaler": {
        "assets": {"video_file_path": _CLIP},
        "start_seconds": 0,
        "end_seconds": 8,
        "resolution": "1080p",
    },
    "ai-voice-cloner": {"assets": {"audio_file_path": _VOICE}, "style": {"prompt": "Good morning, and welcome back."}},
    "ai-voice-generator": {"style": {"prompt": "Doors open at eight.", "voice_name": "Morgan Freeman"}},
    "animation": {
        "assets": {"audio_source": "file", "audio_file_path": _VOICE},
        "end_seconds": 10,
        "fps": 12,
        "width": 960,
        "height": 512,
        "style": {
            "art_style": "Art Deco",
            "camera_effect": "Boost Zoom In",
            "prompt_type": "custom",
            "prompt": "A night train crosses a bridge",
            "transition_speed": 5,
        },
    },
    "audio-to-video": {
        "assets": {"audio_file_path": _VOICE},
        "end_seconds": 8,
        "resolution": "480p",
        "style": {"prompt": "A presenter at a desk"},
    },
    "auto-subtitle-generator": {
        "assets": {"video_file_path": _CLIP},
        "start_seconds": 0,
        "end_seconds": 15,
        "style": {"template": "cinematic"},
    },
    "body-swap": {
        "assets": {"person_file_path": _PHOTO, "scene_file_path": f"{_MEDIA}/stage.jpg"},
        "resolution": "640px",
    },
    "character-replace": {
        "assets": {"image_file_path": _PHOTO, "video_file_path": _CLIP},
        "end_seconds": 5,
    },
    "face-detection": {"assets": {"target_file_path": f"{_MEDIA}/team.jpg"}},
    "face-swap": {
        "assets": {"video_source": "file", "video_file_path": _CLIP, "image_file_path": _PHOTO},
        "start_seconds": 0,
        "end_seconds": 5,
    },
    "face-swap-photo": {"assets": {"source_file_path": _PHOTO, "target_file_path": f"{_MEDIA}/stage.jpg"}},
    "head-swap": {"assets": {"head_file_path": _PHOTO, "body_file_path": f"{_MEDIA}/stage.jpg"}},
    "image-background-remover": {"assets": {"image_file_path": _PRODUCT}},
    "image-to-video": {
        "assets": {"image_file_path": _PRODUCT},
        "end_seconds": 5,
        "model": "ltx-2.3",
        "resolution": "720p",
        "style": {"prompt": "The camera circles the shoe slowly"},
    },
    "lip-sync": {
        "assets": {"video_source": "file", "video_file_path": _CLIP, "audio_file_path": _VOICE},
        "start_seconds": 0,
        "end_seconds": 5,
    },
    "photo-colorizer": {"assets": {"image_file_path": f"{_MEDIA}/grandparents.jpg"}},
    "text-to-video": {
        "end_seconds": 5,
        "model": "kling-3.0",
        "resolution": "720p",
        "style": {"prompt": "Waves break on black rocks, seen from above"},
    },
    "video-to-video": {
        "assets": {"video_source": "file", "video_file_path": _CLIP},
        "start_seconds": 0,
        "end_seconds": 5,
        "style": {"art_style": "Anime Warrior", "prompt_type": "default", "version": "default"},
    },
}
