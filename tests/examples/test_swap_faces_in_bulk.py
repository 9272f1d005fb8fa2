"""The bulk face swap, whole: what is uploaded, what is paid for, and what a second run adds."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from helpers.samples import PHOTO


@pytest.fixture
def bulk(load_example: Any) -> Any:
    """The DAG."""
    return load_example("swap_faces_in_bulk")["dag"]


@pytest.fixture
def conf(tmp_path: Any) -> dict[str, str]:
    """What a run is started with: five photos, and a face."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(5):
        shutil.copy(PHOTO, photos / f"{number}.png")
    face = tmp_path / "face.png"
    shutil.copy(PHOTO, face)
    return {"photos": str(photos), "face": str(face), "results": str(tmp_path / "results")}


def test_every_photo_gets_the_face(magic_hour_simulator, bulk, conf, returned, tmp_path):
    """Five jobs are paid for, and the face is uploaded once; another run pays for the photo that came since."""
    run = bulk.test(run_conf=conf)
    stats = magic_hour_simulator.stats()
    assert (run.state, stats["creates"]["accepted"], stats["uploads"]) == ("success", 5, 6)
    assert len({job["request"]["assets"]["source_file_path"] for job in magic_hour_simulator.jobs()}) == 1
    assert returned(run, "without_a_face") == []

    shutil.copy(PHOTO, tmp_path / "photos" / "new.png")
    run = bulk.test(run_conf=conf)
    assert (run.state, magic_hour_simulator.stats()["creates"]["accepted"]) == ("success", 6)
    assert len([*(tmp_path / "results").glob("face-swap-photo-*.png")]) == 6


def test_a_photo_without_a_face_is_named(magic_hour_simulator, bulk, conf, returned):
    """One of five has none: it is refunded, named, and leaves the run green."""
    magic_hour_simulator.inject_fault("job-outcome", status="error", code="no_target_face")
    run = bulk.test(run_conf=conf)
    stats = magic_hour_simulator.stats()
    assert (run.state, stats["creates"]["accepted"]) == ("success", 5)
    assert stats["credits"]["refunded"] == stats["credits"]["charged"] / 5
    (failed,) = (job for job in magic_hour_simulator.jobs() if job["status"] == "error")
    assert [failed["name"].startswith(name) for name in returned(run, "without_a_face")] == [True]
