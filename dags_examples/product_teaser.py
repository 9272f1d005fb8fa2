"""A short talking teaser, made from one photograph."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from magic_hour_provider.operators.magic_hour import MagicHourOperator

PHOTO = Path(__file__).parent / "media" / "astronaut.png"
SECONDS = 5

with DAG(
    dag_id="product_teaser",
    schedule=None,  # started by hand: every run is paid for
    tags=["magic-hour", "example"],
    # A retry never pays again for a job that was accepted: it resumes that one.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md="""
### A talking teaser from one photograph

photo → edited photo → clip, and a voice beside it → the clip speaks with that voice → subtitles → check.

Needs the connection `magic_hour_default`, and a folder for the files: `[magic_hour] output_path` in Airflow's
configuration, or `output_path=` on each operator.
""",
) as dag:
    # The photo is the only file that is uploaded. A request is what Magic Hour's documentation shows for the tool.
    edit_photo = MagicHourOperator(
        task_id="edit_photo",
        tool="ai-image-editor",
        request={
            "assets": {"image_file_paths": [str(PHOTO)]},
            "style": {"prompt": "Warm studio light, plain dark blue background, looking into the camera"},
        },
    )

    # A result, given where a file is expected, goes by reference: Magic Hour already has these bytes.
    animate = MagicHourOperator(
        task_id="animate",
        tool="image-to-video",
        request={
            "assets": {"image_file_path": edit_photo.output},
            "end_seconds": SECONDS,
            "style": {"prompt": "She smiles and turns to the camera, slow push in"},
        },
    )

    # Needs nothing from the others, so it runs beside them.
    voice = MagicHourOperator(
        task_id="voice",
        tool="ai-voice-generator",
        request={
            "style": {"prompt": "The sky is not the limit. It is where we start.", "voice_name": "Sherlock Holmes"},
        },
    )

    lip_sync = MagicHourOperator(
        task_id="lip_sync",
        tool="lip-sync",
        request={
            "assets": {
                "video_source": "file",
                "video_file_path": animate.output,
                "audio_file_path": voice.output,
            },
            "start_seconds": 0,
            "end_seconds": SECONDS,
        },
    )

    subtitle = MagicHourOperator(
        task_id="subtitle",
        tool="auto-subtitle-generator",
        request={
            "assets": {"video_file_path": lip_sync.output},
            "start_seconds": 0,
            "end_seconds": SECONDS,
            "style": {"template": "cinematic"},
        },
    )

    @task
    def check_clip(file: str) -> dict[str, Any]:
        """Decode the finished clip to its end; a file that is merely there proves little."""
        import av  # not at the top: Airflow reads this file often, and only this task needs it

        with av.open(file) as clip:
            frames = [frame.time or 0.0 for frame in clip.decode(video=0)]
        if not frames:
            raise ValueError(f"{file} holds no picture")
        return {"path": file, "seconds": round(frames[-1], 1), "frames": len(frames)}

    # Each part of a result has an XCom key of its own: "file" is where the first file was saved.
    check_clip(subtitle.output["file"])
