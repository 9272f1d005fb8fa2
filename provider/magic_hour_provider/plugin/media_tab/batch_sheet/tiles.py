"""The tiles of a batch's items: what is known of each, for people who may see it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from magic_hour_provider.api.models import is_id, library_url
from magic_hour_provider.batch.records.content import ItemStep
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.ledger.places.directions import COMMAND
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.plugin.media_tab.batch_sheet.items import SheetItem
from magic_hour_provider.plugin.media_tab.charges import (
    describe_charge,
    describe_failure,
    describe_next_step,
    describe_reason,
)
from magic_hour_provider.plugin.media_tab.recorded import describe_record
from magic_hour_provider.plugin.media_tab.snapshot import MEDIA_XCOM, TaskSnapshot
from magic_hour_provider.plugin.media_tab.task_details import file_of
from magic_hour_provider.plugin.web.sanitize import safe_number, safe_text
from magic_hour_provider.times import parse_time

log = logging.getLogger(__name__)

MAX_FILES = 100
"""Files of one item that are shown."""
_BROKEN = f"What is recorded of this item cannot be read. {COMMAND} record with --item shows what there is."
_OF_ANOTHER = "This item is of another DAG, which you may not read."
_MESSAGES = {
    "unknown": "It is unknown whether a job was made: the response to its paid request was lost.",
    "left": "Nothing is paid for.",
    "broken": _BROKEN,
}


def files_of(step: ItemStep | None) -> TaskSnapshot:
    """Return the files of a record in the form in which those of a task of one job are shown."""
    record = step.record if step is not None else None
    listed = record.files if record is not None and isinstance(record.files, list) else []
    media = [one for one in listed if isinstance(one, Mapping)][:MAX_FILES]
    return TaskSnapshot("", -1, "success", xcoms={MEDIA_XCOM: media})


def make_tile(
    item: SheetItem,
    steps: Mapping[str, ItemStep],
    owner: Owner,
    problems: Mapping[str, str | None],
    may_read: Callable[[str], bool],
) -> dict[str, Any]:
    """Return the tile of an item.

    :param steps: what its records hold, by their names.
    :param owner: the task instance whose page shows it.
    :param problems: why files cannot be shown, by their URIs.
    :param may_read: whether the viewer may read a DAG.
    """
    tile: dict[str, Any] = {"status": item.status, "key": None, "item": None, "message": _OF_ANOTHER, "files": []}
    tile |= dict.fromkeys(("record", "job", "name", "tag", "credits", "charge", "next_step", "written_at", "kind"))
    read = [step for path in (item.path, item.intent) if (step := steps.get(path)) is not None]
    if not is_shown(item, read, owner, may_read):
        return tile
    key = item.key if item.status != "broken" else safe_text(item.key)  # which may be any file's name
    tile |= {"key": key, "item": key, "credits": safe_number(item.credits)}
    try:
        return tile | _details(item, read, problems)
    except Exception:  # anybody who reaches the storage may have written it
        log.exception("What is recorded of item %r cannot be shown in the Media tab.", item.key)
        return tile | {"status": "broken", "message": _BROKEN, "files": []}


def is_shown(item: SheetItem, steps: list[ItemStep], owner: Owner, may_read: Callable[[str], bool]) -> bool:
    """Whether a viewer of a task instance's page may see an item: other DAGs may use the same folder.

    :param steps: what was read of its records.
    """
    if item.paid_by == owner.digest:
        return True
    dag_ids = {str(step.owner.dag_id) for step in steps if step.owner is not None}
    return all(dag_id == owner.dag_id or may_read(dag_id) for dag_id in dag_ids)


def _details(item: SheetItem, steps: list[ItemStep], problems: Mapping[str, str | None]) -> dict[str, Any]:
    step = next((step for step in steps if step.name.path == item.path), None)
    record = step.record if step is not None else None
    is_odd = record is not None and not isinstance(record.files, list)
    if item.status == "broken" or (item.status in ("complete", "failed") and (record is None or is_odd)):
        return {"status": "broken", "message": _BROKEN}
    known = describe_record(record) if record is not None else {}
    item_id = next((name for one in steps if (name := safe_text(one.item))), item.key)
    task = files_of(step)
    files = [file_of(task, index, problems) for index in range(len(task.media))] if item.status == "complete" else []
    return {
        "item": item_id,
        "message": _describe(item, known),
        "kind": safe_text(record.kind) if record is not None else None,
        "job": _job_of(record, item.job_id),
        "files": files,
        "record": str(step.name) if step is not None and files else None,
        "name": safe_text(known.get("name")),
        "tag": safe_text(known.get("tag")) if item.status == "unknown" else None,
        "charge": describe_charge(known) if item.status == "failed" else None,
        "next_step": describe_next_step(known) if item.status == "failed" else None,
        "written_at": parse_time(record.written_at) if record is not None else None,
    }


def _describe(item: SheetItem, known: Mapping[str, Any]) -> str | None:
    if item.status == "failed":
        return describe_reason(describe_failure(known) or "It failed, and nobody has recorded why.")
    return _MESSAGES.get(item.status)


def _job_of(record: Record | None, job_id: str) -> dict[str, Any] | None:
    job_id = job_id or (record.job_id if record is not None and record.job_id else "")
    if not is_id(job_id):
        return None
    return {"id": job_id, "library_url": library_url(record.kind, job_id) if record is not None else None}
