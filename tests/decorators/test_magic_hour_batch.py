"""``@task.magic_hour_batch``: a function makes the rows, and the rest is the batch operator's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from airflow.sdk import DAG, task

from helpers.attempts import Connected, TaskInstance
from helpers.batches import PROMPT, Batches, results, rows
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.rows import kept
from magic_hour_provider.decorators import magic_hour_batch_task

VIDEO = {"end_seconds": 3, "style": {"prompt": "waves"}}
LONG = {"tool": "text-to-video", "request": VIDEO, "item_id": "sku"}


@pytest.fixture
def batches(airflow: Connected) -> Batches:
    """Batches against the simulator."""
    return Batches(airflow)


def make(batches: Batches, function: Callable[..., Any], *given: Any, **options: Any) -> Any:
    """Return a worker's copy of the task that is made of the function."""
    options = {"tool": "ai-image-generator", "request": PROMPT, "item_id": "sku", "task_id": "campaign"} | options
    with DAG("teaser", schedule=None):
        operator = task.magic_hour_batch(output_path=batches.folder, **options)(function)(*given).operator
    operator.render_template_fields({**TaskInstance("campaign").context(operator), "params": {}})
    return operator


def run(batches: Batches, ti: TaskInstance, function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Run an attempt to its end, each part in a worker of its own."""
    ti.next_attempt()
    outcome: Any = batches.start(make(batches, function, **options), ti)
    while isinstance(outcome, TaskDeferred):
        outcome = batches.resume(make(batches, function, **options), ti, outcome)
    return outcome


def kept_files(batches: Batches) -> list[Path]:
    """Return the files that rows are kept in."""
    return list(Path(batches.folder).rglob("rows.jsonl"))


def test_a_generator_of_rows(batches):
    """Each is paid for once, over two attempts; a row's text is data."""

    def make_rows(count: int = 3, ti: Any = None) -> Iterator[dict[str, Any]]:
        for number in range(count):
            yield {"sku": f"{ti.task_id}-{number}", "style": {"prompt": "{{ no template }}"}}

    ti = TaskInstance("campaign")
    first = run(batches, ti, make_rows)
    assert (first["items"], first["complete"]) == (3, 3)
    assert list(results(first)) == ["campaign-0", "campaign-1", "campaign-2"]
    assert {job["request"]["style"]["prompt"] for job in batches.airflow.sim.jobs()} == {"{{ no template }}"}
    ti.clear()
    assert run(batches, ti, make_rows)["complete"] == 3
    assert batches.creates() == 3


def test_called_once_for_all_workers_of_an_attempt(batches, tmp_path):
    """What it returned is kept while jobs are waited for, files as their paths, and removed at the end."""
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"x")
    calls: list[int] = []
    kept_between: list[bool] = []

    def make_rows() -> list[dict[str, Any]]:
        calls.append(1)
        return [{"sku": f"{number}-{len(calls)}", "style": {"prompt": f"{number}"}} for number in range(5)]

    ti = TaskInstance("campaign")
    ti.next_attempt()
    outcome: Any = batches.start(make(batches, make_rows, max_active_jobs=2, **LONG), ti)
    while isinstance(outcome, TaskDeferred):
        kept_between.append(bool(kept_files(batches)))
        outcome = batches.resume(make(batches, make_rows, max_active_jobs=2, **LONG), ti, outcome)
    assert (outcome["complete"], calls) == (5, [1])
    assert len(kept_between) > 1
    assert all(kept_between)
    assert kept_files(batches) == []
    assert batches.creates() == 5


def test_a_template_that_gives_another_folder_by_now(batches):
    """The next worker of the attempt has the first one's folder, and so its records."""
    first, ti = batches.folder, TaskInstance("campaign")

    def make_rows() -> list[dict[str, Any]]:
        return [{"sku": "a", "style": {"prompt": "waves"}}]

    ti.next_attempt()
    outcome: Any = batches.start(make(batches, make_rows, **LONG), ti)
    assert isinstance(outcome, TaskDeferred)
    while isinstance(outcome, TaskDeferred):
        batches.folder = f"{first}-later"
        outcome = batches.resume(make(batches, make_rows, **LONG), ti, outcome)
    assert outcome["results"].startswith(f"{first}/")
    assert batches.creates() == 1


def test_rows_that_cannot_be_kept(batches, monkeypatch):
    """The function is called again to resume, and nothing is paid twice."""
    calls: list[int] = []

    def make_rows() -> list[dict[str, Any]]:
        calls.append(1)
        return rows(2)

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(kept, "replace_file", full)
    assert run(batches, TaskInstance("campaign"), make_rows, **LONG)["complete"] == 2
    assert len(calls) > 1
    assert batches.creates() == 2


@pytest.mark.parametrize("as_text", [True, False])
def test_a_file_of_rows(batches, tmp_path, as_text):
    """The user's own file is read by all workers, and stays."""
    file = tmp_path / "campaign.csv"
    file.write_text("sku,style.prompt\na,dawn\nb,dusk\n")
    manifest = run(batches, TaskInstance("campaign"), lambda: str(file) if as_text else file, **LONG)
    assert (manifest["complete"], batches.deferrals > 0) == (2, True)
    assert file.is_file()
    assert batches.creates() == 2


def test_paths_in_rows(tmp_path):
    """Rows that are kept are the rows that were returned: files are their paths."""
    folder = str(tmp_path / "results")
    uri = kept.keep_rows(kept.to_plain_rows([{"a": tmp_path / "x.png", "b": (1, None)}]), folder)
    assert Path(str(uri)).read_text() == f'{{"a": "{tmp_path}/x.png", "b": [1, null]}}\n'
    kept.remove_rows(str(uri))
    kept.remove_rows(str(uri))
    assert not Path(str(uri)).exists()


@pytest.mark.parametrize("returned", [None, 5, "rows.txt", {"sku": "a"}, [{"style": {"prompt": 5}}], ["a"]])
def test_no_rows(batches, returned):
    """It fails for good before anything is sent, and where it returned no rows at all the function is named."""

    def make_rows() -> Any:
        return returned

    with pytest.raises(AirflowFailException) as failure:
        run(batches, TaskInstance("campaign"), make_rows)
    is_named = not isinstance(returned, list | str)
    assert ("The function make_rows must return or yield the rows" in str(failure.value)) is is_named
    assert batches.creates() == 0


def test_what_cannot_work_is_said_while_parsing():
    """Where the decorator stands, and where the task is made."""
    with pytest.raises(InvalidInputError, match="text-to-video"):
        magic_hour_batch_task(tool="text-to-vido", output_path="s3://b/c")
    with pytest.raises(TypeError, match="output_path"):
        task.magic_hour_batch(tool="text-to-video")
    with DAG("teaser", schedule=None), pytest.raises(InvalidInputError, match="canary"):
        task.magic_hour_batch(tool="text-to-video", output_path="s3://b/c", canary=-1, task_id="x")(lambda: rows(1))()
    with DAG("teaser", schedule=None), pytest.raises(InvalidInputError, match=r"\[magic_hour\] output_path does not"):
        task.magic_hour_batch(tool="text-to-video", output_path="", task_id="x")(lambda: rows(1))()


def test_a_function_that_fails_at_a_retry(batches):
    """The XCom by which items are shown and recovered is there all the same; what was paid before is not denied."""

    def fail() -> list[dict[str, Any]]:
        raise ZeroDivisionError

    ti = TaskInstance("campaign")
    with pytest.raises(ZeroDivisionError):
        run(batches, ti, fail)
    assert ti.xcoms["magic_hour_batch"]["run_credits"]["is_known"]
    run(batches, ti, lambda: rows(2))
    with pytest.raises(ZeroDivisionError):
        run(batches, ti, fail)
    batch = ti.xcoms["magic_hour_batch"]
    assert (batch["output_path"], batch["error"]) == (batches.folder, "ZeroDivisionError")
    assert "run_credits" not in batch
    assert batches.creates() == 2
