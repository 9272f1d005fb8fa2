"""Batches whose files are given as links: each row pays once, nothing is uploaded, and no record holds a link."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, TaskDeferred

from helpers.attempts import TaskInstance
from helpers.batches import Batches
from helpers.samples import PHOTO
from helpers.strict_s3 import StrictS3
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.batch.records.intent import ItemIntent
from magic_hour_provider.decorators import magic_hour_batch_task
from magic_hour_provider.inputs import presigned

pytestmark = pytest.mark.behavior(input_links="fetched")

SIZE = 100_000
ITEMS = 4


def rows(strict_s3: StrictS3, count: int = ITEMS) -> list[dict[str, Any]]:
    """Return rows with a file of their own."""
    return [
        {"sku": f"shoe-{number}", "assets": {"image_file_path": strict_s3.put(f"shoe-{number}.png", SIZE + number)}}
        for number in range(count)
    ]


def options(batches: Batches, **more: Any) -> dict[str, Any]:
    """Return the options of a batch that gives its files as links."""
    return {
        "tool": "ai-image-upscaler",
        "request": {"scale_factor": 2},
        "item_id": "sku",
        "input_transfer": "presign",
        "output_path": batches.folder,
    } | more


def written(batches: Batches) -> str:
    """Return all that the batch has written."""
    files = [path for path in Path(batches.folder).rglob("*") if path.is_file()]
    assert files
    return "\n".join(path.read_text(errors="replace") for path in files)


def test_each_row_is_given_as_a_link(batches, strict_s3):
    """As many creates and links as rows, no upload; another run pays for nothing and signs nothing."""
    operator = batches.operator(rows(strict_s3), **options(batches))
    assert batches.attempt(operator, TaskInstance("campaign"))["complete"] == ITEMS
    stats = batches.airflow.sim.stats()
    assert (batches.creates(), stats["input_links"]["fetched"], stats["uploads"]) == (ITEMS, ITEMS, 0)
    assert stats["input_links"]["bytes"] == strict_s3.by_link == sum(SIZE + number for number in range(ITEMS))
    assert strict_s3.by_sdk == ITEMS  # one byte of each, to see before the first payment that all can be read
    before = len(strict_s3.links)
    assert batches.attempt(operator, TaskInstance("again"))["complete"] == ITEMS
    assert (batches.creates(), len(strict_s3.links)) == (ITEMS, before)


def test_a_file_of_all_rows_is_tried_once(batches, strict_s3):
    """One link serves them all, as one upload does; Magic Hour fetches it for each."""
    shared = {"assets": {"image_file_path": strict_s3.put("shared.png", SIZE)}}
    given = [{"sku": f"shoe-{number}", **shared} for number in range(ITEMS)]
    assert batches.attempt(batches.operator(given, **options(batches)), TaskInstance("campaign"))["complete"] == ITEMS
    assert batches.creates() == ITEMS
    assert strict_s3.statuses.count(416) == 1
    assert len(set(strict_s3.links)) == 1


def test_a_batch_without_ids_knows_its_rows_however_their_files_travel(batches, strict_s3):
    """The identity of a row is that of its object: what was uploaded is not paid for again as a link."""
    given = [{"assets": row["assets"]} for row in rows(strict_s3)]
    upload = batches.operator(given, **options(batches, item_id=None, input_transfer="upload"))
    assert batches.attempt(upload, TaskInstance("campaign"))["complete"] == ITEMS
    presign = batches.operator(given, **options(batches, item_id=None))
    assert batches.attempt(presign, TaskInstance("again"))["complete"] == ITEMS
    assert (batches.creates(), strict_s3.links) == (ITEMS, [])


def test_what_cannot_be_a_link_is_uploaded_and_said_once(batches, strict_s3, caplog):
    """A batch of many such rows says it once for all of them."""
    caplog.set_level(logging.INFO, presigned.__name__)
    given = rows(strict_s3, 1) + [
        {"sku": f"local-{number}", "assets": {"image_file_path": str(PHOTO)}} for number in range(3)
    ]
    assert batches.attempt(batches.operator(given, **options(batches)), TaskInstance("campaign"))["complete"] == 4
    stats = batches.airflow.sim.stats()
    assert (batches.creates(), stats["input_links"]["fetched"], stats["uploads"]) == (4, 1, 1)  # one shared upload
    assert caplog.text.count("is uploaded, although input_transfer is 'presign'") == 1


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


@pytest.mark.parametrize("step", ["before the intent", "after the response"])
def test_an_attempt_after_a_dead_worker_signs_again_and_pays_for_the_rest(batches, strict_s3, step, monkeypatch):
    """Links die with the worker; what was paid for is known from the records, or is unknown and stays unpaid."""
    ti, given = TaskInstance("campaign"), rows(strict_s3)
    with monkeypatch.context() as patch:
        calls: list[str] = []

        def die(*_: Any, **__: Any) -> Any:
            calls.append(step)
            raise Killed

        patch.setattr(*((ItemIntent, "write") if step == "before the intent" else (ItemIntent, "complete")), die)
        with pytest.raises(BaseException):  # noqa: B017 (it stands for no exception at all)
            batches.attempt(batches.operator(given, **options(batches, max_active_jobs=1)), ti)
        assert calls
    paid = batches.creates()
    assert paid == (0 if step == "before the intent" else len(calls))
    airflow, signed = batches.airflow, len(strict_s3.links)
    airflow.sim.advance(3600)
    outcome: Any = None
    try:
        outcome = batches.attempt(batches.operator(given, **options(batches)), ti)
    except AirflowException as error:
        assert step == "after the response", error
        assert "unknown" in str(error)
    assert outcome is None or outcome["complete"] == ITEMS
    assert batches.creates() == ITEMS
    assert len(strict_s3.links) > signed
    assert "X-Amz" not in written(batches)


@pytest.mark.parametrize("decorated", [False, True])
def test_no_record_result_or_kept_row_holds_a_link(batches, strict_s3, caplog, monkeypatch, decorated):
    """Rows that are kept for a resume are the user's own; what we sign is signed for the request alone."""
    caplog.set_level(logging.DEBUG)
    batches.airflow.setting("inline_wait_seconds", "0")
    sent: list[str] = []
    create = MagicHourClient.create

    def noting(self: Any, tool: Any, request: Any) -> Any:
        sent.append(request["assets"]["image_file_path"])
        return create(self, tool, request)

    monkeypatch.setattr(MagicHourClient, "create", noting)
    given, ti = rows(strict_s3), TaskInstance("campaign")
    if decorated:

        @magic_hour_batch_task(task_id="campaign", **options(batches))
        def campaign() -> list[dict[str, Any]]:
            return given

        task = campaign().operator
        task.render_template_fields(ti.context(task))
    else:
        task = batches.operator(given, **options(batches))
    ti.next_attempt()
    outcome, texts = batches.start(task, ti), []
    while isinstance(outcome, TaskDeferred):
        texts += [written(batches), str(outcome.trigger.serialize()), str(outcome.kwargs)]
        outcome = batches.resume(task, ti, outcome)
    assert outcome["complete"] == batches.creates() == len(sent) == ITEMS
    assert batches.deferrals
    texts += [written(batches), caplog.text, str(ti.xcoms), str(outcome), str(ti.store.rows)]
    texts.append(str(task.get_openlineage_facets_on_complete(ti)))
    signatures = {link.partition("X-Amz-Signature=")[2] for link in sent}
    assert len(signatures - {""}) == ITEMS
    for signature in signatures:
        assert [text[:200] for text in texts if signature in text] == []
