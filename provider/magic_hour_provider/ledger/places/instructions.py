"""The instructions of one task instance, in all of its places."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from magic_hour_provider.api.errors import InvalidInputError, MagicHourError
from magic_hour_provider.api.models import parse_library_url
from magic_hour_provider.ledger.instruction import Instruction, name_record
from magic_hour_provider.ledger.places.several import Place, Places
from magic_hour_provider.ledger.record import Record

log = logging.getLogger(__name__)


class Given(NamedTuple):
    """An instruction, and the place in which it was found."""

    place: Place
    instruction: Instruction

    @property
    def where(self) -> str:
        """Its place, for a person."""
        return self.place.describe_location(self.instruction.key)


class Instructions:
    """Reads, brings back and removes instructions.

    :param places: of the ledger.
    """

    def __init__(self, places: Places) -> None:
        self._places = places

    def read(self, key: str) -> list[Given]:
        """Return what is asked for under a key, void or not.

        :raises MagicHourError: a place cannot be read, or holds something else.
        """
        found = []
        for place in self._places:
            if (one := Instruction.read(key, place.get(key), place.describe_location(key))) is not None:
                found.append(Given(place, one))
        return found

    def find(self, key: str, record: Record | None) -> list[Given]:
        """Return what is asked for under a key, from one place or from each; what is void is removed.

        :param record: what the ledger holds.
        :raises MagicHourError: as :meth:`read`; or two places ask for different things.
        """
        found = []
        for one in self.read(key):
            if one.instruction.counts_for(record):
                found.append(one)
            else:
                _remove_void(one, record)
        for other in found[1:]:
            if _job_id(other.instruction) != _job_id(found[0].instruction):
                raise InvalidInputError(
                    f"Two places ask for different things: {found[0].where} names job {found[0].instruction.job}, "
                    f"{other.where} names job {other.instruction.job}. Nothing was done.",
                    next_step="Remove the one that is not meant, and clear the task.",
                )
        return found

    def bring_back(self, found: Sequence[Given]) -> None:
        """Put back what a paid request has consumed that was not sent, or was refused: each where it was.

        :raises MagicHourError: none could be written.
        """
        errors: list[MagicHourError] = []
        for place, instruction in found:
            try:
                place.set(instruction.key, instruction.to_json())
            except MagicHourError as error:
                log.warning("%s", error.message)
                errors.append(error)
        if errors and len(errors) == len(found):
            raise errors[0]


def _remove_void(one: Given, record: Record | None) -> None:
    """Remove an instruction that was given for another record, as far as its place can be written."""
    instruction, now = one.instruction, name_record(record)
    if record is None or instruction.action != "adopt" or _job_id(instruction) != record.job_id:
        log.warning(
            "%s asks to %s, in the place of %s; the record is of %s by now. So it is void, and is removed.",
            one.where,
            f"resume job {instruction.job}" if instruction.action == "adopt" else "make a new job",
            instruction.replaces,
            now,
        )
    try:
        one.place.delete(instruction.key)
    except MagicHourError as error:
        log.warning("It could not be removed: %s", error.message)


def _job_id(instruction: Instruction) -> str | None:
    address = parse_library_url(instruction.job) if instruction.job is not None else None
    return address[1] if address is not None else instruction.job
