"""The weekly pipeline, whole: it waits for a job that it did not make, and pays for its own alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pendulum
import pytest

from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.simulator.server import DEFAULT_API_KEY

SUNDAY = pendulum.datetime(2026, 11, 22, tz="UTC")


@pytest.fixture
def started(magic_hour_simulator: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A colleague, who starts a video and puts its address into the Variable."""

    def start(prompt: str) -> str:
        with MagicHourClient(api_key=DEFAULT_API_KEY, base_url=magic_hour_simulator.url) as client:
            job = client.create("text-to-video", {"end_seconds": 5, "style": {"prompt": prompt}})
        address = f"https://magichour.ai/my-library?videoId={job.id}"
        monkeypatch.setenv("AIRFLOW_VAR_MAGIC_HOUR_VIDEO_OF_THE_WEEK", address)
        return job.id

    return start


@pytest.fixture
def weekly(load_example: Any) -> Any:
    """The DAG."""
    return load_example("weekly_from_the_library")["dag"]


def test_it_waits_and_then_pays_once(magic_hour_simulator, started, weekly, returned, caplog, tmp_path):
    """The sensor waits for the video, deferred; one job more is paid for, and its file is in the run's folder."""
    made_by_hand = started("the shop window, in snow")
    with caplog.at_level("INFO", "airflow.sdk.definitions.dag"):
        run = weekly.test(logical_date=SUNDAY, run_conf={"results": str(tmp_path)})
    assert "running trigger in line" in caplog.text.partition("starting task_id=subtitled")[0]
    video, subtitled = returned(run, "video"), returned(run, "subtitled")
    assert (run.state, video["id"], video["files"]) == ("success", made_by_hand, [])
    assert magic_hour_simulator.stats()["creates"]["accepted"] == 2
    stored = tmp_path / run.run_id / f"auto-subtitle-generator-{subtitled['id']}-1.mp4"
    assert subtitled["files"] == [str(stored)]
    assert stored.stat().st_size > 1000


def test_a_video_that_failed_costs_no_more(magic_hour_simulator, started, weekly, tmp_path):
    """The colleague's video fails: so does the run, at its first task, and nothing is paid for."""
    started("the shop window [[error:unknown_error]]")
    run = weekly.test(logical_date=SUNDAY, run_conf={"results": str(tmp_path)})
    ended = {ti.task_id: (ti.state, ti.try_number) for ti in run.get_task_instances()}
    assert ended == {"video": ("failed", 1), "subtitled": ("upstream_failed", 0)}
    assert magic_hour_simulator.stats()["creates"]["accepted"] == 1
