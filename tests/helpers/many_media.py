"""Puts a run with many media into the database of the Airflow whose environment it is started in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from airflow.sdk import DAG
from PIL import Image

from helpers.airflow_rows import put_mapped, put_run
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.simulator.rendering.images import draw_landscape
from magic_hour_provider.simulator.rendering.video import write_video
from magic_hour_provider.xcoms import submitted_xcom

PICTURE = {"image_count": 1, "style": {"prompt": "a lighthouse"}}
COUNT, FILMS = 200, 20


def main(folder: Path) -> None:
    """Make the files and the rows."""
    folder.mkdir(parents=True)
    for number in range(8):
        draw_landscape((480, 480) if number % 2 else (640, 360), str(number)).save(folder / f"{number}.png")
    write_video(folder / "film.mp4", "mp4", draw_landscape((320, 180), "film"), Image.new("RGB", (320, 2)), 48, None)
    with DAG("tab_many", schedule=None) as dag:
        MagicHourOperator.partial(task_id="make", tool="ai-image-generator").expand(request=[PICTURE] * COUNT)
    put_run(dag, "many")
    made = []
    for number in range(COUNT):
        source = folder / ("film.mp4" if number % 10 == 9 else f"{number % 8}.png")
        uri = folder / f"ai-image-generator-job{number}-1{source.suffix}"
        shutil.copy(source, uri)
        request = {"image_count": 1, "style": {"prompt": f"lighthouse number {number}"}}
        report = {"tool": "ai-image-generator", "kind": "image", "id": f"job{number}", "request": request}
        report |= {"status": "complete", "credits_charged": 5}
        xcoms = {"return_value": report | {"media": [{"uri": str(uri)}]}, "magic_hour_job": report}
        xcoms[submitted_xcom(f"job{number}")] = {}
        made.append(xcoms)
    put_mapped("tab_many", "make", "success", made, run_id="many")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
