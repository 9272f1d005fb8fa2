"""The language versions, whole: one upload, a job for each language, and what one that fails leaves."""

from __future__ import annotations

from typing import Any

import pytest

LANGUAGES = ["German", "French", "Japanese"]


@pytest.fixture
def languages(load_example: Any) -> Any:
    """The DAG."""
    return load_example("language_versions")["dag"]


@pytest.fixture
def conf(tmp_path: Any) -> dict[str, Any]:
    """What a run is started with: a video, whose name is no template."""
    video = tmp_path / "my {talk}.mp4"
    video.write_bytes(b"\0" * 4096)
    return {"video": str(video), "languages": LANGUAGES, "results": str(tmp_path / "results")}


def test_each_language_is_a_job(magic_hour_simulator, languages, conf, returned, tmp_path):
    """Three jobs are paid for with one upload, and the table names a file for each language."""
    run = languages.test(run_conf=conf)
    stats = magic_hour_simulator.stats()
    assert (run.state, stats["creates"]["accepted"], stats["uploads"]) == ("success", 3, 1)
    assert sorted(job["request"]["target_language"] for job in magic_hour_simulator.jobs()) == sorted(LANGUAGES)
    table = returned(run, "table")
    assert [*table] == LANGUAGES
    assert all(file.startswith(f"{tmp_path}/results/{run.run_id}/ai-video-translator-") for file in table.values())


def test_a_language_that_fails_leaves_the_others(magic_hour_simulator, languages, conf, returned):
    """One of three is refunded; the other two are in the table, and nothing is paid for again."""
    magic_hour_simulator.inject_fault("job-outcome", status="error", code="content_policy_violation")
    run = languages.test(run_conf=conf)
    stats = magic_hour_simulator.stats()
    assert stats["creates"]["accepted"] == 3
    assert stats["credits"]["refunded"] == stats["credits"]["charged"] / 3
    assert len(returned(run, "table")) == 2


def test_no_language_at_all(magic_hour_simulator, languages, conf):
    """Where every language fails, so does the run, and all is refunded."""
    magic_hour_simulator.inject_fault("job-outcome", status="error", code="content_policy_violation", count=3)
    assert languages.test(run_conf=conf).state == "failed"
    stats = magic_hour_simulator.stats()
    assert (stats["creates"]["accepted"], stats["credits"]["refunded"]) == (3, stats["credits"]["charged"])
