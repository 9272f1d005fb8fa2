"""An input given as a link, on real Airflow."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.system

SIZE = 3_000_000


def test_magic_hour_fetches_the_file_itself(world, inputs):
    """One create, no upload: the bytes go from the bucket to Magic Hour, the link's signature into no log or event."""
    before = world.sim.stats()
    run_id = world.airflow.trigger("presigned", {"photo": inputs.put("a photo.png", SIZE)})
    assert world.airflow.wait_for_run("presigned", run_id) == "success"
    stats = world.sim.stats()
    assert stats["creates"]["accepted"] == before["creates"]["accepted"] + 1
    assert (stats["input_links"]["fetched"], stats["input_links"]["bytes"], stats["uploads"]) == (
        1,
        SIZE,
        before["uploads"],
    )
    assert (inputs.by_link, inputs.by_sdk) == (SIZE, 0)
    log = world.airflow.task_log("presigned", run_id, "upscale", 1)
    assert inputs.links
    sent = world.airflow.home.parent / "events.jsonl"
    said = log + (sent.read_text() if sent.exists() else "")
    assert not [signature for signature in inputs.links if signature in said]
