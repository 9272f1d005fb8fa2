"""What real attempts record is what the Spend tab counts: as much as the simulator has charged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.utils.session import create_session

from helpers.airflow_rows import put_record
from helpers.attempts import TaskInstance
from helpers.batches import Batches, rows
from helpers.runs import Run
from helpers.spend_rows import name_run, put_spend, spend_dag
from magic_hour_provider.plugin.media_tab.database.queries import load_run
from magic_hour_provider.plugin.spend_tab.queries import load_spend
from magic_hour_provider.plugin.spend_tab.run_spend import RunSpend, TaskRecord, count_run
from magic_hour_provider.plugin.state_store import get_state_store_model


def picture(count: int, prompt: str = "a lighthouse") -> dict[str, Any]:
    """Return a request of a published price: 5 credits an image."""
    return {"image_count": count, "style": {"prompt": prompt}, "model": "flux-schnell", "resolution": "640px"}


def read() -> RunSpend:
    """Return what the run has paid for."""
    with create_session(scoped=False) as session:
        (run,) = load_spend(session, "spend", None, 10).runs
    return run


def test_what_attempts_record(airflow, airflow_tables):
    """A refund, a task that was paid for twice, and the run's limit: by the XComs alone, and with the records."""
    failing = {"request": picture(4, "[[error:no_source_face]]"), "max_credits": 20}
    tasks = {"picture": failing, "film": {"request": picture(4)}, "sound": {"request": picture(1)}}
    run = Run(airflow, {name: {"max_credits_per_run": 90, **options} for name, options in tasks.items()})
    assert isinstance(run.attempt("picture"), AirflowFailException)
    again = run.dag.get_task("film").prepare_for_execution()
    again.on_clear = "regenerate"
    run.attempt("film", again)
    run.instances["film", -1].clear()
    run.attempt("film", again)
    run.attempt("sound")
    assert (run.spent, airflow.creates()) == (45, 4)
    put_spend(
        spend_dag("spend"),
        [{(name, key): value for (name, _), ti in run.instances.items() for key, value in ti.xcoms.items()}],
    )
    found = read()
    assert (found.credits, found.failed, found.refunded, found.unknown, found.limit) == (45, 1, 1, 0, 90)
    with create_session(scoped=False) as session:
        totals = load_run(session, "spend", name_run(0)).totals
    assert totals["limit"] == 90
    if get_state_store_model() is None:
        pytest.skip("Airflow before 3.3 has no records")
    for (name, _), ti in run.instances.items():
        put_record("spend", name, ti.record, run_id=name_run(0))
    found = read()
    assert (found.credits, found.jobs, found.failed, found.refunded, found.unreadable) == (45, 4, 1, 1, 0)


def test_what_a_batch_records(airflow, airflow_tables):
    """Its items are jobs, and its budget is the run's where it is its only task."""
    batches, ti = Batches(airflow), TaskInstance("picture")
    given = [*rows(2), {"sku": "bad", "style": {"prompt": "b [[error:no_source_face]]"}}]
    with pytest.raises(AirflowFailException):
        batches.attempt(batches.operator(given, item_id="sku", max_credits=80), ti)
    put_spend(spend_dag("spend"), [{("picture", key): value for key, value in ti.xcoms.items()}])
    found = read()
    assert (found.credits, found.jobs, found.failed, found.unknown, found.limit) == (20, 3, 1, 0, 80)
    assert batches.creates() == 3


def test_a_charge_below_nothing_is_not_known():
    """In a record that somebody has edited: it makes up for nothing that another job has cost."""
    run = RunSpend(1, "r", "success", 1_800_000_000.0)
    jobs = [{"job_id": f"cmabc12{number}", "credits_charged": charged} for number, charged in enumerate((50, -20))]
    common = {"state": "submitted", "tool": "lip-sync", "kind": "video", "key": "AAAAAAAA", "fingerprint": {}}
    count_run(
        run, [], [TaskRecord(1, "make", -1, json.dumps(common | jobs[0] | {"history": [common | jobs[1]]}))], set()
    )
    assert (run.jobs, run.credits, run.unknown) == (2, 50, 1)
