"""The faces' DAG, whole, against the simulator: what it pays for, what is sent, and what arrives."""

import runpy

import pytest


@pytest.fixture
def swap_faces(pytestconfig, monkeypatch, tmp_path):
    """The DAG, loaded when its folder for files is known."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__OUTPUT_PATH", str(tmp_path))
    return runpy.run_path(str(pytestconfig.rootpath / "dags_examples" / "swap_faces.py"))["dag"]


def test_each_face_that_was_found_gets_the_new_one(magic_hour_simulator, swap_faces, tmp_path):
    """Three jobs, one upload for two of them; the faces come from the detection, the new one goes by reference."""
    assert swap_faces.test().state == "success"
    stats = magic_hour_simulator.stats()
    assert (stats["creates"]["accepted"], stats["uploads"]) == (3, 1)
    jobs = {job["tool"]: job for job in magic_hour_simulator.jobs()}
    sent = jobs["face-swap-photo"]["request"]["assets"]
    assert sent["target_file_path"] == jobs["face-detection"]["request"]["assets"]["target_file_path"]
    portrait = f"https://magichour.ai/my-library?imageId={jobs['ai-image-generator']['id']}"
    found = f"api-assets/{jobs['face-detection']['id']}/0-"
    assert [mapping["new_face"] for mapping in sent["face_mappings"]] == [portrait] * len(sent["face_mappings"])
    assert len({mapping["original_face"] for mapping in sent["face_mappings"]}) == len(sent["face_mappings"]) > 0
    assert all(mapping["original_face"].startswith(found) for mapping in sent["face_mappings"])
    assert jobs["face-swap-photo"]["status"] == "complete"
    names = [path.name for path in tmp_path.iterdir() if path.is_file() and path.suffix == ".png"]
    assert sorted(name.rpartition("-")[0].rpartition("-")[0] for name in names) == [
        "ai-image-generator",
        "face-swap-photo",
    ]
