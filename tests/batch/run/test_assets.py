"""Asset events of a batch: one for the whole, and one for each new file where an alias asks for it."""

from __future__ import annotations

import pytest
from airflow.sdk import Asset, AssetAlias

from helpers.attempts import TaskInstance
from helpers.batches import rows
from magic_hour_provider.batch.run import file_events
from magic_hour_provider.outputs.assets import asset_uri

ALIAS, WHOLE = AssetAlias("campaign files"), Asset("campaign", uri="x-media://campaign")


def events(ti: TaskInstance) -> list[tuple[str, dict]]:
    """Return the assets that the alias was given, with their extras."""
    return [(event.dest_asset_key.uri, event.extra) for event in ti.outlet_events[ALIAS].asset_alias_events]


def other_run() -> TaskInstance:
    """Return the same task in another run."""
    ti = TaskInstance("campaign")
    ti.run_id = "manual__2"
    return ti


def test_one_event_for_the_batch(batches):
    """Its extra is the manifest; without an alias no file has an event."""
    ti = TaskInstance("campaign")
    made = batches.attempt(batches.operator(rows(2), item_id="sku", outlets=[WHOLE]), ti)
    assert ti.outlet_events[WHOLE].extra == made
    assert events(ti) == []
    assert batches.creates() == 2


def test_an_alias_gets_each_new_file(batches):
    """In the form of a single job's result, so that the next operator takes it; another run's files are its own."""
    ti = TaskInstance("campaign")
    operator = batches.operator(rows(2, image_count=2), item_id="sku", outlets=[ALIAS, WHOLE])
    made = batches.attempt(operator, ti)
    found = events(ti)
    assert len(found) == 4
    assert [extra["item_id"] for _, extra in found] == ["shoe-0", "shoe-0", "shoe-1", "shoe-1"]
    for uri, extra in found:
        assert uri == asset_uri(extra["uri"])
        assert extra["uri"] == extra["files"][extra["index"]] == extra["media"][extra["index"]]["uri"]
        assert (extra["kind"], extra["tool"], extra["results"]) == ("image", "ai-image-generator", made["results"])
        assert "signature" not in str(extra)
    cut = batches.airflow.operator("image-background-remover", {"assets": {"image_file_path": found[1][1]}})
    assert batches.airflow.attempt(cut, TaskInstance("cut"))["status"] == "complete"
    second = other_run()
    batches.attempt(batches.operator(rows(3, image_count=2), item_id="sku", outlets=[ALIAS]), second)
    assert [extra["item_id"] for _, extra in events(second)] == ["shoe-2", "shoe-2"]
    ti.clear()
    batches.attempt(operator, ti)
    assert len(events(ti)) == 4
    assert batches.creates() == 2 + 1 + 1


def test_an_attempt_that_fails_notifies_nobody(batches):
    """The one that succeeds announces what all of them have made."""
    batches.airflow.sim.inject_fault("job-outcome", prompt="shoe 1", status="error", code="unknown_error")
    ti = TaskInstance("campaign")
    operator = batches.operator(rows(3), item_id="sku", item_retries=0, outlets=[ALIAS])
    with pytest.raises(Exception, match="1 failed"):
        batches.attempt(operator, ti)
    assert events(ti) == []
    batches.attempt(operator, ti)
    assert [extra["item_id"] for _, extra in events(ti)] == ["shoe-0", "shoe-1", "shoe-2"]
    assert batches.creates() == 4


def test_more_files_than_airflow_takes(batches, monkeypatch, caplog):
    """None has an event, and a warning says where they are: the task, whose work is done, succeeds."""
    monkeypatch.setattr(file_events, "MAX_FILE_EVENTS", 3)
    ti = TaskInstance("campaign")
    made = batches.attempt(batches.operator(rows(2, image_count=2), item_id="sku", outlets=[ALIAS, WHOLE]), ti)
    assert made["complete"] == 2
    assert events(ti) == []
    assert ti.outlet_events[WHOLE].extra == made
    assert "4 new files are more than 3" in caplog.text
    assert made["results"] in caplog.text
    assert batches.creates() == 2
