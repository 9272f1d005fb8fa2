"""Rows that change, and what outlives deferrals: no change is lost or bought twice, and no attempt goes on for ever."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowException, TaskDeferred

from helpers.attempts import TaskInstance
from helpers.batches import results, rows
from helpers.samples import KEY
from magic_hour_provider.batch.jobs.submitter import Submitter
from magic_hour_provider.simulator import Simulator

VIDEO = {"tool": "text-to-video", "request": {"end_seconds": 3}, "item_id": "sku"}


def run(number: int) -> TaskInstance:
    """Return the task in one of its runs."""
    ti = TaskInstance("campaign")
    ti.run_id = f"manual__{number}"
    return ti


def videos(text: str, count: int = 3) -> list[dict]:
    """Return rows of videos that take long enough for a deferral."""
    return [{"sku": f"shoe-{number}", "style": {"prompt": f"{text} [[seconds:200]]"}} for number in range(count)]


def test_changes_outlive_a_deferral(batches):
    """What the window had no room for is made by the workers after it."""
    old = results(batches.attempt(batches.operator(videos("a"), **VIDEO), run(1)))
    before = batches.deferrals
    new = results(batches.attempt(batches.operator(videos("b"), **VIDEO, max_active_jobs=1), run(2)))
    assert batches.deferrals > before + 1
    assert batches.creates() == 6
    assert not {row["id"] for row in old.values()} & {row["id"] for row in new.values()}
    batches.attempt(batches.operator(videos("b"), **VIDEO, max_active_jobs=1), run(2))
    assert batches.creates() == 6


@pytest.mark.parametrize("on_changed", ["keep", "new"])
def test_rows_that_keep_what_is_recorded(batches, capsys, on_changed):
    """The log says why: the user has asked for it, or it is a retry; and of what there is none it says nothing."""
    batches.attempt(batches.operator(rows(2), item_id="sku"), run(1))
    ti = run(2)
    if on_changed == "new":
        batches.attempt(batches.operator(rows(2, image_count=2), item_id="sku"), ti)
        said = capsys.readouterr().out
        assert "Made and paid for again: 2." in said
        assert "Kept as recorded" not in said
        batches.attempt(batches.operator(rows(2, image_count=3), item_id="sku"), ti)
        assert "Kept as recorded: 2, as a retry buys nothing again: clear the task" in capsys.readouterr().out
        assert batches.creates() == 4
    else:
        batches.attempt(batches.operator(rows(2, image_count=2), item_id="sku", on_changed="keep"), ti)
        said = capsys.readouterr().out
        assert "Kept as recorded: 2, as on_changed is 'keep'" in said
        assert "Made and paid for again" not in said
        assert batches.creates() == 2


def test_a_file_without_rows(batches, capsys, tmp_path):
    """A header alone succeeds, and the log warns of it."""
    (tmp_path / "rows.csv").write_text("sku,style.prompt\n")
    made = batches.attempt(batches.operator(str(tmp_path / "rows.csv"), item_id="sku"), run(1))
    assert made["items"] == 0
    assert "has no rows, so nothing is made and nothing is paid for" in capsys.readouterr().out
    assert batches.creates() == 0


def test_two_runs_that_make_the_same_changes(batches, monkeypatch):
    """The slower one, which has planned to pay for them too, finds that they are paid for."""
    batches.attempt(batches.operator(rows(2), item_id="sku"), run(1))
    changed = batches.operator(rows(2, image_count=2), item_id="sku", max_active_jobs=1)
    submit, second = Submitter.submit, []

    def be_slower(submitter, one):
        if not second:
            second.append(True)
            with monkeypatch.context() as patch:
                patch.setattr(Submitter, "submit", submit)
                with ThreadPoolExecutor(1) as pool:  # another process has a main thread of its own
                    pool.submit(
                        batches.attempt, batches.operator(rows(2, image_count=2), item_id="sku"), run(3)
                    ).result()
        return submit(submitter, one)

    monkeypatch.setattr(Submitter, "submit", be_slower)
    made = batches.attempt(changed, run(2))
    assert second
    assert (made["complete"], made["credits_charged"]) == (2, 0)
    assert batches.creates() == 4


def test_two_runs_of_an_item_that_always_fails(batches):
    """Each run tries again as often as it may, whoever has paid: together they come to an end."""
    given = [{"sku": "a", "style": {"prompt": "a [[error]]"}}]
    operators = [batches.operator(given, item_id="sku", item_retries=1, deferrable=False) for _ in range(2)]

    def end(operator, ti):
        with pytest.raises(AirflowException, match="1 failed"):
            batches.attempt(operator, ti)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(end, operators, [run(1), run(2)]))
    assert 2 <= batches.creates() <= 4


def test_an_execution_timeout_ends_a_batch_that_waits_in_the_triggerer(batches):
    """It ends with a sentence, not in workers and triggers that start each other; the next attempt resumes the jobs."""
    ti = run(1)
    given = [{"sku": str(number), "style": {"prompt": "waves [[seconds:5000]]"}} for number in range(3)]
    operator = batches.operator(
        given, **VIDEO, max_active_jobs=2, execution_timeout=timedelta(minutes=10), timeout=9000
    )
    before = batches.airflow.sim.now()
    with pytest.raises(AirflowException, match=r"3 are missing.*execution_timeout is over.*A retry"):
        batches.attempt(operator, ti)
    assert 600 <= batches.airflow.sim.now() - before < 700
    assert batches.deferrals <= 2
    assert batches.creates() == 2
    later = batches.operator(given, **VIDEO, max_active_jobs=2, timeout=9000)
    assert batches.attempt(later, ti)["complete"] == 3
    assert batches.creates() == 3


@pytest.mark.parametrize("after", ["a retry", "another run"])
def test_a_rejected_row_that_is_mended(batches, after):
    """It was never paid for, so that it is sent as soon as it is another one; as it was, it is not sent again."""
    batches.airflow.sim.inject_fault("status", status=422, prompt="shoe 1", count=None)
    ti = run(1)
    for _ in range(2):
        with pytest.raises(AirflowException, match="1 failed"):
            batches.attempt(batches.operator(rows(2), item_id="sku"), ti)
    assert batches.creates() == 1
    mended = [rows(1)[0], {"sku": "shoe-1", "style": {"prompt": "a sandal"}}]
    made = batches.attempt(batches.operator(mended, item_id="sku"), ti if after == "a retry" else run(2))
    assert made["complete"] == 2
    assert batches.creates() == 2


def test_two_runs_with_different_rows_in_one_folder(batches):
    """Each pays for its own once, however often their workers start."""
    batches.attempt(batches.operator(videos("a", 1), **VIDEO), run(1))
    operators = [batches.operator(videos(text, 1), **VIDEO) for text in "bc"]
    instances = [run(2), run(3)]
    outcomes = []
    for operator, ti in zip(operators, instances, strict=True):
        ti.next_attempt()
        outcomes.append(batches.start(operator, ti))
    for _ in range(4):
        for number, (operator, ti) in enumerate(zip(operators, instances, strict=True)):
            if isinstance(outcomes[number], TaskDeferred):
                outcomes[number] = batches.resume(operator, ti, outcomes[number])
    assert [outcome["complete"] for outcome in outcomes] == [1, 1]
    assert batches.creates() == 3


def test_a_connection_of_another_account_gives_up_no_job(batches, monkeypatch):
    """It does not find what is under way; with the one that paid the next attempt stores the files and pays nothing."""
    ti, given = TaskInstance("campaign"), videos("waves", 2)
    with pytest.raises(AirflowException, match="2 are missing"):
        batches.attempt(batches.operator(given, **VIDEO, deferrable=False, timeout=60), ti)
    with Simulator(api_key=KEY, manual_clock=True) as other:
        connection = {"conn_type": "magic_hour", "password": KEY, "host": other.url}
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
        elsewhere = batches.operator(given, **VIDEO, deferrable=False, magic_hour_conn_id="other")
        with pytest.raises(AirflowException, match=r"0 failed.*2 are missing"):
            batches.attempt(elsewhere, ti)
        assert other.stats()["creates"]["accepted"] == 0
    assert batches.attempt(batches.operator(given, **VIDEO), ti)["complete"] == 2
    assert batches.creates() == 2
