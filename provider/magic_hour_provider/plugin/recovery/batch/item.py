"""One item of a batch: what is known of it, and a person's instruction for it. No other item is touched.

Its records lie in the user's storage, under the ``output_path`` that the task has reported. That is all that differs
from a task of one job: the job is checked by the same rules, and the task instance is cleared in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from magic_hour_provider import DEFAULT_CONN_ID
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.batch.records.content import ItemStep
from magic_hour_provider.batch.records.declaration.claims import TakenError
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import ItemState
from magic_hour_provider.ledger.instruction import Instruction, name_record
from magic_hour_provider.ledger.record import Record, RecordError, State
from magic_hour_provider.plugin.dag_tasks import MediaTask
from magic_hour_provider.plugin.recovery.errors import RecoveryError, translating_database_errors
from magic_hour_provider.plugin.recovery.instruct import Undo, clear_after, describe_instruction
from magic_hour_provider.plugin.recovery.records import STORAGE
from magic_hour_provider.plugin.recovery.situation import (
    MAX_REPORT,
    Situation,
    TaskKey,
    describe_state,
    find_job_task,
    parse_report,
)
from magic_hour_provider.plugin.recovery.time_limit import BusyError, TimeLimit
from magic_hour_provider.xcoms import BATCH_XCOM

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_RECORD_STATES: dict[str, State] = {"done": "delivered", "failed": "failed", "job": "submitted"}
_LATEST_FIRST = ("done", "failed", "job", "unknown", "intent")


@dataclass(frozen=True)
class ItemSituation:
    """What is known of one item.

    :param situation: of its task instance, with the item's own record, tags and places.
    :param item: what the person called it.
    :param key: of its records.
    :param state: as its records say.
    :param steps: all of them, in order.
    :param records: of the batch.
    """

    situation: Situation
    item: str
    key: str
    state: ItemState
    steps: tuple[ItemStep, ...]
    records: ItemRecords


OTHERS = (
    "The batch's other items stay as they are recorded: what is complete is not made again, and what is missing or "
    "worth another try is made and paid for, as by any clear."
)
"""What becomes of the other items when the task instance is cleared for one, as a sentence."""


def load_item_situation(
    key: TaskKey, item: str, item_keys: Collection[str], output_path: str | None = None
) -> ItemSituation:
    """Read what is known of an item. Blocks, for some seconds at the most.

    :param item: what the person calls it.
    :param item_keys: which keys that may be; the first one that has records counts.
    :param output_path: of the batch, where it was checked; None: as its task has reported it.
    :raises RecoveryError: there is no such task instance or item, or what was paid for cannot be read.
    """
    from magic_hour_provider.plugin.airflow_internals import create_session

    with translating_database_errors(), create_session(scoped=False) as session:
        row, task = find_job_task(session, key)
        report = load_batch_report(session, row.dag_run_id, key)
    folder = require_output_path(report, output_path)
    records, item_key, steps = limit_storage(lambda: _find_item(folder, item_keys))
    if not steps:
        raise RecoveryError(
            f"Nothing is recorded of an item {item!r} under {folder!r}: its id is mistyped, or nothing was sent "
            "for it yet. What is missing the task makes when it is cleared.",
            404,
        )
    state = records.resolve([step.name for step in steps])
    record = _find_record(state, steps, report)
    where = records.folder.locate(steps[-1].name.path)
    situation = Situation(
        key,
        row.id,
        row.state,
        row.try_number,
        record,
        name_record(record),
        *_find_item_tool(record, report),
        _find_item_connection(record, report, task),
        is_lost=state.status in ("intent", "unknown"),
        tags=tuple(dict.fromkeys(step.record.tag for step in steps if step.record is not None and step.record.tag)),
        refusal=describe_state(row.state),
        record_places=(where,),
        instruction_place=where,
    )
    return ItemSituation(situation, item, item_key, state, tuple(steps), records)


def give_item_instruction(item: ItemSituation, instruction: Instruction) -> None:
    """Write an instruction for an item and clear its task instance. Blocks, for some seconds at the most.

    :param item: as it was seen; its state and the task instance must still be the same.
    :param instruction: to adopt a job, which was checked, or to make a new one.
    :raises RecoveryError: it is refused, and nothing has changed.
    """
    if item.situation.refusal is not None:
        raise RecoveryError(item.situation.refusal)

    def write(_session: Session, _run_id: int, undo: list[Undo]) -> None:
        put_back = limit_storage(lambda: _remember(item))

        def put_back_in_time() -> None:
            with suppress(RecoveryError):  # a storage that stalls: what is written too late is put back then
                limit_storage(put_back)

        undo.append(put_back_in_time)
        limit_storage(lambda: item.records.instruct(item.key, item.state, instruction), abandoned=put_back)

    clear_after(item.situation, write)
    log.info(
        "The task %s was cleared, for item %r to %s.", item.situation.key, item.item, describe_instruction(instruction)
    )


def require_output_path(report: Mapping[str, Any], checked: str | None) -> str:
    """Return the folder of a batch's records.

    :param report: what its task has reported.
    :param checked: its ``output_path``, where it was checked; None: as the report says.
    :raises RecoveryError: the task has reported no batch.
    """
    output_path = checked or report.get("output_path")
    if not isinstance(output_path, str) or not output_path:
        raise RecoveryError(
            f"This task has reported no batch (its XCom {BATCH_XCOM!r} has no output_path), so it is not known where "
            "its items are recorded. A task that has begun to run has reported it, unless an XCom backend keeps it "
            "elsewhere; of a task of one job no item is named."
        )
    return output_path


def load_batch_report(session: Session, dag_run_id: int, key: TaskKey) -> Mapping[str, Any]:
    """Return what a batch has reported; empty: nothing."""
    from sqlalchemy import Text, case, cast, func, select

    from magic_hour_provider.plugin.airflow_internals import XComModel

    text = cast(XComModel.value, Text)
    query = select(case((func.length(text) <= MAX_REPORT, text))).where(
        XComModel.dag_run_id == dag_run_id,
        XComModel.task_id == key.task_id,
        XComModel.map_index == key.map_index,
        XComModel.key == BATCH_XCOM,
    )
    return parse_report(session.scalar(query))


def _find_item(output_path: str, item_keys: Collection[str]) -> tuple[ItemRecords, str, list[ItemStep]]:
    records = ItemRecords.open(output_path)
    records.read_lists()
    for key in item_keys:
        if steps := records.read(key):
            return records, key, steps
    return records, "", []


def _find_record(state: ItemState, steps: Sequence[ItemStep], report: Mapping[str, Any]) -> Record | None:
    """Return the record that counts, of the job that the names of the files tell; None: nothing is paid for."""
    if state.status == "new":
        return None
    own = [step for step in steps if step.name.number == state.number and step.record is not None]
    own.sort(key=lambda step: _LATEST_FIRST.index(step.name.step) if step.name.step in _LATEST_FIRST else 9)
    if own and own[0].record is not None:
        return replace(own[0].record, job_id=state.job_id)
    # None of its files can be read, but their names say what matters.
    tool = TOOLS.get(str(report.get("tool")))
    recorded = _RECORD_STATES.get(state.status, "intent")
    return Record(
        "ended" if recorded == "failed" and not state.retryable else recorded,
        tool.slug if tool else "",
        tool.kind if tool else "",
        "",
        {},
        job_id=state.job_id,
        submitted_at=state.submitted_at,
        credits_charged=state.credits,
    )


def _find_item_tool(record: Record | None, report: Mapping[str, Any]) -> tuple[str | None, str | None]:
    tool = TOOLS.get(record.tool if record is not None and record.tool else str(report.get("tool")))
    return (tool.slug, tool.kind) if tool is not None else (None, None)


def _find_item_connection(record: Record | None, report: Mapping[str, Any], task: MediaTask) -> str:
    known = (record.conn_id if record is not None else None, report.get("conn_id"), task.conn_id)
    return next((one for one in known if isinstance(one, str) and one), DEFAULT_CONN_ID)


def _remember(item: ItemSituation) -> Undo:
    """Return what puts the instructions of an item back as they are now."""
    folder = item.records.folder

    def list_paths() -> list[str]:
        names = item.records.list_names(item.key)
        return [name.path for name in names if name.step in ("adopt", "regenerate")]

    before = {path: folder.read(path) for path in list_paths()}

    def put_back() -> None:
        try:
            for path in list_paths():
                if path not in before:
                    folder.remove(path)
            for path, data in before.items():
                folder.write(path, data or b"")
        except MagicHourError:
            log.exception("The instructions for item %r are not as they were before.", item.item)

    return put_back


def limit_storage(
    function: Callable[[], _T], abandoned: Callable[[], object] | None = None, *, limit: TimeLimit = STORAGE
) -> _T:
    """Call what reads or writes the storage, within the time that other calls of the recovery have.

    :param abandoned: as of :meth:`TimeLimit.call`.
    :param limit: another one.
    :raises RecoveryError: it fails, or does not return in time.
    """
    try:
        return limit.call(function, abandoned)
    except (TimeoutError, BusyError):
        raise RecoveryError(
            f"The storage of the batch's records did not respond within {limit.seconds:.0f} s. Nothing has changed. "
            "Try again later.",
            503,
        ) from None
    except TakenError:
        raise RecoveryError(
            "What is recorded of this item has changed since you saw it: another attempt or run, or another person, "
            "has continued it. Nothing was written; see how it is now, and try again if that is still needed."
        ) from None
    except RecordError as error:
        raise RecoveryError(f"{error.message} Nothing has changed. Try again later.", 503) from error
    except MagicHourError as error:
        raise RecoveryError(" ".join(filter(None, (error.message, error.next_step)))) from error
