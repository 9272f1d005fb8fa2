"""What the second run of a task pays for, in each state of the first, whatever Airflow does to its state at a clear."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from helpers.attempts import TaskInstance
from helpers.money_report import note
from magic_hour_provider.ledger.file_store import open_configured_store
from magic_hour_provider.ledger.instruction import Instruction, name_record
from magic_hour_provider.ledger.places import clears
from magic_hour_provider.ledger.places.several import Places
from magic_hour_provider.ledger.record import ADOPT, REGENERATE

REQUEST = {"style": {"prompt": "waves"}, "end_seconds": 3}
WORLDS = ("3.3", "3.3, ledger_path", "discards", "discards, ledger_path")
"""Airflow as 3.3 is, which keeps the task state at a clear, and as the next one, which discards it."""

# What the first run left; what a person or Airflow does; then in each world the creates of both runs and the outcome.
# "asks": the task fails, pays nothing and says how to adopt or regenerate.
TABLE = """
                              | 3.3         | 3.3, ledger_path | discards    | discards, ledger_path
running   | retry             | 1 same job  | 1 same job       | 1 same job  | 1 same job
running   | clear             | 1 same job  | 1 same job       | 1 asks      | 1 same job
running   | clear, changed    | 2 new job   | 2 new job        | 1 asks      | 2 new job
running   | adopt             | 1 same job  | 1 same job       | 1 same job  | 1 same job
running   | adopt by hand     | 1 same job  | 1 same job       | 1 same job  | 1 same job
running   | regenerate        | 2 new job   | 2 new job        | 2 new job   | 2 new job
running   | regenerate by hand| 2 new job   | 2 new job        | 2 new job   | 2 new job
lost      | retry             | 1 asks      | 1 asks           | 1 asks      | 1 asks
lost      | clear             | 1 asks      | 1 asks           | 1 asks      | 1 asks
lost      | clear, changed    | 1 asks      | 1 asks           | 1 asks      | 1 asks
lost      | adopt             | 1 same job  | 1 same job       | 1 same job  | 1 same job
lost      | adopt by hand     | 1 same job  | 1 same job       | 1 same job  | 1 same job
lost      | regenerate        | 2 new job   | 2 new job        | 2 new job   | 2 new job
lost      | regenerate by hand| 2 new job   | 2 new job        | 2 new job   | 2 new job
submitted | retry             | 1 same job  | 1 same job       | 1 same job  | 1 same job
submitted | clear             | 1 same job  | 1 same job       | 1 asks      | 1 same job
submitted | clear, changed    | 2 new job   | 2 new job        | 1 asks      | 2 new job
submitted | adopt             | 1 same job  | 1 same job       | 1 same job  | 1 same job
submitted | adopt by hand     | 1 same job  | 1 same job       | 1 same job  | 1 same job
submitted | regenerate        | 2 new job   | 2 new job        | 2 new job   | 2 new job
submitted | regenerate by hand| 2 new job   | 2 new job        | 2 new job   | 2 new job
delivered | retry             | 1 same job  | 1 same job       | 1 same job  | 1 same job
delivered | clear             | 1 same job  | 1 same job       | 1 asks      | 1 same job
delivered | clear, changed    | 2 new job   | 2 new job        | 1 asks      | 2 new job
delivered | adopt             | 1 same job  | 1 same job       | 1 same job  | 1 same job
delivered | adopt by hand     | 1 same job  | 1 same job       | 1 same job  | 1 same job
delivered | regenerate        | 2 new job   | 2 new job        | 2 new job   | 2 new job
delivered | regenerate by hand| 2 new job   | 2 new job        | 2 new job   | 2 new job
failed    | retry             | 2 new job   | 2 new job        | 2 new job   | 2 new job
failed    | clear             | 2 new job   | 2 new job        | 2 new job   | 2 new job
failed    | clear, changed    | 2 new job   | 2 new job        | 2 new job   | 2 new job
failed    | adopt             | 1 job error | 1 job error      | 1 job error | 1 job error
failed    | adopt by hand     | 1 job error | 1 job error      | 1 job error | 1 job error
failed    | regenerate        | 2 new job   | 2 new job        | 2 new job   | 2 new job
failed    | regenerate by hand| 2 new job   | 2 new job        | 2 new job   | 2 new job
"""
ROWS = [[part.strip() for part in line.split("|")] for line in TABLE.strip("\n").splitlines()[1:]]
CELLS = [
    (world, state, action, *cell.split(" ", 1))
    for state, action, *cells in ROWS
    for world, cell in zip(WORLDS, cells, strict=True)
]


def first_run(airflow, ti, state: str) -> None:
    """Run the task once, up to a state of its record."""
    options: dict[str, Any] = {"submitted": {"deferrable": False, "timeout": 1}}.get(state, {})
    if state == "lost":
        airflow.sim.inject_fault("close-after-accept")
    if state == "failed":
        airflow.sim.inject_fault("job-outcome", status="error", code="unknown_error")
    operator = airflow.operator("text-to-video", REQUEST, **options)
    if state == "delivered":
        airflow.attempt(operator, ti)
    elif state == "running":  # and nothing comes back from the triggerer
        ti.next_attempt()
        airflow.start(operator, ti)
    else:
        with pytest.raises(AirflowException):
            airflow.attempt(operator, ti)
    airflow.sim.clear_faults()
    assert ti.record["state"] == {"running": "submitted", "lost": "intent"}.get(state, state)


def second_run(airflow, ti, **options: Any) -> str:
    """Run the task once more, and return what came of it, in the table's words."""
    (first,) = airflow.sim.jobs()[:1]
    try:
        result = airflow.attempt(airflow.operator("text-to-video", REQUEST | options, output_path=""), ti)
    except AirflowException as error:
        message = str(error)
        if "failed with unknown_error" in message:
            return "job error"
        assert "magic_hour.adopt" in message
        assert "magic_hour.regenerate" in message
        return "asks"
    return "same job" if result["id"] == first["id"] else "new job"


def instruct(airflow, ti, action: str) -> None:
    """Ask for a job, as the Media tab does, or by hand as the messages say, and clear the task."""
    (first,) = airflow.sim.jobs()[:1]
    files = open_configured_store(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
    places = Places(ti.store, files)
    if action.endswith("by hand"):
        key, value = (ADOPT, first["id"]) if action.startswith("adopt") else (REGENERATE, True)
        folder = places.directions.folder
        store = ti.store if folder is None else files
        assert folder in (None, getattr(store, "folder", None))
        store.set(key, value)
        ti.clear(keep="Keep task state" in places.directions.clear)
        return
    record, _ = places.read()
    replaces = name_record(record)
    one = (
        Instruction("adopt", first["id"], replaces)
        if action == "adopt"
        else Instruction("regenerate", replaces=replaces)
    )
    ti.store.set(one.key, one.to_json())
    ti.clear(keep=True)


@pytest.mark.parametrize(("world", "state", "action", "creates", "outcome"), CELLS)
def test_what_is_paid_for_after_each_state(airflow, monkeypatch, tmp_path, world, state, action, creates, outcome):
    """The cell's creates and outcome; the attempt after it pays for nothing more; where it asks, adopting ends it."""
    if world.startswith("discards"):
        monkeypatch.setattr(clears, "DISCARDED_SINCE", (3, 0, 0))
    else:
        monkeypatch.setattr(clears, "DISCARDED_SINCE", (99, 0, 0))
    if world.endswith("ledger_path"):
        airflow.setting("ledger_path", str(tmp_path / "ledger"))
    ti = TaskInstance()
    first_run(airflow, ti, state)
    assert airflow.creates() == 1
    options: dict[str, Any] = {}
    if action.startswith("clear"):
        ti.clear()
        options = {"end_seconds": 4} if action.endswith("changed") else {}
    elif action != "retry":
        instruct(airflow, ti, action)
    assert second_run(airflow, ti, **options) == outcome
    assert airflow.creates() == int(creates)
    money = airflow.sim.stats()["credits"]
    charged = money["charged"] - money["refunded"]
    note("the second run", (state, action, world), creates=int(creates), credits=charged, outcome=outcome)
    again = second_run(airflow, ti, **options)
    # An adopted job that failed is refunded, so the retry after it makes a new one, as after any failed job.
    assert again == ("new job" if outcome == "job error" else outcome)
    assert airflow.creates() == int(creates) + (outcome == "job error")
    if outcome == "asks":
        instruct(airflow, ti, "adopt")
        assert second_run(airflow, ti, **options) == "same job"
        assert airflow.creates() == 1
