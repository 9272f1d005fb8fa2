"""The page of a batch: its progress, from the one XCom that its task pushes while it runs and when it has ended."""

from __future__ import annotations

import json

import pytest

from helpers.attempts import TaskInstance
from helpers.batches import Batches, rows
from magic_hour_provider.plugin.media_tab.batch_progress import batch_of, describe_batch
from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot
from magic_hour_provider.plugin.media_tab.task_details import error_of

REPORT = {
    "tool": "ai-image-generator",
    "output_path": "s3://media/campaign/",
    "max_credits": 2_000,
    "items": 300,
    "complete": 120,
    "failed": 3,
    "unknown": 1,
    "active": 16,
    "left": 160,
    "credits_charged": 1_230,
    "updated_at": "2026-11-29T09:00:00+00:00",
}


def test_a_batch_that_runs(tab):
    """Numbers of items, credits and their limit; nothing is said to be empty, and no file is asked for."""
    tab.put("make", "running", magic_hour_batch=REPORT)
    page = tab.details()
    assert (page["live"], page["error"], page["empty_reason"], page["files"], page["job"]) == (
        True,
        None,
        None,
        [],
        None,
    )
    names = ("items", "complete", "failed", "unknown", "active", "left", "credits_charged", "max_credits")
    assert {name: page["batch"][name] for name in names} == {name: REPORT[name] for name in names}
    assert (page["batch"]["title"], page["batch"]["results"]) == ("AI Image Generator", None)
    assert page["batch"]["updated_at"] == 1_795_942_800


def test_its_tile_in_the_run(tab):
    """The contact sheet of the run says how far it is."""
    tab.put("make", "running", magic_hour_batch=REPORT)
    (tile,) = [one for one in tab.details(None)["tiles"] if one["task_id"] == "make"]
    assert tile["message"] == "120 of 300 items are complete, 3 failed, 1 of an unknown outcome, 16 under way."
    assert (tile["title"], tile["credits"], tile["file"]) == ("AI Image Generator", 1_230, None)


def test_the_credits_of_a_run_with_batches(tab):
    """Those of its batches count beside those of single jobs; what is no number of credits counts nothing."""
    tab.put("make", "running", magic_hour_batch=REPORT)
    tab.put("theirs", "success", return_value=tab.result("a-abc123-1.png"))
    assert tab.details(None)["totals"]["credits"] == 1_235
    for nonsense in ("text", -5, None, 10**30, [1]):
        tab.put("make", "running", magic_hour_batch=REPORT | {"credits_charged": nonsense})
        assert tab.details(None)["totals"]["credits"] == 5


def test_a_batch_that_is_complete(tab, airflow):
    """What a real attempt pushes: the numbers of its end, and where its results are."""
    batches, ti = Batches(airflow), TaskInstance("make")
    made = batches.attempt(batches.operator(rows(2), item_id="sku"), ti)
    tab.put("make", "success", return_value=made, **ti.xcoms)
    page = tab.details()
    assert (page["stage"], page["error"], page["empty_reason"]) == ("succeeded", None, None)
    assert ti.xcoms["library_url"] == "https://magichour.ai/my-library"
    shown = page["batch"]
    assert (shown["items"], shown["complete"], shown["left"], shown["credits_charged"]) == (2, 2, 0, 20)
    assert (shown["results"], shown["max_credits"]) == (made["results"], None)
    assert batches.creates() == 2


def test_a_batch_that_has_failed(tab, airflow):
    """Why, what it means for the charge, and the next step, each for itself; and what is complete all the same."""
    batches, ti = Batches(airflow), TaskInstance("make")
    given = [*rows(1), {"sku": "x", "style": {"prompt": "b [[lost-response]]"}}]
    with pytest.raises(Exception, match="unknown outcome"):
        batches.attempt(batches.operator(given, item_id="sku"), ti)
    tab.put("make", "failed", **ti.xcoms)
    page = tab.details()
    assert (page["batch"]["complete"], page["batch"]["unknown"]) == (1, 1)
    error = page["error"]
    assert error["message"].startswith("Of 2 items 1 are complete")
    assert error["charge"].startswith("This task has paid for 1 job so far; 10 credits stay charged. Of 1 more item")
    assert error["charge"] not in error["message"]
    assert "--item" in error["next_step"]
    assert "--item" not in error["message"]
    assert batches.creates() == 2


def test_a_batch_that_was_killed():
    """Its last report stays; that it reported no error is said."""
    task = TaskSnapshot("make", -1, "failed", xcoms={"magic_hour_batch": REPORT})
    assert batch_of(task)["complete"] == 120
    assert error_of(task)["message"].startswith("The attempt ended before its operator could report an error")


def test_a_batch_that_has_not_read_its_rows(tab):
    """An attempt that fails at once has no numbers yet, and says why it failed."""
    report = {"tool": "ai-image-generator", "error": "2 of 5 rows cannot work. Nothing was charged."}
    tab.put("make", "failed", magic_hour_batch=report)
    page = tab.details()
    assert (page["batch"]["items"], page["error"]["message"][:11]) == (None, "2 of 5 rows")
    assert describe_batch(page["batch"]) == "This batch has not read its rows yet."


@pytest.mark.parametrize("state", ["running", "failed", "success"])
@pytest.mark.parametrize("value", ["text", [1], -5, 10**30, True, {"a": {}}, "<script>alert(1)</script>", "x" * 10_000])
def test_values_that_are_not_to_be_trusted(tab, state, value):
    """Anybody may have written the XCom: what is no number is not known, and the pages are there."""
    tab.put("make", state, magic_hour_batch=dict.fromkeys([*REPORT, "results", "error"], value))
    page, run = tab.details(), tab.details(None)
    assert page["batch"]["items"] in (None, 5)
    assert len(json.dumps(page)) < 60_000
    assert [one for one in run["tiles"] if one["task_id"] == "make"]


@pytest.mark.parametrize("value", [None, "text", [], {}, 5])
def test_what_is_no_report_of_a_batch(tab, value):
    """The page is as if there was none."""
    tab.put("make", "success", magic_hour_batch=value)
    page = tab.details()
    assert (page["batch"], page["empty_reason"]) == (None, "This task has made no media.")


def test_nothing_is_offered_to_be_recovered_as_a_whole(tab):
    """An instruction for the whole task would not be followed, so there is none, whatever else the task has pushed."""
    lost = {"tool": "ai-image-generator", "kind": "image", "charge": "unknown", "error": "lost"}
    tab.put("make", "failed", magic_hour_batch=REPORT, magic_hour_job=lost)
    answer = tab.get(f"{tab.path()}/recovery")
    assert answer.status_code == 200
    assert answer.json()["possible"] is False
