"""What has become of each item, as one file of JSON lines in the order of the rows, and how the next task reads it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from magic_hour_provider.api.errors import Charge, InvalidInputError, TransferError, describe_error
from magic_hour_provider.batch.records.content import ItemStep
from magic_hour_provider.batch.records.folder import RESULTS_FILE, results_folder
from magic_hour_provider.batch.records.names import StepName
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.batch.records.reader import RecordReader
from magic_hour_provider.batch.records.state import ItemState
from magic_hour_provider.batch.rows.items import Item, Items
from magic_hour_provider.batch.window.counts import Counts
from magic_hour_provider.storage.files import ensure_folder, replace_file
from magic_hour_provider.storage.paths import open_folder, open_path

_READERS = 16
_AT_ONCE = 256  # items whose records are read ahead
_STEPS = {"done": "done", "failed": "failed", "unknown": "intent", "intent": "intent"}


def write_results(
    items: Items,
    records: RecordReader,
    counts: Counts,
    output_path: str,
    owner: Owner,
    *,
    on_row: Callable[[ItemState, Mapping[str, Any]], object] | None = None,
) -> str:
    """Write one line for each item, in the order of the rows, and return the file's URI.

    :param counts: what this attempt knows of items that have no record.
    :param on_row: called with the state of each item and what is written of it.
    :raises TransferError: it cannot be written now.
    """
    folder = results_folder(output_path, owner)
    lines = io.BytesIO()
    for state, row in _rows(items, records, counts):
        if on_row is not None:
            on_row(state, row)
        lines.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode())
        lines.write(b"\n")
    uri = f"{folder}/{RESULTS_FILE}"
    try:
        target = open_folder(folder)
        ensure_folder(target)
        replace_file(target / RESULTS_FILE, lines.getvalue())
    except Exception as error:  # each storage library has errors of its own
        raise TransferError(
            f"The batch's results could not be written to {uri!r} ({describe_error(error)}).",
            next_step="A retry writes them again, and pays for nothing that is recorded.",
        ) from error
    return uri


def _rows(items: Items, records: RecordReader, counts: Counts) -> Iterator[tuple[ItemState, dict[str, Any]]]:
    names: dict[str, StepName] = {}

    def keep(state: ItemState, of_item: list[StepName]) -> None:
        # The file that says most of what has become of the item.
        step = _STEPS.get(state.status, "job")
        for name in of_item:
            if (name.number, name.step) == (state.number, step):
                names[name.key] = name

    states = records.load(keep)
    each = iter(items)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="magic-hour-records") as pool:
        while some := list(islice(each, _AT_ONCE)):
            steps = pool.map(lambda item: _read(records, names.get(item.key)), some)
            for item, step in zip(some, steps, strict=True):
                state = states.get(item.key) or ItemState()
                yield state, _row(item, state, step, counts)


def _read(records: RecordReader, name: StepName | None) -> ItemStep | None:
    return None if name is None else records.read_step(name)


def _row(item: Item, state: ItemState, step: ItemStep | None, counts: Counts) -> dict[str, Any]:
    record = step.record if step is not None else None
    status = {"done": "complete", "failed": "failed", "unknown": "unknown", "conflict": "unknown", "job": "running"}
    media = list(record.files) if record is not None and state.status == "done" else []
    message = (record.reason if record is not None else None) or counts.unpaid.get(item.key)
    row: dict[str, Any] = {
        "item_id": item.item_id if item.item_id is not None else item.key,
        "key": item.key if item.item_id not in (None, item.key) else None,
        "row": item.label,
        "status": status.get(state.status, "left_out"),
        "id": state.job_id,
        "files": [one["uri"] for one in media],
        "media": media,
        "credits_charged": state.credits,
        "message": message,
    }
    if state.status == "unknown" and record is not None:
        row |= {"name": record.name, "tag": record.tag}
    return {name: value for name, value in row.items() if value is not None}


def read_results(manifest: Mapping[str, Any] | str | None) -> Iterator[dict[str, Any]]:
    """Yield what has become of each item of a batch, in the order of its rows.

    .. code-block:: python

        @task
        def complete(manifest):
            return [one["media"][0]["uri"] for one in read_results(manifest) if one["status"] == "complete"]

    :param manifest: what the batch's task returned, its XCom ``magic_hour_batch``, or the address of its results.
    :returns: for each item ``item_id``, ``row``, ``status`` (``complete``, ``failed``, ``unknown``, ``running``,
        ``left_out``), ``files``, ``media`` and, where known, ``id``, ``credits_charged``, ``message``; and ``key``,
        where the records of an item have another name than its id.
    :raises InvalidInputError: it is no such manifest, or the file is not there.
    """
    uri = manifest.get("results") if isinstance(manifest, Mapping) else manifest
    if not isinstance(uri, str) or not uri:
        raise InvalidInputError(
            "What a MagicHourBatchOperator returned is needed, with its 'results'.",
            next_step="Give read_results() the output of the batch's task, whole. A batch that failed has no "
            "output: its XCom magic_hour_batch has 'results' too.",
        )
    try:
        file = open_path(uri).open("rb")
    except Exception as error:  # each storage library has errors of its own
        raise InvalidInputError(
            f"The results {uri!r} cannot be read ({describe_error(error)}).",
            charge=Charge.NONE,
            next_step="See to their storage and its connection: clearing the batch writes them again, and pays for "
            "nothing that is recorded.",
        ) from error
    with file:
        for line in file:
            yield json.loads(line)
