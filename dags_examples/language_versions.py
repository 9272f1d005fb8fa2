"""One video, spoken in several languages: the video is uploaded once, and each language is a task of its own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, task

from magic_hour_provider.operators.files import MagicHourUploadOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator

with DAG(
    dag_id="language_versions",
    schedule=None,  # started by hand: every language is paid for
    tags=["magic-hour", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "video": Param("/data/interview.mp4", type="string", title="Video, or s3://connection@bucket/video.mp4"),
        "seconds": Param(5, type="integer", minimum=1, title="Seconds to translate"),
        "languages": Param(["German", "French", "Japanese"], type="array", title="Languages"),
        "results": Param(str(Path.home() / "magic-hour-languages"), type="string", title="Results"),
    },
    doc_md="""
### One video in several languages

upload the video once → translate it into each language, two at a time → a table of languages and files.

A language that fails leaves the others alone: clear that one task, and only it is made. Needs the connection
`magic_hour_default`.
""",
) as dag:
    # Magic Hour keeps it for seven days, for as many jobs as want it.
    video = MagicHourUploadOperator(task_id="video", source="{{ params.video }}", type="video")

    @task
    def requests(video: dict[str, Any], params: dict[str, Any]) -> list[dict[str, Any]]:
        """Return a request for each language."""
        return [
            {
                "name": f"{Path(params['video']).stem} in {language}"[:60],
                "assets": {"video_file_path": video},
                "start_seconds": 0,
                "end_seconds": params["seconds"],
                "resolution": "720p",
                "target_language": language,
            }
            for language in params["languages"]
        ]

    versions = MagicHourOperator.partial(
        task_id="version",
        tool="ai-video-translator",
        output_path="{{ params.results }}/{{ run_id }}",
        map_index_template="{{ task.request['target_language'] }}",
        max_active_tis_per_dag=2,
    ).expand(request=requests(video.output))  # as they are: no text in them is a template

    @task(trigger_rule="all_done", retries=0)  # also where a language has failed
    def table(ti: Any) -> dict[str, str]:
        """Return the file of each language that is there; fail if there is none."""
        results = [one for one in ti.xcom_pull(task_ids="version", key="return_value") or () if one]
        if not results:
            raise ValueError("no language could be made; their tasks say why")
        return {one["name"].partition(" in ")[2].partition(" #")[0]: one["file"] for one in results}

    versions >> table()
