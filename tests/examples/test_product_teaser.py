"""The example DAG, whole, against the simulator: what it pays for, and what arrives."""

import runpy

import pytest


@pytest.fixture
def teaser(pytestconfig, monkeypatch, tmp_path):
    """The DAG, loaded when its folder for files is known."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__OUTPUT_PATH", str(tmp_path))
    return runpy.run_path(str(pytestconfig.rootpath / "dags_examples" / "product_teaser.py"))["dag"]


def test_every_task_pays_once(magic_hour_simulator, teaser, tmp_path):
    """Five tasks generate: five jobs are paid for, and the file of each arrives."""
    assert teaser.test().state == "success"
    stats = magic_hour_simulator.stats()
    assert (stats["creates"]["accepted"], stats["credits"]["charged"]) == (5, 309)
    files = [path for path in tmp_path.iterdir() if path.is_file() and path.suffix != ".json"]
    assert sorted(file.suffix for file in files) == [".mp4", ".mp4", ".mp4", ".png", ".wav"]


def test_a_missing_face_costs_nothing(magic_hour_simulator, teaser):
    """The lip sync fails for good: its credits come back, and nothing is made after it."""
    magic_hour_simulator.inject_fault("job-outcome", tool="lip-sync", status="error", code="no_source_face")
    assert teaser.test().state == "failed"
    stats = magic_hour_simulator.stats()
    assert (stats["creates"]["accepted"], stats["credits"]["refunded"]) == (4, 150)
