"""One operator per video tool: names, types and documentation for MagicHourOperator.

Made by scripts/sync_api.py from the official SDK; changes belong there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Unpack

from magic_hour_provider.operators.typed import MagicHourToolOperator

if TYPE_CHECKING:
    from airflow.sdk import XComArg

    from magic_hour_provider.operators.shapes import (
        AITalkingPhotoAssets,
        AITalkingPhotoStyle,
        AIUgcAdAssets,
        AIVideoEditorAssets,
        AIVideoEditorStyle,
        AIVideoTranslatorAssets,
        AIVideoUpscalerAssets,
        AnimationAssets,
        AnimationStyle,
        AudioToVideoAssets,
        AudioToVideoStyle,
        AutoSubtitleGeneratorAssets,
        AutoSubtitleGeneratorStyle,
        CharacterReplaceAssets,
        CharacterReplaceStyle,
        FaceSwapAssets,
        FaceSwapStyle,
        ImageToVideoAssets,
        ImageToVideoStyle,
        LipSyncAssets,
        LipSyncStyle,
        OperatorOptions,
        TextToVideoReferencesItem,
        TextToVideoStyle,
        VideoToVideoAssets,
        VideoToVideoStyle,
    )


class MagicHourAITalkingPhotoOperator(MagicHourToolOperator):
    """AI Talking Photo: Lets the face of a picture speak a recording.

    Runs ``/v1/ai-talking-photo`` (https://docs.magichour.ai/api-reference). Usually takes 3 min.

    :param assets: Input files and how to use them. Keys: ``audio_file_path`` (required): Speech to play;
        ``image_file_path`` (required): Portrait to animate.
    :param end_seconds: Clip end, or output length, in seconds. At least 0.1.
    :param start_seconds: Clip start in seconds. At least 0.
    :param max_resolution: Deprecated. Cap on the longer output edge in pixels.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param resolution: Output resolution preset; plan gated. One of ``480p``, ``720p``.
    :param style: Look and generation options. Keys: ``generation_mode``: Quality or motion mode. One of
        ``expressive``, ``pro``, ``prompted``, ``realistic``, ``stable``, ``standard``. Default: ``realistic``;
        ``intensity``: Deprecated. Motion strength; expressive mode only; ``prompt``: Scene guidance; prompted mode
        only.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-talking-photo"
    request_fields = (
        "assets",
        "end_seconds",
        "start_seconds",
        "max_resolution",
        "name",
        "resolution",
        "style",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AITalkingPhotoAssets | XComArg,
        end_seconds: float | XComArg,
        start_seconds: float | XComArg,
        max_resolution: int | XComArg | None = None,
        name: str | XComArg | None = None,
        resolution: str | XComArg | None = None,
        style: AITalkingPhotoStyle | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "start_seconds": start_seconds,
                "max_resolution": max_resolution,
                "name": name,
                "resolution": resolution,
                "style": style,
            },
            **kwargs,
        )


class MagicHourAIUgcAdOperator(MagicHourToolOperator):
    """AI UGC Ad Generator: Makes an advertising clip in which the person of a picture speaks a script.

    Runs ``/v1/ai-ugc-ad`` (https://docs.magichour.ai/api-reference).

    :param assets: Input files and how to use them. Keys: ``image_file_path`` (required): Finished image to animate.
    :param end_seconds: Clip end, or output length, in seconds.
    :param script: Words to be spoken.
    :param model: Model identifier; default changes over time. One of ``kling-3.0``, ``ltx-2.5``, ``veo3.1``.
        Default: ``ltx-2.5`` (free), ``kling-3.0`` (paid).
    :param resolution: Output resolution preset; plan gated. One of ``1080p``, ``480p``, ``720p``. Default: ``480p``
        (free), ``720p`` (paid).
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-ugc-ad"
    request_fields = (
        "assets",
        "end_seconds",
        "script",
        "model",
        "resolution",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AIUgcAdAssets | XComArg,
        end_seconds: float | XComArg,
        script: str | XComArg,
        model: str | XComArg | None = None,
        resolution: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "script": script,
                "model": model,
                "resolution": resolution,
            },
            **kwargs,
        )


class MagicHourAIVideoEditorOperator(MagicHourToolOperator):
    """AI Video Editor: Edits a video as a prompt says.

    Runs ``/v1/ai-video-editor`` (https://docs.magichour.ai/api-reference). Usually takes 85 s.

    :param assets: Input files and how to use them. Keys: ``video_file_path`` (required): Input video.
    :param end_seconds: Clip end, or output length, in seconds. At least 0.1.
    :param style: Look and generation options. Keys: ``prompt`` (required): Text instruction for the model.
    :param model: Model identifier; default changes over time. One of ``gemini-omni``, ``gemini-omni-1.1``,
        ``ltx-2.3``, ``ltx-2.5``. Default: ``ltx-2.5`` (free), ``gemini-omni-1.1`` (paid).
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param resolution: Output resolution preset; plan gated. One of ``1080p``, ``480p``, ``720p``. Default: ``480p``
        (free), ``720p`` (paid).
    :param start_seconds: Clip start in seconds. At least 0. Default: ``0``.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-video-editor"
    request_fields = (
        "assets",
        "end_seconds",
        "style",
        "model",
        "name",
        "resolution",
        "start_seconds",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AIVideoEditorAssets | XComArg,
        end_seconds: float | XComArg,
        style: AIVideoEditorStyle | XComArg,
        model: str | XComArg | None = None,
        name: str | XComArg | None = None,
        resolution: str | XComArg | None = None,
        start_seconds: float | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "style": style,
                "model": model,
                "name": name,
                "resolution": resolution,
                "start_seconds": start_seconds,
            },
            **kwargs,
        )


class MagicHourAIVideoTranslatorOperator(MagicHourToolOperator):
    """AI Video Translator: Dubs a video in another language.

    Runs ``/v1/ai-video-translator`` (https://docs.magichour.ai/api-reference).

    :param assets: Input files and how to use them. Keys: ``video_file_path`` (required): Input video.
    :param end_seconds: Clip end, or output length, in seconds.
    :param target_language: Language to speak. 53 are known, see https://docs.magichour.ai/api-reference.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param resolution: Output resolution preset; plan gated. One of ``1080p``, ``480p``, ``720p``. Default:
        ``480p``.
    :param start_seconds: Clip start in seconds.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-video-translator"
    request_fields = (
        "assets",
        "end_seconds",
        "target_language",
        "name",
        "resolution",
        "start_seconds",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AIVideoTranslatorAssets | XComArg,
        end_seconds: float | XComArg,
        target_language: str | XComArg,
        name: str | XComArg | None = None,
        resolution: str | XComArg | None = None,
        start_seconds: float | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "target_language": target_language,
                "name": name,
                "resolution": resolution,
                "start_seconds": start_seconds,
            },
            **kwargs,
        )


class MagicHourAIVideoUpscalerOperator(MagicHourToolOperator):
    """AI Video Upscaler: Raises the resolution of a video.

    Runs ``/v1/ai-video-upscaler`` (https://docs.magichour.ai/api-reference).

    :param assets: Input files and how to use them. Keys: ``video_file_path`` (required): Input video.
    :param end_seconds: Clip end, or output length, in seconds.
    :param resolution: Output resolution preset; plan gated. One of ``1080p``, ``2k``, ``4k``, ``720p``.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param start_seconds: Clip start in seconds.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-video-upscaler"
    request_fields = (
        "assets",
        "end_seconds",
        "resolution",
        "name",
        "start_seconds",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AIVideoUpscalerAssets | XComArg,
        end_seconds: float | XComArg,
        resolution: str | XComArg,
        name: str | XComArg | None = None,
        start_seconds: float | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "resolution": resolution,
                "name": name,
                "start_seconds": start_seconds,
            },
            **kwargs,
        )


class MagicHourAnimationOperator(MagicHourToolOperator):
    """Animation: Makes an animated video from a prompt, if wanted to music.

    Runs ``/v1/animation`` (https://docs.magichour.ai/api-reference). Usually takes 10 min.

    :param assets: Input files and how to use them. Keys: ``audio_file_path``: Input audio; ``audio_source``
        (required): Chooses none, file or YouTube as audio source. One of ``file``, ``none``, ``youtube``;
        ``image_file_path``: Optional first frame; ``youtube_url``: YouTube source instead of a file.
    :param end_seconds: Clip end, or output length, in seconds. At least 0.1.
    :param fps: Frames per second of the output. At least 1.
    :param height: Output height in pixels. At least 64.
    :param style: Look and generation options. Keys: ``art_style`` (required): Named art style. 47 are known, see
        https://docs.magichour.ai/api-reference; ``art_style_custom``: Free art style; used with Custom;
        ``camera_effect`` (required): Camera movement. 52 are known, see https://docs.magichour.ai/api-reference;
        ``prompt``: Text instruction for the model; ``prompt_type`` (required): How the prompt is built. One of
        ``ai_choose``, ``custom``, ``use_lyrics``; ``transition_speed`` (required): How fast the content changes.
        From 1 to 10.
    :param width: Output width in pixels. At least 64.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "animation"
    request_fields = (
        "assets",
        "end_seconds",
        "fps",
        "height",
        "style",
        "width",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AnimationAssets | XComArg,
        end_seconds: float | XComArg,
        fps: float | XComArg,
        height: int | XComArg,
        style: AnimationStyle | XComArg,
        width: int | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "fps": fps,
                "height": height,
                "style": style,
                "width": width,
                "name": name,
            },
            **kwargs,
        )


class MagicHourAudioToVideoOperator(MagicHourToolOperator):
    """Audio to Video: Makes a video that goes with a recording.

    Runs ``/v1/audio-to-video`` (https://docs.magichour.ai/api-reference). Usually takes 2 min.

    :param assets: Input files and how to use them. Keys: ``audio_file_path`` (required): Input audio;
        ``image_file_path``: Optional first frame.
    :param end_seconds: Clip end, or output length, in seconds. At least 0.1.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param resolution: Output resolution preset; plan gated. One of ``1080p``, ``480p``, ``720p``. Default: ``480p``
        (free), ``720p`` (paid).
    :param start_seconds: Clip start in seconds. At least 0. Default: ``0``.
    :param style: Look and generation options. Keys: ``prompt``: Text instruction for the model.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "audio-to-video"
    request_fields = (
        "assets",
        "end_seconds",
        "name",
        "resolution",
        "start_seconds",
        "style",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AudioToVideoAssets | XComArg,
        end_seconds: float | XComArg,
        name: str | XComArg | None = None,
        resolution: str | XComArg | None = None,
        start_seconds: float | XComArg | None = None,
        style: AudioToVideoStyle | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "name": name,
                "resolution": resolution,
                "start_seconds": start_seconds,
                "style": style,
            },
            **kwargs,
        )


class MagicHourAutoSubtitleGeneratorOperator(MagicHourToolOperator):
    """Auto Subtitle Generator: Writes what is spoken into a video.

    Runs ``/v1/auto-subtitle-generator`` (https://docs.magichour.ai/api-reference). Usually takes 45 s.

    :param assets: Input files and how to use them. Keys: ``video_file_path`` (required): Input video.
    :param end_seconds: Clip end, or output length, in seconds. At least 0.1.
    :param start_seconds: Clip start in seconds. At least 0.
    :param style: Look and generation options. Keys: ``custom_config``: Own subtitle look (``font``: Google Fonts
        name; ``font_size``: Size in pixels; ``font_style``: Normal, italic or bold; ``highlighted_text_color``:
        Colour of the spoken word; ``horizontal_position``: Left, center or right; ``stroke_color``: Outline colour;
        ``stroke_width``: Outline width in pixels; ``text_color``: Text colour, hex; ``vertical_position``: Top,
        center or bottom); ``template``: Subtitle preset. One of ``cinematic``, ``highlight``, ``karaoke``,
        ``minimalist``.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "auto-subtitle-generator"
    request_fields = (
        "assets",
        "end_seconds",
        "start_seconds",
        "style",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AutoSubtitleGeneratorAssets | XComArg,
        end_seconds: float | XComArg,
        start_seconds: float | XComArg,
        style: AutoSubtitleGeneratorStyle | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "start_seconds": start_seconds,
                "style": style,
                "name": name,
            },
            **kwargs,
        )


class MagicHourCharacterReplaceOperator(MagicHourToolOperator):
    """Character Replace: Replaces a character of a video by that of a picture.

    Runs ``/v1/character-replace`` (https://docs.magichour.ai/api-reference). Usually takes 7 min.

    :param assets: Input files and how to use them. Keys: ``image_file_path`` (required): Replacement character;
        ``video_file_path`` (required): Input video.
    :param end_seconds: Clip end, or output length, in seconds. At least 0.1.
    :param model: Model identifier; default changes over time. One of ``kling-3.0``, ``wan-animate``. Default:
        ``wan-animate``.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param resolution: Output resolution preset; plan gated. One of ``1080p``, ``480p``, ``720p``.
    :param start_seconds: Clip start in seconds. At least 0. Default: ``0``.
    :param style: Look and generation options. Keys: ``mode``: Processing mode. One of ``animate``, ``replace``;
        ``points``: Marks on the subject (``position_x`` (required): Pixel column in the frame. At least 0;
        ``position_y`` (required): Pixel row in the frame. At least 0; ``time_seconds`` (required): Time of the
        frame. At least 0); ``selection_mode``: Find the subject automatically or by points. One of ``auto``,
        ``point``. Default: ``auto``.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "character-replace"
    request_fields = (
        "assets",
        "end_seconds",
        "model",
        "name",
        "resolution",
        "start_seconds",
        "style",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: CharacterReplaceAssets | XComArg,
        end_seconds: float | XComArg,
        model: str | XComArg | None = None,
        name: str | XComArg | None = None,
        resolution: str | XComArg | None = None,
        start_seconds: float | XComArg | None = None,
        style: CharacterReplaceStyle | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "model": model,
                "name": name,
                "resolution": resolution,
                "start_seconds": start_seconds,
                "style": style,
            },
            **kwargs,
        )


class MagicHourFaceSwapOperator(MagicHourToolOperator):
    """Face Swap Video: Swaps faces in a video.

    Runs ``/v1/face-swap`` (https://docs.magichour.ai/api-reference). Usually takes 96 s.

    :param assets: Input files and how to use them. Keys: ``face_mappings``: Pairs of detected face and replacement
        face. At most 5 (``new_face`` (required): Replacement face image; ``original_face`` (required): Face path
        returned by face detection); ``face_swap_mode``: Swap every face or mapped faces only. One of ``all-faces``,
        ``individual-faces``. Default: ``all-faces``; ``image_file_path``: Face to put in; ``video_file_path``:
        Input video; ``video_source`` (required): Chooses file or YouTube as video source. One of ``file``,
        ``youtube``; ``youtube_url``: YouTube source instead of a file.
    :param end_seconds: Clip end, or output length, in seconds. At least 0.1.
    :param start_seconds: Clip start in seconds. At least 0.
    :param height: Deprecated. Output height in pixels.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param style: Look and generation options. Keys: ``version``: Pipeline version. One of ``default``, ``v1``,
        ``v2``.
    :param width: Deprecated. Output width in pixels.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "face-swap"
    request_fields = (
        "assets",
        "end_seconds",
        "start_seconds",
        "height",
        "name",
        "style",
        "width",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: FaceSwapAssets | XComArg,
        end_seconds: float | XComArg,
        start_seconds: float | XComArg,
        height: int | XComArg | None = None,
        name: str | XComArg | None = None,
        style: FaceSwapStyle | XComArg | None = None,
        width: int | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "start_seconds": start_seconds,
                "height": height,
                "name": name,
                "style": style,
                "width": width,
            },
            **kwargs,
        )


class MagicHourImageToVideoOperator(MagicHourToolOperator):
    """Image to Video: Animates a picture.

    Runs ``/v1/image-to-video`` (https://docs.magichour.ai/api-reference). Usually takes 74 s.

    :param assets: Input files and how to use them. Keys: ``end_image_file_path``: Last frame; model dependent;
        ``image_file_path`` (required): First frame.
    :param end_seconds: Output length in seconds; model dependent. From 1 to 60.
    :param audio: Generate sound with the video. Default: ``False``.
    :param height: Deprecated. Output height in pixels.
    :param model: Model identifier; default changes over time. One of ``default``, ``gemini-omni-1.1``,
        ``kling-1.6``, ``kling-2.5``, ``kling-2.5-audio``, ``kling-2.6``, ``kling-3.0``, ``ltx-2``, ``ltx-2.3``,
        ``ltx-2.5``, ``minimax-h3``, ``seedance``, ``seedance-1.5``, ``seedance-2.0``, ``seedance-2.0-fast``,
        ``seedance-2.0-mini``, ``seedance-2.5``, ``sora-2``, ``veo3.1``, ``veo3.1-audio``, ``veo3.1-lite``,
        ``wan-2.2``, ``wan-3.0``. Default: ``default``. Default: ``ltx-2.5`` (free), ``kling-3.0`` (paid).
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param resolution: Output resolution preset; plan gated. One of ``1080p``, ``360p``, ``480p``, ``4k``, ``720p``.
        Default: ``480p`` (free), ``720p`` (paid).
    :param style: Look and generation options. Keys: ``high_quality``: Deprecated. Old resolution switch;
        ``prompt``: Text instruction for the model; ``quality_mode``: Deprecated. Old quality switch. One of
        ``quick``, ``studio``.
    :param width: Deprecated. Output width in pixels.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "image-to-video"
    request_fields = (
        "assets",
        "end_seconds",
        "audio",
        "height",
        "model",
        "name",
        "resolution",
        "style",
        "width",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: ImageToVideoAssets | XComArg,
        end_seconds: float | XComArg,
        audio: bool | XComArg | None = None,
        height: int | XComArg | None = None,
        model: str | XComArg | None = None,
        name: str | XComArg | None = None,
        resolution: str | XComArg | None = None,
        style: ImageToVideoStyle | XComArg | None = None,
        width: int | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "audio": audio,
                "height": height,
                "model": model,
                "name": name,
                "resolution": resolution,
                "style": style,
                "width": width,
            },
            **kwargs,
        )


class MagicHourLipSyncOperator(MagicHourToolOperator):
    """Lip Sync: Moves the lips of a video to a recording.

    Runs ``/v1/lip-sync`` (https://docs.magichour.ai/api-reference). Usually takes 4 min.

    :param assets: Input files and how to use them. Keys: ``audio_file_path`` (required): Input audio;
        ``video_file_path``: Input video; ``video_source`` (required): Chooses file or YouTube as video source. One
        of ``file``, ``youtube``; ``youtube_url``: YouTube source instead of a file.
    :param end_seconds: Clip end, or output length, in seconds. At least 0.1.
    :param start_seconds: Clip start in seconds. At least 0.
    :param height: Deprecated. Output height in pixels.
    :param max_fps_limit: Caps output frame rate and cost. At least 1.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param style: Look and generation options. Keys: ``generation_mode``: Quality or motion mode. One of ``lite``,
        ``pro``, ``standard``. Default: ``lite``.
    :param width: Deprecated. Output width in pixels.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "lip-sync"
    request_fields = (
        "assets",
        "end_seconds",
        "start_seconds",
        "height",
        "max_fps_limit",
        "name",
        "style",
        "width",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: LipSyncAssets | XComArg,
        end_seconds: float | XComArg,
        start_seconds: float | XComArg,
        height: int | XComArg | None = None,
        max_fps_limit: float | XComArg | None = None,
        name: str | XComArg | None = None,
        style: LipSyncStyle | XComArg | None = None,
        width: int | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "start_seconds": start_seconds,
                "height": height,
                "max_fps_limit": max_fps_limit,
                "name": name,
                "style": style,
                "width": width,
            },
            **kwargs,
        )


class MagicHourTextToVideoOperator(MagicHourToolOperator):
    """Text to Video: Makes a video from a prompt.

    Runs ``/v1/text-to-video`` (https://docs.magichour.ai/api-reference). Usually takes 51 s.

    :param end_seconds: Output length in seconds; model dependent. From 1 to 60.
    :param style: Look and generation options. Keys: ``prompt`` (required): Text instruction for the model. At most
        2000 characters; ``quality_mode``: Deprecated. Old quality switch. One of ``quick``, ``studio``.
    :param aspect_ratio: Output shape. One of ``16:9``, ``1:1``, ``9:16``.
    :param audio: Generate sound with the video. Default: ``False``.
    :param model: Model identifier; default changes over time. One of ``default``, ``gemini-omni-1.1``,
        ``kling-1.6``, ``kling-2.5``, ``kling-2.5-audio``, ``kling-2.6``, ``kling-3.0``, ``ltx-2``, ``ltx-2.3``,
        ``ltx-2.5``, ``minimax-h3``, ``seedance``, ``seedance-1.5``, ``seedance-2.0``, ``seedance-2.0-fast``,
        ``seedance-2.0-mini``, ``seedance-2.5``, ``sora-2``, ``veo3.1``, ``veo3.1-audio``, ``veo3.1-lite``,
        ``wan-2.2``, ``wan-3.0``. Default: ``default``. Default: ``ltx-2.5`` (free), ``kling-3.0`` (paid).
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param orientation: Deprecated. Old form of aspect_ratio. One of ``landscape``, ``portrait``, ``square``.
    :param references: Named reference media; model dependent. At most 10. Keys of each: ``file_path`` (required):
        Reference media; ``name`` (required): Name used as @name in the prompt.
    :param resolution: Output resolution preset; plan gated. One of ``1080p``, ``360p``, ``480p``, ``4k``, ``720p``.
        Default: ``480p`` (free), ``720p`` (paid).
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "text-to-video"
    request_fields = (
        "end_seconds",
        "style",
        "aspect_ratio",
        "audio",
        "model",
        "name",
        "orientation",
        "references",
        "resolution",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"style": "json", "references": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        end_seconds: float | XComArg,
        style: TextToVideoStyle | XComArg,
        aspect_ratio: Literal["16:9", "1:1", "9:16"] | XComArg | None = None,
        audio: bool | XComArg | None = None,
        model: str | XComArg | None = None,
        name: str | XComArg | None = None,
        orientation: Literal["landscape", "portrait", "square"] | XComArg | None = None,
        references: Sequence[TextToVideoReferencesItem | XComArg] | XComArg | None = None,
        resolution: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "end_seconds": end_seconds,
                "style": style,
                "aspect_ratio": aspect_ratio,
                "audio": audio,
                "model": model,
                "name": name,
                "orientation": orientation,
                "references": references,
                "resolution": resolution,
            },
            **kwargs,
        )


class MagicHourVideoToVideoOperator(MagicHourToolOperator):
    """Video to Video: Redraws a video in another style.

    Runs ``/v1/video-to-video`` (https://docs.magichour.ai/api-reference). Usually takes 13 min.

    :param assets: Input files and how to use them. Keys: ``video_file_path``: Input video; ``video_source``
        (required): Chooses file or YouTube as video source. One of ``file``, ``youtube``; ``youtube_url``: YouTube
        source instead of a file.
    :param end_seconds: Clip end, or output length, in seconds. At least 0.1.
    :param start_seconds: Clip start in seconds. At least 0.
    :param style: Look and generation options. Keys: ``art_style`` (required): Named art style. 75 are known, see
        https://docs.magichour.ai/api-reference; ``model``: Model identifier; default changes over time. One of ``3D
        Anime``, ``Absolute Reality``, ``Dreamshaper``, ``Flat 2D Anime``, ``Kaywaii``, ``Soft Anime``, ``Western
        Anime``, ``default``. Default: ``default``; ``prompt``: Text instruction for the model; ``prompt_type``: How
        the prompt is built. One of ``append_default``, ``custom``, ``default``. Default: ``default``; ``version``:
        Pipeline version. One of ``default``, ``v1``, ``v2``. Default: ``default``.
    :param fps_resolution: Keep or halve the frame rate. One of ``FULL``, ``HALF``. Default: ``HALF``.
    :param height: Deprecated. Output height in pixels.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param width: Deprecated. Output width in pixels.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "video-to-video"
    request_fields = (
        "assets",
        "end_seconds",
        "start_seconds",
        "style",
        "fps_resolution",
        "height",
        "name",
        "width",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: VideoToVideoAssets | XComArg,
        end_seconds: float | XComArg,
        start_seconds: float | XComArg,
        style: VideoToVideoStyle | XComArg,
        fps_resolution: Literal["FULL", "HALF"] | XComArg | None = None,
        height: int | XComArg | None = None,
        name: str | XComArg | None = None,
        width: int | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "end_seconds": end_seconds,
                "start_seconds": start_seconds,
                "style": style,
                "fps_resolution": fps_resolution,
                "height": height,
                "name": name,
                "width": width,
            },
            **kwargs,
        )
