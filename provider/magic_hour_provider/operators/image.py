"""One operator per image tool: names, types and documentation for MagicHourOperator.

Made by scripts/sync_api.py from the official SDK; changes belong there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack

from magic_hour_provider.operators.typed import MagicHourToolOperator

if TYPE_CHECKING:
    from airflow.sdk import XComArg

    from magic_hour_provider.operators.shapes import (
        AIClothesChangerAssets,
        AIFaceEditorAssets,
        AIFaceEditorStyle,
        AIGifGeneratorStyle,
        AIHeadshotGeneratorAssets,
        AIHeadshotGeneratorStyle,
        AIImageEditorAssets,
        AIImageEditorStyle,
        AIImageGeneratorStyle,
        AIImageUpscalerAssets,
        AIImageUpscalerStyle,
        AIMemeGeneratorStyle,
        AIQrCodeGeneratorStyle,
        BodySwapAssets,
        FaceDetectionAssets,
        FaceSwapPhotoAssets,
        HeadSwapAssets,
        ImageBackgroundRemoverAssets,
        OperatorOptions,
        PhotoColorizerAssets,
    )


class MagicHourAIClothesChangerOperator(MagicHourToolOperator):
    """AI Clothes Changer: Dresses the person of one picture in the outfit of another.

    Runs ``/v1/ai-clothes-changer`` (https://docs.magichour.ai/api-reference). Usually takes 13 s.

    :param assets: Input files and how to use them. Keys: ``garment_file_path`` (required): Outfit image;
        ``garment_type``: Part of the outfit to change. One of ``dresses``, ``entire_outfit``, ``lower_body``,
        ``upper_body``; ``person_file_path`` (required): Person image.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-clothes-changer"
    request_fields = (
        "assets",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AIClothesChangerAssets | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"assets": assets, "name": name}, **kwargs)


class MagicHourAIFaceEditorOperator(MagicHourToolOperator):
    """AI Face Editor: Changes expression, gaze and pose of the face in a picture.

    Runs ``/v1/ai-face-editor`` (https://docs.magichour.ai/api-reference). Usually takes 3 s.

    :param assets: Input files and how to use them. Keys: ``image_file_path`` (required): Input image.
    :param style: Look and generation options. Keys: ``enhance_face``: Sharpen the face. Default: ``False``;
        ``eye_gaze_horizontal``: Gaze left or right, percent. From -100 to 100. Default: ``0``;
        ``eye_gaze_vertical``: Gaze up or down, percent. From -100 to 100. Default: ``0``; ``eye_open_ratio``: Eye
        opening, percent. From -100 to 100. Default: ``0``; ``eyebrow_direction``: Eyebrow height, percent. From
        -100 to 100. Default: ``0``; ``head_pitch``: Head pitch, percent. From -100 to 100. Default: ``0``;
        ``head_roll``: Head roll, percent. From -100 to 100. Default: ``0``; ``head_yaw``: Head yaw, percent. From
        -100 to 100. Default: ``0``; ``lip_open_ratio``: Lip opening, percent. From -100 to 100. Default: ``0``;
        ``mouth_grim``: Grimace, percent. From -100 to 100. Default: ``0``; ``mouth_position_horizontal``: Mouth
        shift sideways, percent. From -100 to 100. Default: ``0``; ``mouth_position_vertical``: Mouth shift up or
        down, percent. From -100 to 100. Default: ``0``; ``mouth_pout``: Pout, percent. From -100 to 100. Default:
        ``0``; ``mouth_purse``: Purse, percent. From -100 to 100. Default: ``0``; ``mouth_smile``: Smile, percent.
        From -100 to 100. Default: ``0``.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-face-editor"
    request_fields = (
        "assets",
        "style",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AIFaceEditorAssets | XComArg,
        style: AIFaceEditorStyle | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"assets": assets, "style": style, "name": name}, **kwargs)


class MagicHourAIGifGeneratorOperator(MagicHourToolOperator):
    """AI GIF Generator: Makes a short animation from a prompt.

    Runs ``/v1/ai-gif-generator`` (https://docs.magichour.ai/api-reference). Usually takes 23 s.

    :param style: Look and generation options. Keys: ``prompt`` (required): Text instruction for the model. At most
        500 characters.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param output_format: File format of the animation. One of ``gif``, ``mp4``, ``webm``. Default: ``gif``.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-gif-generator"
    request_fields = (
        "style",
        "name",
        "output_format",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        style: AIGifGeneratorStyle | XComArg,
        name: str | XComArg | None = None,
        output_format: Literal["gif", "mp4", "webm"] | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"style": style, "name": name, "output_format": output_format}, **kwargs)


class MagicHourAIHeadshotGeneratorOperator(MagicHourToolOperator):
    """AI Headshot Generator: Makes a professional portrait from a picture of a face.

    Runs ``/v1/ai-headshot-generator`` (https://docs.magichour.ai/api-reference). Usually takes 14 s.

    :param assets: Input files and how to use them. Keys: ``image_file_path`` (required): Input image.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param style: Look and generation options. Keys: ``prompt``: Text instruction for the model.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-headshot-generator"
    request_fields = (
        "assets",
        "name",
        "style",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AIHeadshotGeneratorAssets | XComArg,
        name: str | XComArg | None = None,
        style: AIHeadshotGeneratorStyle | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"assets": assets, "name": name, "style": style}, **kwargs)


class MagicHourAIImageEditorOperator(MagicHourToolOperator):
    """AI Image Editor: Edits one or more pictures as a prompt says.

    Runs ``/v1/ai-image-editor`` (https://docs.magichour.ai/api-reference). Usually takes 9 s.

    :param assets: Input files and how to use them. Keys: ``image_file_path``: Deprecated. Old single-image input;
        ``image_file_paths``: One to ten input images. At most 10.
    :param style: Look and generation options. Keys: ``model``: Deprecated. Old model switch. One of ``Nano
        Banana``, ``Seedream``, ``default``; ``prompt`` (required): Text instruction for the model. At most 15000
        characters.
    :param aspect_ratio: Output shape. One of ``16:9``, ``1:1``, ``2:3``, ``3:2``, ``4:3``, ``4:5``, ``9:16``,
        ``auto``. Default: ``auto``.
    :param image_count: How many images to make. One of ``1``, ``4``, ``9``, ``16``. Default: ``1``.
    :param model: Model identifier; default changes over time. One of ``default``, ``flux-2-klein``, ``gpt-
        image-2``, ``gpt-image-2.5-flare``, ``krea-2``, ``nano-banana``, ``nano-banana-2``, ``nano-banana-2-lite``,
        ``nano-banana-2.1``, ``nano-banana-pro``, ``qwen-edit``, ``qwen-image-2.1``, ``seedream-v4``,
        ``seedream-v4.5``, ``seedream-v5-pro``. Default: ``default``.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param resolution: Output resolution preset; plan gated. One of ``1k``, ``2k``, ``4k``, ``640px``, ``auto``.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-image-editor"
    request_fields = (
        "assets",
        "style",
        "aspect_ratio",
        "image_count",
        "model",
        "name",
        "resolution",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AIImageEditorAssets | XComArg,
        style: AIImageEditorStyle | XComArg,
        aspect_ratio: Literal["16:9", "1:1", "2:3", "3:2", "4:3", "4:5", "9:16", "auto"] | XComArg | None = None,
        image_count: float | XComArg | None = None,
        model: str | XComArg | None = None,
        name: str | XComArg | None = None,
        resolution: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "assets": assets,
                "style": style,
                "aspect_ratio": aspect_ratio,
                "image_count": image_count,
                "model": model,
                "name": name,
                "resolution": resolution,
            },
            **kwargs,
        )


class MagicHourAIImageGeneratorOperator(MagicHourToolOperator):
    """AI Image Generator: Makes pictures from a prompt.

    Runs ``/v1/ai-image-generator`` (https://docs.magichour.ai/api-reference). Usually takes 5 s.

    :param image_count: How many images to make. From 1 to 16.
    :param style: Look and generation options. Keys: ``prompt`` (required): Text instruction for the model;
        ``quality_mode``: Deprecated. Old quality switch. One of ``pro``, ``standard``; ``tool``: Preset look. 35
        are known, see https://docs.magichour.ai/api-reference. Default: ``general``.
    :param aspect_ratio: Output shape. One of ``16:9``, ``1:1``, ``9:16``. Default: ``1:1``.
    :param model: Model identifier; default changes over time. One of ``default``, ``flux-2-klein``, ``flux-
        schnell``, ``gpt-image-2``, ``gpt-image-2.5-flare``, ``krea-2``, ``nano-banana``, ``nano-banana-2``, ``nano-
        banana-2-lite``, ``nano-banana-2.1``, ``nano-banana-pro``, ``qwen-image-2.1``, ``seedream``,
        ``seedream-v4``, ``seedream-v5-pro``, ``z-image-turbo``. Default: ``default``.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param orientation: Deprecated. Old form of aspect_ratio. One of ``landscape``, ``portrait``, ``square``.
    :param resolution: Output resolution preset; plan gated. One of ``1k``, ``2k``, ``4k``, ``640px``, ``auto``.
        Default: ``auto``.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-image-generator"
    request_fields = (
        "image_count",
        "style",
        "aspect_ratio",
        "model",
        "name",
        "orientation",
        "resolution",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        image_count: int | XComArg,
        style: AIImageGeneratorStyle | XComArg,
        aspect_ratio: Literal["16:9", "1:1", "9:16"] | XComArg | None = None,
        model: str | XComArg | None = None,
        name: str | XComArg | None = None,
        orientation: Literal["landscape", "portrait", "square"] | XComArg | None = None,
        resolution: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(
            given={
                "image_count": image_count,
                "style": style,
                "aspect_ratio": aspect_ratio,
                "model": model,
                "name": name,
                "orientation": orientation,
                "resolution": resolution,
            },
            **kwargs,
        )


class MagicHourAIImageUpscalerOperator(MagicHourToolOperator):
    """AI Image Upscaler: Enlarges a picture two or four times.

    Runs ``/v1/ai-image-upscaler`` (https://docs.magichour.ai/api-reference). Usually takes 22 s.

    :param assets: Input files and how to use them. Keys: ``image_file_path`` (required): Input image.
    :param scale_factor: Two or four times; four needs a paid plan. One of ``2``, ``4``.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param style: Look and generation options. Keys: ``enhancement``: Deprecated. Old form of mode. One of
        ``Balanced``, ``Creative``, ``Resemblance``; ``mode``: Sets fidelity and price. One of ``balanced``,
        ``creative``, ``preserve``, ``pro``. Default: ``balanced``; ``prompt``: Guidance; used in creative mode
        only.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-image-upscaler"
    request_fields = (
        "assets",
        "scale_factor",
        "name",
        "style",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: AIImageUpscalerAssets | XComArg,
        scale_factor: float | XComArg,
        name: str | XComArg | None = None,
        style: AIImageUpscalerStyle | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"assets": assets, "scale_factor": scale_factor, "name": name, "style": style}, **kwargs)


class MagicHourAIMemeGeneratorOperator(MagicHourToolOperator):
    """AI Meme Generator: Makes a meme about a topic.

    Runs ``/v1/ai-meme-generator`` (https://docs.magichour.ai/api-reference). Usually takes 9 s.

    :param style: Look and generation options. Keys: ``searchWeb``: Look for material on the web. Default:
        ``False``; ``template`` (required): Meme template name. 101 are known, see https://docs.magichour.ai/api-
        reference; ``topic`` (required): What the meme is about. At most 200 characters.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-meme-generator"
    request_fields = (
        "style",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        style: AIMemeGeneratorStyle | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"style": style, "name": name}, **kwargs)


class MagicHourAIQrCodeGeneratorOperator(MagicHourToolOperator):
    """AI QR Code Generator: Makes a QR code that is a picture.

    Runs ``/v1/ai-qr-code-generator`` (https://docs.magichour.ai/api-reference). Usually takes 7 s.

    :param content: Text or link to encode.
    :param style: Look and generation options. Keys: ``art_style`` (required): Template name or free text.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-qr-code-generator"
    request_fields = (
        "content",
        "style",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        content: str | XComArg,
        style: AIQrCodeGeneratorStyle | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"content": content, "style": style, "name": name}, **kwargs)


class MagicHourBodySwapOperator(MagicHourToolOperator):
    """Body Swap: Places a person into a scene.

    Runs ``/v1/body-swap`` (https://docs.magichour.ai/api-reference). Usually takes 38 s.

    :param assets: Input files and how to use them. Keys: ``person_file_path`` (required): Person to place;
        ``scene_file_path`` (required): Background scene.
    :param resolution: Output resolution; sets the price. One of ``1k``, ``2k``, ``4k``, ``640px``.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "body-swap"
    request_fields = (
        "assets",
        "resolution",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: BodySwapAssets | XComArg,
        resolution: str | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"assets": assets, "resolution": resolution, "name": name}, **kwargs)


class MagicHourFaceDetectionOperator(MagicHourToolOperator):
    """Face Detection: Finds the faces of a picture or a video, for a swap of individual faces; costs nothing for now.

    Runs ``/v1/face-detection`` (https://docs.magichour.ai/api-reference).

    :param assets: Input files and how to use them. Keys: ``target_file_path`` (required): Image or video to scan.
    :param confidence_score: Detection threshold, steps of 0.05. From 0 to 1. Default: ``0.5``.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "face-detection"
    request_fields = (
        "assets",
        "confidence_score",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: FaceDetectionAssets | XComArg,
        confidence_score: float | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"assets": assets, "confidence_score": confidence_score}, **kwargs)


class MagicHourFaceSwapPhotoOperator(MagicHourToolOperator):
    """Face Swap Photo: Swaps faces in a picture.

    Runs ``/v1/face-swap-photo`` (https://docs.magichour.ai/api-reference). Usually takes 4 s.

    :param assets: Input files and how to use them. Keys: ``face_mappings``: Pairs of detected face and replacement
        face. At most 5 (``new_face`` (required): Replacement face image; ``original_face`` (required): Face path
        returned by face detection); ``face_swap_mode``: Swap every face or mapped faces only. One of ``all-faces``,
        ``individual-faces``. Default: ``all-faces``; ``source_file_path``: Face to put in; ``target_file_path``
        (required): Photo to change.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "face-swap-photo"
    request_fields = (
        "assets",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: FaceSwapPhotoAssets | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"assets": assets, "name": name}, **kwargs)


class MagicHourHeadSwapOperator(MagicHourToolOperator):
    """Head Swap: Puts the head of one picture onto the body of another.

    Runs ``/v1/head-swap`` (https://docs.magichour.ai/api-reference). Usually takes 18 s.

    :param assets: Input files and how to use them. Keys: ``body_file_path`` (required): Image that receives the
        head; ``head_file_path`` (required): Image of the head.
    :param max_resolution: Cap on the longer output edge in pixels.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "head-swap"
    request_fields = (
        "assets",
        "max_resolution",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: HeadSwapAssets | XComArg,
        max_resolution: int | XComArg | None = None,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"assets": assets, "max_resolution": max_resolution, "name": name}, **kwargs)


class MagicHourImageBackgroundRemoverOperator(MagicHourToolOperator):
    """Image Background Remover: Removes or replaces the background of a picture.

    Runs ``/v1/image-background-remover`` (https://docs.magichour.ai/api-reference). Usually takes 4 s.

    :param assets: Input files and how to use them. Keys: ``background_image_file_path``: Optional new background;
        ``image_file_path`` (required): Input image.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "image-background-remover"
    request_fields = (
        "assets",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: ImageBackgroundRemoverAssets | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"assets": assets, "name": name}, **kwargs)


class MagicHourPhotoColorizerOperator(MagicHourToolOperator):
    """Photo Colorizer: Colours a black-and-white picture.

    Runs ``/v1/photo-colorizer`` (https://docs.magichour.ai/api-reference). Usually takes 9 s.

    :param assets: Input files and how to use them. Keys: ``image_file_path`` (required): Input image.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "photo-colorizer"
    request_fields = (
        "assets",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"assets": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        assets: PhotoColorizerAssets | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"assets": assets, "name": name}, **kwargs)
