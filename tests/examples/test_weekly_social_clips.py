"""The weekly clips, whole: what a week pays for, and where its limit ends it."""

from __future__ import annotations

from typing import Any

import pendulum
import pytest

MONDAY = pendulum.datetime(2026, 11, 23, tz="UTC")


@pytest.fixture
def weekly(load_example: Any) -> Any:
    """The DAG."""
    return load_example("weekly_social_clips")["dag"]


def test_each_topic_becomes_a_clip(magic_hour_simulator, weekly, returned, tmp_path):
    """Two topics are four jobs and no upload; the clips are in the week's own folder."""
    topics = ["{{ 6 * 7 }} lighthouses", "a harbor"]
    run = weekly.test(logical_date=MONDAY, run_conf={"topics": topics, "results": str(tmp_path)})
    stats = magic_hour_simulator.stats()
    assert (run.state, stats["creates"]["accepted"], stats["uploads"]) == ("success", 4, 0)
    clips = returned(run, "list_clips")
    assert len(set(clips)) == 2
    assert all(clip.startswith(f"{tmp_path}/{run.run_id}/image-to-video-") for clip in clips)
    prompts = [job["request"]["style"]["prompt"] for job in magic_hour_simulator.jobs() if job["kind"] == "image"]
    assert sorted(prompts) == sorted(f"{topic}, travel poster, bold colors" for topic in topics)


def test_a_week_costs_no_more_than_its_limit(magic_hour_simulator, weekly, tmp_path):
    """With room for one clip a second one is refused before it is paid for."""
    conf = {"topics": ["a lighthouse", "a harbor"], "results": str(tmp_path), "max_credits_per_run": 140}
    run = weekly.test(logical_date=MONDAY, run_conf=conf)
    stats = magic_hour_simulator.stats()
    assert (run.state, stats["creates"]["accepted"], stats["credits"]["charged"]) == ("failed", 3, 130)
