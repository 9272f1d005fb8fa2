"""The intent of an item around the one paid request, over HTTP against the simulator."""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest

from helpers.attempts import Connected, TaskInstance
from helpers.items import OWNER, TOOL, intent, job
from helpers.samples import KEY
from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.models import Account
from magic_hour_provider.batch.records import folder
from magic_hour_provider.batch.records.intent import ItemIntent
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState, Spent
from magic_hour_provider.execution.payment.run_activity import RunActivity
from magic_hour_provider.execution.payment.submission import submit_once
from magic_hour_provider.ledger.record import Record, RecordError

REQUEST = {"image_count": 1, "style": {"prompt": "A lighthouse"}}


@pytest.fixture
def records(tmp_path) -> ItemRecords:
    """The records of one attempt."""
    return ItemRecords.open(str(tmp_path / "out"), OWNER)


def submit(airflow: Connected, records: ItemRecords) -> Record:
    """Pay for the item as the engine does."""
    ti = TaskInstance()
    context = ti.context(airflow.operator())
    item = ItemIntent(records, "a", records.get("a"), intent(), item="SKU 1", note="new")
    client = MagicHourClient(api_key=KEY, base_url=airflow.sim.url)
    account: Account = client.get_account()
    return submit_once(
        item,
        client,
        TOOL,
        REQUEST,
        account=account,
        account_at=clock.current().now(),
        activity=RunActivity(context, None),
    )


def test_a_job_is_paid_for_once(airflow, records, caplog):
    """Its id is in the log before it is in its record; the next attempt finds it there."""
    caplog.set_level(logging.INFO)
    paid = submit(airflow, records)
    made = airflow.sim.jobs()[0]
    state = records.load()["a"]
    assert (state.status, state.job_id, state.credits) == ("job", made["id"], paid.credits_charged)
    assert records.spent(OWNER) == Spent(paid.credits_charged, 1)
    assert f"Submitted Magic Hour job {made['id']} of item 'SKU 1'" in caplog.text
    assert airflow.creates() == 1


@pytest.mark.parametrize(
    ("fault", "status", "last", "creates"),
    [
        ({"fault": "status", "status": 422}, "new", 1, 0),
        ({"fault": "status", "status": 429, "retry_after": 5}, "job", 2, 1),
        ({"fault": "close-after-accept"}, "intent", 1, 1),
    ],
)
def test_faults_of_the_create(airflow, records, fault, status, last, creates):
    """Refused: withdrawn. Asked to slow down: withdrawn, and another intent when it is sent again. Lost: it stays."""
    airflow.sim.inject_fault(**fault)
    with suppress(errors.MagicHourError):
        submit(airflow, records)
    state = records.get("a")
    assert (state.status, state.last) == (status, last)
    assert airflow.creates() == creates


def test_a_lost_response_says_what_a_person_can_do(airflow, records):
    """By the item's own name."""
    airflow.sim.inject_fault("close-after-accept")
    with pytest.raises(errors.SubmissionUnknownError) as lost:
        submit(airflow, records)
    name = f"{OWNER.dag_id} {OWNER.run_id} {OWNER.task_id}"
    for line in (f"adopt {name} JOB --item 'SKU 1'; or ", f"regenerate {name} --item 'SKU 1'."):
        assert line in str(lost.value)
    assert airflow.creates() == 1


def test_a_502_is_sent_again_by_the_same_intent(airflow, records, monkeypatch):
    """It made no job, and the balance says so too: nothing else runs that could have changed it."""
    monkeypatch.setattr(RunActivity, "find_active", lambda *_: None)
    airflow.sim.inject_fault("status", status=502)
    submit(airflow, records)
    assert (records.get("a").status, records.get("a").last) == ("job", 1)
    assert airflow.creates() == 1


def test_a_record_that_cannot_be_written_at_first(airflow, records, monkeypatch):
    """It is tried again: the id of a paid job must not be lost."""
    real, failures = folder.create_file, []

    def away(path, data):
        if "!job!" in path.name and len(failures) < 3:
            failures.append(path)
            raise OSError("away")
        real(path, data)

    monkeypatch.setattr(folder, "create_file", away)
    submit(airflow, records)
    assert len(failures) == 3
    assert records.get("a").job_id == airflow.sim.jobs()[0]["id"]
    assert airflow.creates() == 1


def test_a_record_that_cannot_be_written_at_all(airflow, records, monkeypatch):
    """The error carries the id, and says how to bring it back."""
    real = folder.create_file

    def away(path, data):
        if "!job!" in path.name:
            raise OSError("away")
        real(path, data)

    monkeypatch.setattr(folder, "create_file", away)
    with pytest.raises(errors.SubmissionUnknownError, match="of item 'SKU 1', was created") as caught:
        submit(airflow, records)
    assert caught.value.job_id == airflow.sim.jobs()[0]["id"]
    assert records.get("a").status == "intent"
    assert airflow.creates() == 1


def test_another_worker_was_first(airflow, records):
    """Nothing is sent."""
    item = ItemIntent(records, "a", ItemState(), intent())
    submit(airflow, records)
    with pytest.raises(RecordError, match="another one took item 'a'"):
        item.write()
    assert not item.is_written
    assert airflow.creates() == 1


def test_a_job_that_was_recorded_meanwhile(records):
    """Whoever recorded it, it is the job of this intent."""
    item = ItemIntent(records, "a", ItemState(), intent())
    item.write()
    assert item.find_identified() is None
    ItemRecords.open(records.folder.uri.rpartition("/")[0])._write_job("a", item.number, job("x"), "")
    assert item.find_identified().job_id == "x"
