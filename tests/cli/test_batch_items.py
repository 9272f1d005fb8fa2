"""``--item``: one item of a batch is shown, resumed or made again; the others are not touched, or paid for again."""

from __future__ import annotations

import pytest

from helpers.batches import PROMPT
from helpers.campaigns import ROWS, TASK, Campaign
from helpers.database import airflow_at
from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.plugin.recovery.batch import item as batch_item


@pytest.fixture
def campaign(metadata, airflow):
    """The batch."""
    with airflow_at(metadata):
        yield Campaign(airflow)


def record_of(run, item):
    """Return what ``record`` prints of an item for programs."""
    done = run("record", *TASK, "--item", item, "-o", "json")
    assert done.code == 0, done.err
    (found,) = done.rows
    return found


def test_the_record_of_a_lost_response(campaign, run):
    """Tag, name and place of the one item are shown, and that the next attempt pays nothing for it."""
    campaign.lose()
    found, row = record_of(run, "Red shoe"), campaign.rows()["Red shoe"]
    assert (found["item"], found["record_state"], found["job"]) == ("Red shoe", "intent", None)
    assert (found["tag"], found["name"]) == (row["tag"], row["name"])
    assert (found["tool"], found["connection"]) == ("ai-image-generator", "magic_hour_default")
    assert found["next_attempt"].startswith("It pays nothing for this item, as it is not known")
    assert found["instruction_refused"] is None
    assert [line.split(" | ")[0] for line in found["history"]] == ["1 intent", "1 unknown"]
    assert found["problems"] == []
    assert campaign.creates() == 3


def test_the_record_of_what_is_complete(campaign, run):
    """Job, credits and files of that item alone; its key names it too."""
    campaign.attempt()
    found, row = record_of(run, "boot"), campaign.rows()["boot"]
    assert (found["record_state"], found["job"]) == ("delivered", row["id"])
    assert (found["credits_charged"], found["files"]) == (10, row["files"])
    assert found["next_attempt"].startswith(f"It keeps the files of job {row['id']} and pays nothing")
    by_id = record_of(run, "Red shoe")
    assert by_id["item_key"] != "Red shoe"
    by_key = record_of(run, by_id["item_key"])
    assert (by_key["job"], by_key["item_key"]) == (by_id["job"], by_id["item_key"])
    assert campaign.creates() == 3


def test_an_item_without_an_id(campaign, run):
    """It is named by the key that the results name."""
    campaign.attempt([{"style": {"prompt": "a"}}], item_id=None)
    (key,) = campaign.rows()
    assert record_of(run, key)["job"] == campaign.rows()[key]["id"]
    assert campaign.creates() == 1


@pytest.mark.parametrize("as_address", [False, True])
def test_adopt(campaign, run, as_address):
    """The lost job is resumed by the next attempt, and its files are stored: nothing is paid again for any item."""
    job = campaign.lose()
    before = campaign.ids()
    name = f"https://magichour.ai/my-library?imageId={job}" if as_address else job
    done = run("adopt", *TASK, name, "--item", "Red shoe", answers="y\n")
    assert done.code == 0, done.err
    assert f"Its next attempt resumes job {job} of item 'Red shoe' and pays nothing." in done.text
    assert campaign.is_cleared
    assert [one.job for (one,) in campaign.instructions().values()] == [job]
    found = record_of(run, "Red shoe")
    assert found["instructions"] == [f"adopt job {job}"]
    assert found["next_attempt"] == f"It resumes job {job} and pays nothing, as an instruction asks for that."
    assert campaign.attempt()["complete"] == 3
    assert campaign.ids() == before | {"Red shoe": job}
    assert campaign.instructions() == {}
    assert campaign.creates() == 3


def test_regenerate(campaign, run):
    """One item is made again, its price is said; the others keep their jobs; and the attempt after it pays nothing."""
    campaign.attempt()
    before = campaign.ids()
    done = run("regenerate", *TASK, "--item", "boot", answers="y\n")
    assert done.code == 0, done.err
    assert "A new job of item 'boot' is made and paid for. The last one cost 10 credits." in done.text
    assert "The batch's other items stay as they are recorded" in done.out
    assert campaign.attempt()["credits_charged"] == 40
    after = campaign.ids()
    assert after["boot"] != before["boot"]
    assert after | {"boot": before["boot"]} == before
    assert campaign.creates() == 4
    campaign.attempt()
    assert campaign.creates() == 4


def test_regenerate_a_lost_one_for_programs(campaign, run):
    """With ``--yes`` nothing is asked; what a program reads names item and key."""
    campaign.lose("boot")
    tag = campaign.rows()["boot"]["tag"]
    done = run("regenerate", *TASK, "--item", "boot", "--yes", "-o", "json")
    assert done.code == 0, done.err
    (row,) = done.rows
    assert (row["item"], row["item_key"], row["job"], row["replaces"]) == ("boot", "boot", None, f"#{tag}")
    assert "What it will cost is not known" in done.err
    assert campaign.attempt()["complete"] == 3
    assert campaign.creates() == 4


def test_an_item_that_failed_for_good(campaign, run):
    """A person may ask for a new job of it, which the batch would not make by itself."""
    given = [ROWS[0], {"sku": "boot", "style": {"prompt": "boot [[error:no_source_face]]"}}]
    campaign.attempt(given)
    found = record_of(run, "boot")
    assert (found["record_state"], found["next_attempt"][:44]) == (
        "ended",
        "It pays nothing for this item, which failed ",
    )
    campaign.attempt(given)
    assert campaign.creates() == 2
    assert run("regenerate", *TASK, "--item", "boot", "--yes").code == 0
    campaign.attempt(given)
    assert campaign.creates() == 3


@pytest.mark.parametrize("state", ["running", "queued", "deferred", None])
@pytest.mark.parametrize("command", ["adopt", "regenerate"])
def test_a_batch_that_runs_is_refused(campaign, run, command, state):
    """Its process could pay meanwhile: nothing is polled, written or cleared; it is shown all the same."""
    job = campaign.lose()
    campaign.put(state)
    before, polls = campaign.names(), campaign.sim.summary().polls
    done = run(command, *TASK, *([job] if command == "adopt" else []), "--item", "Red shoe", "--yes")
    assert (done.code, done.out) == (1, "")
    assert record_of(run, "Red shoe")["instruction_refused"] in done.err
    assert (campaign.names(), campaign.sim.summary().polls) == (before, polls)
    assert campaign.creates() == 3


@pytest.mark.parametrize("command", ["record", "adopt", "regenerate"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "with --item ID"),
        (("--item", "red shoe"), "Nothing is recorded of an item 'red shoe'"),
        (("--item", "../../boot"), "Nothing is recorded of an item"),
        (("--item", " "), "--item is empty"),
    ],
)
def test_what_is_no_item(campaign, run, command, options, words):
    """A batch without an item, and an item that is not there, change nothing: one sentence, exit code 1."""
    job = campaign.lose()
    before = campaign.names()
    done = run(command, *TASK, *([job] if command == "adopt" else []), *options)
    assert (done.code, done.out) == (1, "")
    assert words in " ".join(done.err.split())
    assert campaign.names() == before
    assert not campaign.is_cleared
    assert campaign.creates() == 3


def test_an_item_of_a_task_that_has_reported_none(campaign, run):
    """Before its first attempt, and of a task of one job, it is not known where items are."""
    done = run("record", *TASK, "--item", "boot")
    assert done.code == 1
    assert "no output_path" in done.err
    assert campaign.creates() == 0


@pytest.mark.parametrize("given", ["another item's", "one of another kind", "none"])
def test_a_job_that_cannot_be_adopted(campaign, run, given):
    """The rules are those of a task of one job: another item's job has another tag, which has to be confirmed."""
    campaign.lose()
    jobs = {
        "another item's": (campaign.ids()["boot"], "carries the tag #"),
        "one of another kind": ("https://magichour.ai/my-library?videoId=abc", "kind video"),
        "none": ("abcdefghijk", "finds no image job"),
    }
    job, words = jobs[given]
    done = run("adopt", *TASK, job, "--item", "Red shoe", "--yes")
    assert (done.code, done.out) == (1, "")
    assert words in " ".join(done.err.split())
    assert campaign.instructions() == {}
    assert not campaign.is_cleared
    assert campaign.creates() == 3


def test_a_job_made_by_hand(campaign, run):
    """A job with a tag of its own is adopted by who types that tag; nothing more is paid."""
    campaign.lose()
    with MagicHourClient(api_key=KEY, base_url=campaign.sim.url) as client:
        job = client.create("ai-image-generator", PROMPT | {"name": "by hand #ABCD2345"}).id
    done = run("adopt", *TASK, job, "--item", "Red shoe", answers="ABCD2345\ny\n")
    assert done.code == 0, done.err
    assert campaign.attempt()["complete"] == 3
    assert campaign.ids()["Red shoe"] == job
    assert campaign.creates() == 4


def test_a_state_that_changes_meanwhile(campaign, run, monkeypatch):
    """Another run that has found the job before the person answers: nothing is written or cleared."""
    campaign.lose("boot")

    def answer() -> str:
        records = ItemRecords.open(campaign.batches.folder)
        record = records.read_intent("boot", 1).record
        job = next(str(one["id"]) for one in campaign.sim.jobs() if "boot" in one["name"])
        records.deliver("boot", 1, record.__class__(**{**vars(record), "state": "delivered", "job_id": job}))
        return "y"

    monkeypatch.setattr("builtins.input", answer)
    done = run("regenerate", *TASK, "--item", "boot")
    assert (done.code, done.out) == (1, "")
    assert "has changed since you saw it" in " ".join(done.err.split())
    assert campaign.instructions() == {}
    assert not campaign.is_cleared
    assert campaign.creates() == 3


def test_a_clear_that_fails(campaign, run, monkeypatch):
    """The instruction is taken back, and the one that it had taken the place of is there again."""
    job = campaign.lose("boot")
    records = ItemRecords.open(campaign.batches.folder)
    records.instruct("boot", records.get("boot"), Instruction("adopt", job))
    before = campaign.names()
    written = []

    def break_down(session, key, ti_id):
        written.append(campaign.instructions()["boot"])
        raise batch_item.RecoveryError("Airflow could not clear the task. Nothing has changed.", 502)

    monkeypatch.setattr("magic_hour_provider.plugin.recovery.instruct.clear_tasks", break_down)
    done = run("regenerate", *TASK, "--item", "boot", "--yes")
    assert (done.code, done.out) == (1, "")
    assert [[one.action for one in ones] for ones in written] == [["regenerate"]]
    assert campaign.names() == before
    assert not campaign.is_cleared
    assert campaign.creates() == 3


def test_records_that_cannot_be_read(campaign, run):
    """Their names say what matters: the job is known, and can be resumed or made again."""
    campaign.attempt()
    folder = ItemRecords.open(campaign.batches.folder).folder
    for name in campaign.names():
        if "/boot!" in name:
            (campaign.batches.airflow.output / "campaign" / ".magic-hour-batch" / name).write_bytes(b"{")
    found = record_of(run, "boot")
    assert (found["record_state"], found["job"]) == ("delivered", campaign.ids()["boot"])
    assert "cannot be read" in found["problems"][0]
    assert folder.uri in found["places"][0]
    assert run("regenerate", *TASK, "--item", "boot", "--yes").code == 0
    assert campaign.attempt()["complete"] == 3
    assert campaign.creates() == 4
