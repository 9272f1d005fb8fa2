"""What each place of a task instance holds, for a person who wants to see all of it."""

from __future__ import annotations

from dataclasses import dataclass

from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.ledger.instruction import INSTRUCTION_KEYS, Instruction
from magic_hour_provider.ledger.places.several import Place
from magic_hour_provider.ledger.record import KEY, Record
from magic_hour_provider.plugin.recovery.errors import RecoveryError, translating_database_errors
from magic_hour_provider.plugin.recovery.records import open_places
from magic_hour_provider.plugin.recovery.situation import TaskKey, find_task_instance


@dataclass(frozen=True)
class PlaceContents:
    """What one place holds.

    :param location: of the record, for a person.
    :param record: None: it has none, or one that cannot be read.
    :param instructions: those that wait there, void ones too.
    :param problems: why something in it cannot be read, as sentences.
    """

    location: str
    record: Record | None
    instructions: tuple[Instruction, ...]
    problems: tuple[str, ...]


def load_contents(key: TaskKey) -> tuple[PlaceContents, ...]:
    """Read every place of a task instance. Blocks, for some seconds at the most.

    :raises RecoveryError: there is no such task instance, or its places cannot be known.
    """
    from magic_hour_provider.plugin.airflow_internals import create_session

    with translating_database_errors(), create_session(scoped=False) as session:
        row = find_task_instance(session, key)
        if row is None:
            raise RecoveryError("There is no such task instance: the run, or the task of it, may be deleted.", 404)
        return tuple(_read(place) for place in open_places(session, row.dag_run_id, key))


def _read(place: Place) -> PlaceContents:
    record, instructions, problems = None, [], []
    try:
        record = place.read()
    except MagicHourError as error:
        problems.append(error.message)
    for key in INSTRUCTION_KEYS:
        try:
            instruction = Instruction.read(key, place.get(key), place.describe_location(key))
        except MagicHourError as error:
            problems.append(error.message)
            continue
        if instruction is not None:
            instructions.append(instruction)
    return PlaceContents(place.describe_location(KEY), record, tuple(instructions), tuple(problems))
