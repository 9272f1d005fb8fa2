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


def creates(sim: Any) -> int:
    """Return how many paid requests were accepted."""
    return int(sim.stats()["creates"]["accepted"])


def test_a_second_run_makes_only_what_is_new(magic_hour_simulator, campaign, conf, bucket, returned):
    """One of three fails for good: two are kept; the next run pays only for a photo that came since."""
    magic_hour_simulator.inject_fault("job-outcome", status="error", code="no_source_face")

    first = campaign.test(run_conf=conf)
    kept = returned(first, "report")
    assert (first.state, creates(magic_hour_simulator)) == ("success", 3)
    assert (len(kept["made"]), {*kept["made"], *kept["missing"]}) == (2, set(PHOTOS))
    assert "no_source_face" in next(iter(kept["missing"].values()))

    bucket.write("photos/c.png", PHOTO.read_bytes())
    second = campaign.test(run_conf=conf)
    report = returned(second, "report")
    assert (second.state, creates(magic_hour_simulator)) == ("success", 4)
    assert report["missing"] == kept["missing"]
    assert report["made"] == kept["made"] | {"c.png": report["made"]["c.png"]}
    assert report["credits"] == kept["credits"] / 2

    third = campaign.test(run_conf=conf)
    assert (third.state, returned(third, "report")) == ("success", report | {"credits": 0})
    assert creates(magic_hour_simulator) == 4

    pictures = [key for key in sorted(bucket.keys()) if key.startswith("results/") and key.endswith(".png")]
    assert {f"{bucket.uri}/{key}" for key in pictures} == set(report["made"].values())


def test_what_comes_from_data_is_never_a_template(magic_hour_simulator, campaign, conf, bucket, returned):
    """Braces in a prompt of the run's conf and in a file's name are sent as they are, and read nothing."""
    bucket.empty()
    name = "{{ 6 * 7 }}.png"
    bucket.write(f"photos/{name}", PHOTO.read_bytes())
    secret = "{{ conn.magic_hour_default.password }}"
    run = campaign.test(run_conf=conf | {"prompt": secret})
    assert (run.state, creates(magic_hour_simulator)) == ("success", 1)
    (job,) = magic_hour_simulator.jobs()
    assert job["request"]["style"]["prompt"] == secret
    assert job["name"].startswith(name)
    assert [*returned(run, "report")["made"]] == [name]


def test_a_run_that_made_nothing_is_red(magic_hour_simulator, campaign, conf):
    """All photos fail, and so does the run; they are not paid for again until their rows change."""
    magic_hour_simulator.inject_fault("job-outcome", status="error", code="no_source_face", count=3)
    assert campaign.test(run_conf=conf).state == "failed"
    assert campaign.test(run_conf=conf).state == "failed"
    assert campaign.test(run_conf=conf | {"prompt": "In the snow"}).state == "success"
    stats = magic_hour_simulator.stats()
    assert (stats["creates"]["accepted"], stats["credits"]["refunded"]) == (6, stats["credits"]["charged"] / 2)
