"""The shapes of the typed operators' arguments, for type checkers: nothing imports it at run time.

Made by scripts/sync_api.py from the official SDK; changes belong there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, NotRequired, TypedDict

from airflow.sdk import XComArg

FileInput = str | Mapping[str, Any] | XComArg
"""A public URL, a Magic Hour reference, a path, a storage URI, or an earlier task's result."""


class AirflowOptions(TypedDict, total=False):
    """Options of every task."""

    task_id: str
    owner: Any
    email: Any
    email_on_retry: Any
    email_on_failure: Any
    retries: Any
    retry_delay: Any
    retry_exponential_backoff: Any
    max_retry_delay: Any
    retry_policy: Any
    start_date: Any
    end_date: Any
    depends_on_past: Any
    ignore_first_depends_on_past: Any
    wait_for_past_depends_before_skipping: Any
    wait_for_downstream: Any
    dag: Any
    params: Any
    default_args: Any
    priority_weight: Any
    weight_rule: Any
    queue: Any
    pool: Any
    pool_slots: Any
    sla: Any
    execution_timeout: Any
    on_execute_callback: Any
    on_failure_callback: Any
    on_success_callback: Any
    on_retry_callback: Any
    on_skipped_callback: Any
    pre_execute: Any
    post_execute: Any
    trigger_rule: Any
    resources: Any
    run_as_user: Any
    map_index_template: Any
    max_active_tis_per_dag: Any
    max_active_tis_per_dagrun: Any
    executor: Any
    executor_config: Any
    do_xcom_push: Any
    multiple_outputs: Any
    inlets: Any
    outlets: Any
    task_group: Any
    doc: Any
    doc_md: Any
    doc_json: Any
    doc_yaml: Any
    doc_rst: Any
    task_display_name: Any
    logger_name: Any
    allow_nested_operators: Any
    render_template_as_native_obj: Any


class OperatorOptions(AirflowOptions, total=False):
    """Options of MagicHourOperator, and Airflow's."""

    magic_hour_conn_id: str
    output_path: str | None
    wait_for_completion: bool
    deferrable: bool
    timeout: float | timedelta | None
    extra_request: Mapping[str, Any] | XComArg | None
    on_unknown_submission: Literal["fail", "resubmit"]
    on_clear: Literal["reuse", "regenerate"]
    max_credits: int | None
    max_credits_unknown: Literal["refuse", "allow"]
    max_credits_per_run: int | None
    input_transfer: Literal["upload", "presign"] | None


class AIClothesChangerAssets(TypedDict):
    """``assets`` of ``ai-clothes-changer``."""

    garment_file_path: FileInput
    garment_type: NotRequired[Literal["dresses", "entire_outfit", "lower_body", "upper_body"] | XComArg]
    person_file_path: FileInput


class AIFaceEditorAssets(TypedDict):
    """``assets`` of ``ai-face-editor``."""

    image_file_path: FileInput


class AIFaceEditorStyle(TypedDict):
    """``style`` of ``ai-face-editor``."""

    enhance_face: NotRequired[bool | XComArg]
    eye_gaze_horizontal: NotRequired[float | XComArg]
    eye_gaze_vertical: NotRequired[float | XComArg]
    eye_open_ratio: NotRequired[float | XComArg]
    eyebrow_direction: NotRequired[float | XComArg]
    head_pitch: NotRequired[float | XComArg]
    head_roll: NotRequired[float | XComArg]
    head_yaw: NotRequired[float | XComArg]
    lip_open_ratio: NotRequired[float | XComArg]
    mouth_grim: NotRequired[float | XComArg]
    mouth_position_horizontal: NotRequired[float | XComArg]
    mouth_position_vertical: NotRequired[float | XComArg]
    mouth_pout: NotRequired[float | XComArg]
    mouth_purse: NotRequired[float | XComArg]
    mouth_smile: NotRequired[float | XComArg]


class AIGifGeneratorStyle(TypedDict):
    """``style`` of ``ai-gif-generator``."""

    prompt: str | XComArg


class AIHeadshotGeneratorAssets(TypedDict):
    """``assets`` of ``ai-headshot-generator``."""

    image_file_path: FileInput


class AIHeadshotGeneratorStyle(TypedDict):
    """``style`` of ``ai-headshot-generator``."""

    prompt: NotRequired[str | XComArg]


class AIImageEditorAssets(TypedDict):
    """``assets`` of ``ai-image-editor``."""

    image_file_path: NotRequired[FileInput]
    image_file_paths: NotRequired[Sequence[FileInput] | XComArg]


class AIImageEditorStyle(TypedDict):
    """``style`` of ``ai-image-editor``."""

    model: NotRequired[str | XComArg]
    prompt: str | XComArg


class AIImageGeneratorStyle(TypedDict):
    """``style`` of ``ai-image-generator``."""

    prompt: str | XComArg
    quality_mode: NotRequired[Literal["pro", "standard"] | XComArg]
    tool: NotRequired[str | XComArg]


class AIImageUpscalerAssets(TypedDict):
    """``assets`` of ``ai-image-upscaler``."""

    image_file_path: FileInput


class AIImageUpscalerStyle(TypedDict):
    """``style`` of ``ai-image-upscaler``."""

    enhancement: NotRequired[Literal["Balanced", "Creative", "Resemblance"] | XComArg]
    mode: NotRequired[Literal["balanced", "creative", "preserve", "pro"] | XComArg]
    prompt: NotRequired[str | XComArg]


class AIMemeGeneratorStyle(TypedDict):
    """``style`` of ``ai-meme-generator``."""

    searchWeb: NotRequired[bool | XComArg]
    search_web: NotRequired[bool | XComArg]
    template: str | XComArg
    topic: str | XComArg


class AIMusicGeneratorStyle(TypedDict):
    """``style`` of ``ai-music-generator``."""

    instrumental: NotRequired[bool | XComArg]
    lyrics: NotRequired[str | XComArg]
    prompt: str | XComArg


class AIQrCodeGeneratorStyle(TypedDict):
    """``style`` of ``ai-qr-code-generator``."""

    art_style: str | XComArg


class AITalkingPhotoAssets(TypedDict):
    """``assets`` of ``ai-talking-photo``."""

    audio_file_path: FileInput
    image_file_path: FileInput


class AITalkingPhotoStyle(TypedDict):
    """``style`` of ``ai-talking-photo``."""

    generation_mode: NotRequired[Literal["expressive", "pro", "prompted", "realistic", "stable", "standard"] | XComArg]
    intensity: NotRequired[float | XComArg]
    prompt: NotRequired[str | XComArg]


class AIUgcAdAssets(TypedDict):
    """``assets`` of ``ai-ugc-ad``."""

    image_file_path: FileInput


class AIVideoEditorAssets(TypedDict):
    """``assets`` of ``ai-video-editor``."""

    video_file_path: FileInput


class AIVideoEditorStyle(TypedDict):
    """``style`` of ``ai-video-editor``."""

    prompt: str | XComArg


class AIVideoTranslatorAssets(TypedDict):
    """``assets`` of ``ai-video-translator``."""

    video_file_path: FileInput


class AIVideoUpscalerAssets(TypedDict):
    """``assets`` of ``ai-video-upscaler``."""

    video_file_path: FileInput


class AIVoiceClonerAssets(TypedDict):
    """``assets`` of ``ai-voice-cloner``."""

    audio_file_path: FileInput


class AIVoiceClonerStyle(TypedDict):
    """``style`` of ``ai-voice-cloner``."""

    prompt: str | XComArg


class AIVoiceGeneratorStyle(TypedDict):
    """``style`` of ``ai-voice-generator``."""

    prompt: str | XComArg
    voice_name: str | XComArg


class AnimationAssets(TypedDict):
    """``assets`` of ``animation``."""

    audio_file_path: NotRequired[FileInput]
    audio_source: Literal["file", "none", "youtube"] | XComArg
    image_file_path: NotRequired[FileInput]
    youtube_url: NotRequired[str | XComArg]


class AnimationStyle(TypedDict):
    """``style`` of ``animation``."""

    art_style: str | XComArg
    art_style_custom: NotRequired[str | XComArg]
    camera_effect: str | XComArg
    prompt: NotRequired[str | XComArg]
    prompt_type: Literal["ai_choose", "custom", "use_lyrics"] | XComArg
    transition_speed: int | XComArg


class AudioToVideoAssets(TypedDict):
    """``assets`` of ``audio-to-video``."""

    audio_file_path: FileInput
    image_file_path: NotRequired[FileInput]


class AudioToVideoStyle(TypedDict):
    """``style`` of ``audio-to-video``."""

    prompt: NotRequired[str | XComArg]


class AutoSubtitleGeneratorAssets(TypedDict):
    """``assets`` of ``auto-subtitle-generator``."""

    video_file_path: FileInput


class AutoSubtitleGeneratorStyleCustomConfig(TypedDict):
    """``style.custom_config`` of ``auto-subtitle-generator``."""

    font: NotRequired[str | XComArg]
    font_size: NotRequired[float | XComArg]
    font_style: NotRequired[str | XComArg]
    highlighted_text_color: NotRequired[str | XComArg]
    horizontal_position: NotRequired[str | XComArg]
    stroke_color: NotRequired[str | XComArg]
    stroke_width: NotRequired[float | XComArg]
    text_color: NotRequired[str | XComArg]
    vertical_position: NotRequired[str | XComArg]


class AutoSubtitleGeneratorStyle(TypedDict):
    """``style`` of ``auto-subtitle-generator``."""

    custom_config: NotRequired[AutoSubtitleGeneratorStyleCustomConfig | XComArg]
    template: NotRequired[str | XComArg]


class BodySwapAssets(TypedDict):
    """``assets`` of ``body-swap``."""

    person_file_path: FileInput
    scene_file_path: FileInput


class CharacterReplaceAssets(TypedDict):
    """``assets`` of ``character-replace``."""

    image_file_path: FileInput
    video_file_path: FileInput


class CharacterReplaceStylePointsItem(TypedDict):
    """``style.points[]`` of ``character-replace``."""

    position_x: int | XComArg
    position_y: int | XComArg
    time_seconds: float | XComArg


class CharacterReplaceStyle(TypedDict):
    """``style`` of ``character-replace``."""

    mode: NotRequired[Literal["animate", "replace"] | XComArg]
    points: NotRequired[Sequence[CharacterReplaceStylePointsItem | XComArg] | XComArg]
    selection_mode: NotRequired[Literal["auto", "point"] | XComArg]


class FaceDetectionAssets(TypedDict):
    """``assets`` of ``face-detection``."""

    target_file_path: FileInput


class FaceSwapAssetsFaceMappingsItem(TypedDict):
    """``assets.face_mappings[]`` of ``face-swap``."""

    new_face: FileInput
    original_face: str | XComArg


class FaceSwapAssets(TypedDict):
    """``assets`` of ``face-swap``."""

    face_mappings: NotRequired[Sequence[FaceSwapAssetsFaceMappingsItem | XComArg] | XComArg]
    face_swap_mode: NotRequired[Literal["all-faces", "individual-faces"] | XComArg]
    image_file_path: NotRequired[FileInput]
    video_file_path: NotRequired[FileInput]
    video_source: Literal["file", "youtube"] | XComArg
    youtube_url: NotRequired[str | XComArg]


class FaceSwapStyle(TypedDict):
    """``style`` of ``face-swap``."""

    version: NotRequired[Literal["default", "v1", "v2"] | XComArg]


class FaceSwapPhotoAssetsFaceMappingsItem(TypedDict):
    """``assets.face_mappings[]`` of ``face-swap-photo``."""

    new_face: FileInput
    original_face: str | XComArg


class FaceSwapPhotoAssets(TypedDict):
    """``assets`` of ``face-swap-photo``."""

    face_mappings: NotRequired[Sequence[FaceSwapPhotoAssetsFaceMappingsItem | XComArg] | XComArg]
    face_swap_mode: NotRequired[Literal["all-faces", "individual-faces"] | XComArg]
    source_file_path: NotRequired[FileInput]
    target_file_path: FileInput


class HeadSwapAssets(TypedDict):
    """``assets`` of ``head-swap``."""

    body_file_path: FileInput
    head_file_path: FileInput


class ImageBackgroundRemoverAssets(TypedDict):
    """``assets`` of ``image-background-remover``."""

    background_image_file_path: NotRequired[FileInput]
    image_file_path: FileInput


class ImageToVideoAssets(TypedDict):
    """``assets`` of ``image-to-video``."""

    end_image_file_path: NotRequired[FileInput]
    image_file_path: FileInput


class ImageToVideoStyle(TypedDict):
    """``style`` of ``image-to-video``."""

    high_quality: NotRequired[bool | XComArg]
    prompt: NotRequired[str | XComArg]
    quality_mode: NotRequired[Literal["quick", "studio"] | XComArg]


class LipSyncAssets(TypedDict):
    """``assets`` of ``lip-sync``."""

    audio_file_path: FileInput
    video_file_path: NotRequired[FileInput]
    video_source: Literal["file", "youtube"] | XComArg
    youtube_url: NotRequired[str | XComArg]


class LipSyncStyle(TypedDict):
    """``style`` of ``lip-sync``."""

    generation_mode: NotRequired[Literal["lite", "pro", "standard"] | XComArg]


class PhotoColorizerAssets(TypedDict):
    """``assets`` of ``photo-colorizer``."""

    image_file_path: FileInput


class TextToVideoReferencesItem(TypedDict):
    """``references[]`` of ``text-to-video``."""

    file_path: FileInput
    name: str | XComArg


class TextToVideoStyle(TypedDict):
    """``style`` of ``text-to-video``."""

    prompt: str | XComArg
    quality_mode: NotRequired[Literal["quick", "studio"] | XComArg]


class VideoToVideoAssets(TypedDict):
    """``assets`` of ``video-to-video``."""

    video_file_path: NotRequired[FileInput]
    video_source: Literal["file", "youtube"] | XComArg
    youtube_url: NotRequired[str | XComArg]


class VideoToVideoStyle(TypedDict):
    """``style`` of ``video-to-video``."""

    art_style: str | XComArg
    model: NotRequired[str | XComArg]
    prompt: NotRequired[str | XComArg]
    prompt_type: NotRequired[Literal["append_default", "custom", "default"] | XComArg]
    version: NotRequired[Literal["default", "v1", "v2"] | XComArg]
