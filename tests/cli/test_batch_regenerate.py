"""``regenerate --items``: new jobs of all items, or of those that failed or are unknown, at a confirmed price."""

from __future__ import annotations

import pytest

from helpers.campaigns import ROWS, TASK, Campaign
from helpers.database import airflow_at
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.plugin.recovery.batch import items

FAILED = {"sku": "bad", "style": {"prompt": "b [[error:no_source_face]]"}}


@pytest.fixture
def campaign(metadata, airflow):
    """The batch."""
    with airflow_at(metadata):
        yield Campaign(airflow)


def test_all_items(campaign, run):
    """Number and price are typed; each complete item is paid for once more, and by no attempt after that."""
    campaign.attempt()
    before = campaign.ids()
    done = run("regenerate", *TASK, "--items", "all", answers="3:30\n")
    assert done.code == 0, done.err
    assert "3 items are made again and paid for. The last jobs of them cost 30 credits." in done.text
    assert campaign.is_cleared
    assert campaign.creates() == 3
    assert campaign.attempt()["complete"] == 3
    after = campaign.ids()
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert campaign.creates() == 6
    campaign.attempt()
    assert campaign.creates() == 6


def test_what_failed_or_is_unknown(campaign, run):
    """The complete ones stay; a price that is not known is said to be unknown, never nothing."""
    campaign.sim.inject_fault("close-after-accept", prompt="boot")
    given = [*ROWS, FAILED]
    campaign.attempt(given)
    before = campaign.ids()
    done = run("regenerate", *TASK, "--items", "failed", "--yes")
    assert (done.code, "--confirm 2:10+unknown" in done.text) == (1, True)
    assert "it is not known whether a job was made: if one was, both are paid for" in done.text
    assert "of them were charged 10 credits, before failures were refunded." in done.text
    assert "--confirm 2:10+unknown answers in advance" in run("regenerate", *TASK, "--items", "failed").text
    assert not campaign.is_cleared
    done = run("regenerate", *TASK, "--items", "failed", "--confirm", "2:10+unknown", "-o", "json")
    assert done.code == 0, done.err
    assert (done.rows[0]["items"], done.rows[0]["price"]) == (2, "10+unknown")
    campaign.attempt([*ROWS, FAILED | {"style": {"prompt": "b"}}])
    after = campaign.ids()
    assert {sku: after[sku] for sku in ("Red shoe", "sandal")} == {sku: before[sku] for sku in ("Red shoe", "sandal")}
    assert after["boot"]
    assert after["bad"] != before["bad"]
    assert campaign.creates() == 4 + 2


@pytest.mark.parametrize("typed", ["3:20", "2:30", "3:unknown", "y", ""])
def test_what_is_not_confirmed(campaign, run, typed):
    """Another number or price than the one that is shown changes nothing, typed or given in advance."""
    campaign.attempt()
    before = campaign.names()
    done = run("regenerate", *TASK, "--items", "all", answers=f"{typed}\n")
    assert (done.code, done.out) == (1, "")
    assert run("regenerate", *TASK, "--items", "all", "--yes", "--confirm", typed).code == 1
    assert campaign.names() == before
    assert not campaign.is_cleared
    assert campaign.creates() == 3


def test_what_has_changed_meanwhile(campaign, run, monkeypatch):
    """An item that another run has made before the task runs again is not paid for once more; the others are."""
    campaign.attempt()
    assert run("regenerate", *TASK, "--items", "all", "--confirm", "3:30").code == 0
    assert run("regenerate", *TASK, "--item", "boot").code == 1  # cleared: it is about to run
    other = Campaign(campaign.batches.airflow, campaign.batches.folder)
    other.ti.run_id, other.ti.dag_id = "manual__other", "other"
    records = ItemRecords.open(campaign.batches.folder)
    records.read_lists()
    state = records.get("boot")
    assert [one.action for one in state.instructions] == ["regenerate"]
    declared = records.declare("boot", state, records.read_intent("boot", 1).record)
    records.withdraw(declared)  # surely no job was made: what was asked for counts again
    assert [one.action for one in records.get("boot").instructions] == ["regenerate"]
    declared = records.declare("boot", records.get("boot"), records.read_intent("boot", 1).record)
    record = next(step.record for step in records.read("boot") if step.name.step == "done")
    records.deliver("boot", declared.number, record)
    assert records.get("boot").instructions == ()
    assert campaign.attempt()["complete"] == 3
    assert campaign.creates() == 5


def test_items_of_other_runs(campaign, run):
    """What the folder holds beside the task's own rows is not asked for: only another task would pay for it, later."""
    campaign.attempt([*ROWS, {"sku": "old", "style": {"prompt": "old"}}])
    campaign.attempt()
    done = run("regenerate", *TASK, "--items", "all", "--confirm", "3:30")
    assert done.code == 0, done.err
    assert set(campaign.instructions()) == {row.get("key", row["item_id"]) for row in campaign.rows().values()}
    campaign.attempt([*ROWS, {"sku": "old", "style": {"prompt": "old"}}])
    assert campaign.creates() == 4 + 3


@pytest.mark.parametrize("state", ["running", "queued"])
def test_a_batch_that_runs(campaign, run, state):
    """Its process could pay meanwhile: refused."""
    campaign.attempt()
    campaign.put(state)
    assert run("regenerate", *TASK, "--items", "all", "--confirm", "3:30").code == 1
    assert campaign.instructions() == {}
    assert campaign.creates() == 3


def test_a_clear_that_fails(campaign, run, monkeypatch):
    """Nothing is left of the instruction."""
    from magic_hour_provider.plugin.recovery.errors import RecoveryError

    campaign.attempt()
    before = campaign.names()

    def break_down(session, key, ti_id):
        assert len(campaign.instructions()) == 3
        raise RecoveryError("Airflow could not clear the task. Nothing has changed.", 502)

    monkeypatch.setattr("magic_hour_provider.plugin.recovery.instruct.clear_tasks", break_down)
    assert run("regenerate", *TASK, "--items", "all", "--confirm", "3:30").code == 1
    assert campaign.names() == before
    assert campaign.creates() == 3


def test_results_with_a_row_that_does_not_end(campaign, run, monkeypatch):
    """A row is read up to a bound: no file in somebody's storage takes the server's memory. Nothing has changed."""
    campaign.attempt()
    monkeypatch.setattr(items, "_MAX_LINE", 100)
    done = run("regenerate", *TASK, "--items", "all", "--confirm", "3:30")
    assert (done.code, "cannot be read" in done.text) == (1, True)
    assert not campaign.is_cleared
    assert campaign.creates() == 3


def test_a_batch_without_results(campaign, run):
    """Which items are its own is not known before it has come to an end once."""
    campaign.ti.xcoms["magic_hour_batch"] = {"output_path": campaign.batches.folder}
    campaign.put("failed")
    done = run("regenerate", *TASK, "--items", "all", "--confirm", "1:1")
    assert (done.code, "has not come to an end yet" in done.text) == (1, True)
    for options in (("--items", "all", "--item", "boot"), ("--item", "boot", "--confirm", "1:1")):
        assert run("regenerate", *TASK, *options).code == 1
    assert campaign.creates() == 0
