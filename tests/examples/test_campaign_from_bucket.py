"""The campaign, whole, from a bucket of S3 and back: what is paid for when a row fails, and by the runs after it."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.samples import PHOTO

PHOTOS = ("a b.png", "b.png", "ü.jpg")


@pytest.fixture
def campaign(load_example: Any) -> Any:
    """The DAG."""
    return load_example("campaign_from_bucket")["dag"]


@pytest.fixture
def conf(bucket: Any) -> dict[str, str]:
    """What a run is started with: a bucket with three photos, and one file that is none."""
    for name in PHOTOS:
        bucket.write(f"photos/{name}", PHOTO.read_bytes())
    bucket.write("photos/readme.txt", b"not a photo")
    return {"photos": f"{bucket.uri}/photos", "results": f"{bucket.uri}/results"}


def rows(run: Any) -> list[str]:
    """Return how the rows of a run ended."""
    return sorted(ti.state for ti in run.get_task_instances() if ti.task_id == "picture")


def test_what_failed_is_all_that_the_next_run_makes(magic_hour_simulator, campaign, conf, bucket, returned):
    """One row of three fails: two results are kept, the second run pays for the third, a third run for nothing."""
    magic_hour_simulator.inject_fault("job-outcome", status="error", code="no_source_face")

    first = campaign.test(run_conf=conf)
    kept = returned(first, "report")
    assert (first.state, rows(first)) == ("success", ["failed", "success", "success"])
    assert (len(kept["made"]), {*kept["made"], *kept["missing"]}) == (2, set(PHOTOS))
    assert magic_hour_simulator.stats()["creates"]["accepted"] == 3

    second = campaign.test(run_conf=conf)
    report = returned(second, "report")
    assert (second.state, rows(second)) == ("success", ["success"])
    assert ([*report["made"]], report["missing"]) == (kept["missing"], [])
    assert magic_hour_simulator.stats()["creates"]["accepted"] == 4

    third = campaign.test(run_conf=conf)
    assert (third.state, rows(third), returned(third, "report")) == (
        "success",
        ["skipped"],
        {"made": {}, "missing": []},
    )
    stats = magic_hour_simulator.stats()
    assert (stats["creates"]["accepted"], stats["uploads"]) == (4, 4)

    pictures = [key for key in sorted(bucket.keys()) if key.startswith("results/") and key.endswith(".png")]
    assert sorted(key.split("/")[1] for key in pictures) == sorted(PHOTOS)
    assert {f"{bucket.uri}/{key}" for key in pictures} == {*kept["made"].values(), *report["made"].values()}


def test_what_comes_from_data_is_never_a_template(magic_hour_simulator, campaign, conf, bucket):
    """Braces in a prompt of the run's conf and in a file's name are sent as they are, and read nothing."""
    bucket.empty()
    name = "{{ 6 * 7 }}.png"
    bucket.write(f"photos/{name}", PHOTO.read_bytes())
    secret = "{{ conn.magic_hour_default.password }}"
    run = campaign.test(run_conf=conf | {"prompt": secret})
    assert (run.state, rows(run)) == ("success", ["success"])
    assert magic_hour_simulator.stats()["creates"]["accepted"] == 1
    (job,) = magic_hour_simulator.jobs()
    assert job["request"]["style"]["prompt"] == secret
    assert job["name"].startswith(name)
    made = [key for key in sorted(bucket.keys()) if key.startswith("results/") and key.endswith(".png")]
    assert [key.split("/")[1] for key in made] == [name]


def test_a_run_that_made_nothing_is_red(magic_hour_simulator, campaign, conf):
    """All rows fail, and so does the run, although its last task runs whatever became of them."""
    magic_hour_simulator.inject_fault("job-outcome", status="error", code="no_source_face", count=3)
    run = campaign.test(run_conf=conf)
    assert (run.state, rows(run)) == ("failed", ["failed"] * 3)
    stats = magic_hour_simulator.stats()
    assert (stats["creates"]["accepted"], stats["credits"]["refunded"]) == (3, stats["credits"]["charged"])
