"""Writes a person's instruction and clears the task instance, both or neither.

The order, in one transaction: the DAG run's row and the task instance's row are locked, if it still is the one that was
seen; the record must still be the one that is replaced; the instruction is written; Airflow's own function clears the
task instance. Where the instruction goes into a file it is there before the clear, and taken back if that fails. A
process that ends in between leaves an instruction that the next attempt follows once, or none.

Airflow's function is no public interface. Tested on Airflow 3.3.2, 3.2.2 and 3.1.8, with SQLite and PostgreSQL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.ledger.instruction import Instruction, name_record
from magic_hour_provider.ledger.places.several import Place, Places
from magic_hour_provider.ledger.record import ADOPT, REGENERATE
from magic_hour_provider.plugin.recovery.clear import clear_tasks
from magic_hour_provider.plugin.recovery.errors import RecoveryError, translating_database_errors
from magic_hour_provider.plugin.recovery.records import open_places, read_record
from magic_hour_provider.plugin.recovery.situation import (
    ALLOWED_STATES,
    Situation,
    TaskKey,
    describe_state,
    find_task_instance,
    load_situation,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

Undo = Callable[[], object]
"""Puts back what was there before, as far as that works; it raises nothing."""

_LOCK_WAIT = "10s"


def give_instruction(situation: Situation | TaskKey, instruction: Instruction) -> None:
    """Write an instruction and clear the task instance that it is for. Blocks, for some seconds at the most.

    :param situation: as it was seen; the task instance and its record must still be the same.
    :param instruction: to adopt a job, which was checked, or to make a new one; it names the record that it replaces.
    :raises RecoveryError: it is refused, and nothing has changed.
    """
    seen = load_situation(situation) if isinstance(situation, TaskKey) else situation
    check_situation(seen, instruction.replaces)

    def write(session: Session, dag_run_id: int, undo: list[Undo]) -> None:
        places = open_places(session, dag_run_id, seen.key)
        if (name := name_record(read_record(places))) != seen.replaces:
            raise _record_changed(name)
        _write(places, instruction, undo)

    clear_after(seen, write)
    log.info("The task %s was cleared, to %s.", seen.key, describe_instruction(instruction))


def clear_after(situation: Situation, write: Callable[[Session, int, list[Undo]], None]) -> None:
    """Write an instruction and clear the task instance, both or neither. Blocks, for some seconds at the most.

    :param situation: as it was seen; the task instance must still be the same.
    :param write: writes the instruction, with both rows locked: it gets the transaction, the id of the run's row, and
        the list for what undoes that part of it that a rollback does not.
    :raises RecoveryError: it is refused, and nothing has changed.
    """
    from magic_hour_provider.plugin.airflow_internals import create_session

    undo: list[Undo] = []
    is_committing = False
    try:
        with translating_database_errors(), create_session(scoped=False) as session:
            write(session, _lock(session, situation), undo)
            clear_tasks(session, situation.key, situation.ti_id)
            is_committing = True
    except BaseException as error:
        is_cleared = _find_outcome(situation) if is_committing else False
        if is_cleared is False:
            for one in reversed(undo):
                one()
        if is_cleared is None:
            raise RecoveryError(
                "Airflow's database did not say whether the task was cleared. See how it is now: an instruction that "
                "was written is followed once, by the next attempt.",
                503,
            ) from error
        if not (is_cleared and isinstance(error, RecoveryError)):
            raise
        # The commit has failed for this side alone.


def check_situation(situation: Situation, replaces: str | None) -> None:
    """Do nothing where an instruction can be given now.

    :param replaces: the name of the record that the person saw; None: they saw none.
    :raises RecoveryError: it cannot.
    """
    if situation.refusal is not None:
        raise RecoveryError(situation.refusal)
    if replaces not in (None, situation.replaces):
        raise _record_changed(situation.replaces)


def describe_instruction(instruction: Instruction) -> str:
    """Return what an instruction asks for, as the end of a sentence."""
    return f"resume Magic Hour job {instruction.job}" if instruction.action == "adopt" else "make a new job"


def _lock(session: Session, situation: Situation) -> int:
    """Lock the rows of the run and of the task instance, and return the run's id.

    The run first, as Airflow's scheduler does.
    """
    from sqlalchemy import select, text, update

    from magic_hour_provider.plugin.airflow_internals import DagRun, TaskInstance

    key = situation.key
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'"))
    of_run = (DagRun.dag_id == key.dag_id, DagRun.run_id == key.run_id)
    dag_run_id = session.scalar(select(DagRun.id).where(*of_run).with_for_update())
    ti: Any = TaskInstance
    # An update that changes nothing locks the row; SQLite takes its only write lock.
    result: Any = session.execute(
        update(ti)
        .where(ti.id == situation.ti_id, ti.state.in_(ALLOWED_STATES))
        .values(id=ti.id, updated_at=ti.updated_at)
        .execution_options(synchronize_session=False)
    )
    if dag_run_id is not None and result.rowcount == 1:
        return int(dag_run_id)
    row = find_task_instance(session, key)
    if row is None:
        raise RecoveryError("The run, or this task of it, was deleted meanwhile. Nothing was written.", 404)
    if row.state not in ALLOWED_STATES:
        raise RecoveryError(f"The task has changed meanwhile, and nothing was written. {describe_state(row.state)}")
    raise RecoveryError(
        "The task was cleared or retried meanwhile, by somebody else or by Airflow, and nothing was written. See how "
        "it is now, and try again if that is still needed."
    )


def _record_changed(name: str) -> RecoveryError:
    what = "there is no record" if name == "nothing" else f"it is of {name}"
    return RecoveryError(
        f"What this task has paid for has changed since you saw it: now {what}. A webhook or another attempt may have "
        "found the job. Nothing was written; see how it is now, and try again if that is still needed."
    )


class _Change:
    """A value of a file that was written or removed, with the one of before."""

    def __init__(self, place: Place, key: str) -> None:
        self._place, self._key, self._before = place, key, None
        with suppress(MagicHourError):  # nonsense, which is not put back
            self._before = place.get(key)

    def undo(self) -> None:
        """Put back what was there before, as far as that works."""
        try:
            if self._before is None:
                self._place.delete(self._key)
            else:
                self._place.set(self._key, self._before)
        except MagicHourError:
            log.exception("%s is not as it was before.", self._place.describe_location(self._key))


def _write(places: Places, instruction: Instruction, undo: list[Undo]) -> None:
    """Write an instruction into the first place, and remove what is left of others from all of them.

    :param undo: gets what undoes that part of it that a rollback does not.
    """
    target = min(places, key=lambda place: place.is_files)
    try:
        for place in places:
            for key in (ADOPT, REGENERATE):
                if place.is_files:
                    undo.append(_Change(place, key).undo)
                if place is target and key == instruction.key:
                    place.set(key, instruction.to_json())
                else:
                    place.delete(key)
    except MagicHourError as error:
        raise RecoveryError(f"{error.message} Nothing has changed. Try again later.", 503) from error


def _find_outcome(situation: Situation) -> bool | None:
    """Return whether a commit that has failed for this side has taken effect; None: that cannot be known."""
    from magic_hour_provider.plugin.airflow_internals import create_session

    try:
        with create_session(scoped=False) as session:
            row = find_task_instance(session, situation.key)
    except Exception:  # the database is away
        log.exception("It is not known whether the task %s was cleared.", situation.key)
        return None
    return row is not None and row.id != situation.ti_id
