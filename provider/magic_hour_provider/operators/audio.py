"""One operator per audio tool: names, types and documentation for MagicHourOperator.

Made by scripts/sync_api.py from the official SDK; changes belong there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from magic_hour_provider.operators.typed import MagicHourToolOperator

if TYPE_CHECKING:
    from airflow.sdk import XComArg

    from magic_hour_provider.operators.shapes import (
        AIMusicGeneratorStyle,
        AIVoiceClonerAssets,
        AIVoiceClonerStyle,
        AIVoiceGeneratorStyle,
        OperatorOptions,
    )


class MagicHourAIMusicGeneratorOperator(MagicHourToolOperator):
    """AI Music Generator: Makes a piece of music from a prompt.

    Runs ``/v1/ai-music-generator`` (https://docs.magichour.ai/api-reference).

    :param duration: Track length in whole seconds; sets the price. From 15 to 300.
    :param style: Look and generation options. Keys: ``instrumental``: No vocals; lyrics are then ignored;
        ``lyrics``: Own lyrics; empty lets the service write them; ``prompt`` (required): Text instruction for the
        model.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-music-generator"
    request_fields = (
        "duration",
        "style",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        duration: int | XComArg,
        style: AIMusicGeneratorStyle | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"duration": duration, "style": style, "name": name}, **kwargs)


class MagicHourAIVoiceClonerOperator(MagicHourToolOperator):
    """AI Voice Cloner: Speaks a text with the voice of a recording.

    Runs ``/v1/ai-voice-cloner`` (https://docs.magichour.ai/api-reference). Usually takes 21 s.

    :param assets: Input files and how to use them. Keys: ``audio_file_path`` (required): Voice sample.
    :param style: Look and generation options. Keys: ``prompt`` (required): Text to speak. At most 1000 characters.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-voice-cloner"
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
        assets: AIVoiceClonerAssets | XComArg,
        style: AIVoiceClonerStyle | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"assets": assets, "style": style, "name": name}, **kwargs)


class MagicHourAIVoiceGeneratorOperator(MagicHourToolOperator):
    """AI Voice Generator: Speaks a text with a named voice.

    Runs ``/v1/ai-voice-generator`` (https://docs.magichour.ai/api-reference). Usually takes 21 s.

    :param style: Look and generation options. Keys: ``prompt`` (required): Text to speak. At most 1000 characters;
        ``voice_name`` (required): Named voice. 1264 are known, see https://docs.magichour.ai/api-reference.
    :param name: Label shown in the library. Left out: DAG, task and run.
    :param kwargs: the options of MagicHourOperator (``output_path``, ``deferrable``, ``timeout``, ...), and
        Airflow's.
    """

    slug = "ai-voice-generator"
    request_fields = (
        "style",
        "name",
    )
    template_fields = (*request_fields, "output_path", "extra_request", "magic_hour_conn_id")
    template_fields_renderers = {"style": "json", "extra_request": "json"}

    def __init__(
        self,
        *,
        style: AIVoiceGeneratorStyle | XComArg,
        name: str | XComArg | None = None,
        **kwargs: Unpack[OperatorOptions],
    ) -> None:
        super().__init__(given={"style": style, "name": name}, **kwargs)
