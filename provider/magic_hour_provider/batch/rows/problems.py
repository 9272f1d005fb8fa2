"""What is wrong with the rows of a batch: the first of them with their lines, and how many there are."""

from __future__ import annotations

from bisect import insort

from magic_hour_provider.api.errors import Charge, InvalidInputError, TransferError
from magic_hour_provider.api.redaction import redact

_SHOWN = 20
_MAX_LENGTH = 400  # characters that are shown of one row's problems


class Problems:
    """The rows that cannot work. Memory holds as many as are shown.

    :param name: of all rows, for people.
    :param unit: what a row's number counts.
    """

    def __init__(self, name: str, unit: str) -> None:
        self._name, self._unit = name, unit
        self.count = 0
        """How many rows cannot work."""
        self._first: list[tuple[int, str]] = []
        self._has_permanent = False

    def add(self, number: int, text: str, *, is_permanent: bool = True) -> None:
        """Add a row, once.

        :param number: its line or its place.
        :param text: what is wrong with it, without an end.
        :param is_permanent: False: a retry may help.
        """
        self.count += 1
        self._has_permanent |= is_permanent
        insort(self._first, (number, redact(text, limit=_MAX_LENGTH)))
        del self._first[_SHOWN:]

    def raise_any(self, rows: int, *, is_cut_short: bool = False) -> None:
        """Raise one error that names them, if there are any.

        :param rows: how many were read.
        :param is_cut_short: whether not all were checked, as a storage does not answer.
        :raises InvalidInputError: rows cannot work.
        :raises TransferError: they might, were their storage there.
        """
        if not self.count:
            return
        least = "At least " if is_cut_short else ""
        lines = [f"{self._unit} {number}: {text.rstrip('.')}" for number, text in self._first]
        if left := self.count - len(lines):
            lines.append(f"and {left:,} more")
        whole = f"{rows:,} {'row' if rows == 1 else 'rows'} of {self._name}"
        words = "\n  ".join([f"{least}{self.count:,} of {whole} cannot work:", *lines])
        if self._has_permanent:
            raise InvalidInputError(words)
        raise TransferError(words, charge=Charge.NONE, next_step="A retry may find the storage back.")
