"""New faces for some of the people in a photograph: find them, choose, swap."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from magic_hour_provider.operators.files import MagicHourUploadOperator
from magic_hour_provider.operators.image import (
    MagicHourAIImageGeneratorOperator,
    MagicHourFaceDetectionOperator,
    MagicHourFaceSwapPhotoOperator,
)

PHOTO = Path(__file__).parent / "media" / "astronaut.png"
MOST = 5  # faces that one swap may replace

with DAG(
    dag_id="swap_faces",
    schedule=None,  # started by hand: every run is paid for
    tags=["magic-hour", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md="""
### Swap faces one by one

photo → faces found in it → a task of your own chooses → each chosen face becomes another one.

Needs the connection `magic_hour_default`, and a folder for the files: `[magic_hour] output_path` in Airflow's
configuration, or `output_path=` on the operators.
""",
) as dag:
    # Both jobs must get the very same file, so it is uploaded once and given to both.
    photo = MagicHourUploadOperator(task_id="photo", source=PHOTO)

    find_faces = MagicHourFaceDetectionOperator(task_id="find_faces", assets={"target_file_path": photo.output})

    portrait = MagicHourAIImageGeneratorOperator(
        task_id="portrait",
        image_count=1,
        style={"prompt": "Portrait of a smiling engineer in her forties, plain background, looking into the camera"},
    )

    @task
    def choose(faces: list[str], new_face: dict[str, Any]) -> list[dict[str, Any]]:
        """Pair the faces that are to change with what replaces them; here all of them, from left to right."""
        if not faces:
            raise ValueError("no face was found in the photograph")
        # `new_face` is the result of a task: as a file in a request it goes by reference, in lists too.
        return [{"original_face": face, "new_face": new_face} for face in faces[:MOST]]

    MagicHourFaceSwapPhotoOperator(
        task_id="swap",
        assets={
            "face_swap_mode": "individual-faces",
            "target_file_path": photo.output,
            "face_mappings": choose(find_faces.output["faces"], portrait.output),
        },
    )
