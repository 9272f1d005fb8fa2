"""The campaign that a person approves: its estimate is what is paid, and without approval nothing is."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.samples import PHOTO
from magic_hour_provider.api.errors import InvalidInputError


@pytest.fixture
def campaign(load_example: Any) -> Any:
    """The DAG."""
    return load_example("approve_before_paying")["dag"]


def test_what_is_approved_is_what_is_paid(magic_hour_simulator, campaign, tmp_path, returned):
    """Two photos are estimated before anything is sent; approved, they are made for exactly that."""
    for name in ("a.png", "b.png"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(PHOTO.read_bytes())
    conf = {"photos": str(tmp_path / "photos"), "results": str(tmp_path / "results")}
    run = campaign.test(run_conf=conf, mark_success_pattern="approve")
    assert run.state == "success"
    assert returned(run, "total") == 20
    made = returned(run, "pictures")
    assert (made["complete"], made["credits_charged"]) == (2, 20)
    assert magic_hour_simulator.stats()["creates"]["accepted"] == 2


def test_nothing_is_paid_before_the_approval(campaign):
    """The batch comes after the approval, which comes after the estimate; a price nobody knows stops there."""
    approve = campaign.get_task("approve")
    assert approve.upstream_task_ids == {"total"}
    assert "approve" in campaign.get_task("pictures").upstream_task_ids
    add_up = campaign.get_task("total").python_callable
    rows = [{"name": "a", "assets": {"image_file_paths": ["a.png"]}}]
    assert add_up(rows * 3) == 30
    with pytest.raises(ValueError, match="Nobody knows what 1 of 1 pictures cost"):
        add_up([rows[0] | {"resolution": "1k"}])


def test_an_estimate_that_is_missing_is_no_limit_that_is_missing(campaign):
    """A batch whose limit an earlier task did not give pays for nothing."""
    pictures = campaign.get_task("pictures")
    for value, why in ((None, "returned nothing"), ("20", "must be a whole number")):
        pictures.max_credits, pictures.output_path = value, "/tmp/none"
        with pytest.raises(InvalidInputError, match=f"max_credits .*{why}"):
            pictures.batch_spec()
