"""What a person asks for by hand: to resume a job (adopt), or to make and pay for a new one (regenerate).

It lies beside the record, under a key of its own. The Media tab and the command line write it as JSON that names the
record that it is given for: once the record is another one, it is void, whoever wrote that one. A person who writes it
by hand, into a file or into Airflow's task state, gives an id, an address or the word true: that counts whatever the
record is, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.models import check_id, parse_library_url
from magic_hour_provider.ledger.record import ADOPT, REGENERATE, Record

INSTRUCTION_KEYS = (ADOPT, REGENERATE)
NO_RECORD = "nothing"
"""What an instruction replaces where there is no record."""

PUT_RIGHT_ID = "Put the right id there, or remove it, and clear the task."
"""What a person does about an instruction that names a job which this task cannot resume."""
_NONE = ("", "false", "null", "none")  # what people write in the place of removing it
_TRUE = ("true",)


def name_record(record: Record | None) -> str:
    """Name a record, so that an instruction can say for which one it is: by its job, or by its intent's tag."""
    if record is None:
        return NO_RECORD
    return record.job_id or f"#{record.tag}"


@dataclass(frozen=True)
class Instruction:
    """What a person asks for.

    :param action: ``adopt``: resume the job; ``regenerate``: make and pay for a new one.
    :param job: its id or its address in the web library; None: of ``regenerate``.
    :param replaces: :func:`name_record` of the record that it is given for; None: written by hand, it counts whatever
        the record is.
    """

    action: Literal["adopt", "regenerate"]
    job: str | None = None
    replaces: str | None = None

    @property
    def key(self) -> str:
        """The key that it is stored under."""
        return ADOPT if self.action == "adopt" else REGENERATE

    def counts_for(self, record: Record | None) -> bool:
        """Whether it is given for this record; else it is void."""
        return self.replaces is None or self.replaces == name_record(record)

    def to_json(self) -> Any:
        """Return what a place holds of it; :meth:`read` reads it back."""
        value: Any = self.job if self.action == "adopt" else True
        if self.replaces is None:
            return value
        return {"job" if self.action == "adopt" else "regenerate": value, "replaces": self.replaces}

    @classmethod
    def read(cls, key: str, value: Any, where: str) -> Instruction | None:
        """Read what a place holds under one of the two keys; None: nothing is asked for.

        :param where: the place, for a person.
        :raises InvalidInputError: it is neither.
        """
        action: Literal["adopt", "regenerate"] = "adopt" if key == ADOPT else "regenerate"
        replaces = None
        if isinstance(value, Mapping):
            name = "job" if key == ADOPT else "regenerate"
            replaces = value.get("replaces")
            if name not in value or not isinstance(replaces, str | None):
                raise _nonsense(key, value, where)
            value = value[name]
        if isinstance(value, str):
            value = value.strip().strip("\"'").strip()
        if value is None or value is False or (isinstance(value, str) and value.lower() in _NONE):
            return None
        if key == REGENERATE:
            if value is True or (isinstance(value, str) and value.lower() in _TRUE):
                return cls(action, replaces=replaces)
            raise _nonsense(key, value, where)
        try:
            if not isinstance(value, str) or parse_library_url(value) is None:
                check_id(value)
        except InvalidInputError as error:
            raise InvalidInputError(f"In {where}: {error.message}", next_step=PUT_RIGHT_ID) from None
        return cls(action, job=value, replaces=replaces)


def _nonsense(key: str, value: object, where: str) -> InvalidInputError:
    wanted = "a job's id or its library address" if key == ADOPT else "true"
    return InvalidInputError(
        f"{where[:1].upper()}{where[1:]} holds {str(value)[:60]!r}, which says nothing that can be done.",
        next_step=f"Put {wanted} there, or remove it, and clear the task.",
    )
