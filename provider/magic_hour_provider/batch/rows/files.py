"""The files of all rows in their storages: each is asked for once, in a few threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

from magic_hour_provider.api.catalog import FileField
from magic_hour_provider.api.errors import InvalidInputError, MagicHourError, TransferError
from magic_hour_provider.inputs.fields import FieldPath, Input
from magic_hour_provider.inputs.sources import (
    StoredInput,
    input_fingerprint,
    open_input,
    read_stored_input,
)

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_THREADS = 8
_AT_ONCE = 128  # whose paths are held in memory
_MAX_AWAY = 20  # files whose storage does not answer, after which the others are not asked for


class InputFiles:
    """What is known of each file that rows give.

    :param is_read: whether to make sure that each can be read.
    :param is_identified: whether items are told apart by their files, so that all of them have to be identified.
    """

    def __init__(self, *, is_read: bool, is_identified: bool) -> None:
        self._is_read, self._is_identified = is_read, is_identified
        self.errors: dict[str, MagicHourError] = {}
        """What is wrong with a file, by its URI."""
        self.is_cut_short = False
        """Whether not all files were asked for, as a storage does not answer."""
        self._waiting: dict[str, Input] = {}
        self._places: dict[tuple[FieldPath, FileField], tuple[FieldPath, FileField]] = {}
        self._found: dict[str, StoredInput] = {}

    def add(self, inputs: Sequence[Input]) -> None:
        """Add the files of a row to those that :meth:`check` asks for."""
        if not (self._is_read or self._is_identified):
            return
        for one in inputs:
            if one.uri is not None and one.uri not in self._waiting:
                # Rows share the places where files stand: 10,000 paths would take more memory than their names.
                path, field = self._places.setdefault((one.path, one.field), (one.path, one.field))
                self._waiting[one.uri] = Input(path, field, one.uri)

    def check(self) -> None:
        """Ask for all files that were added."""
        waiting, self._waiting, self._places = iter(self._waiting.values()), {}, {}
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="magic-hour-inputs") as threads:
            while some := list(islice(waiting, _AT_ONCE)):
                away = sum(isinstance(error, TransferError) for error in self.errors.values())
                if away >= _MAX_AWAY:
                    self.is_cut_short = True
                    return
                for one, outcome in threads.map(self._ask, self._open(some), some):
                    if isinstance(outcome, MagicHourError):
                        self.errors[str(one.uri)] = outcome.with_traceback(None)
                    else:
                        self._found[str(one.uri)] = outcome

    def _open(self, inputs: Sequence[Input]) -> list[ObjectStoragePath | MagicHourError]:
        paths: list[ObjectStoragePath | MagicHourError] = []
        for one in inputs:
            try:
                paths.append(open_input(one))
            except (InvalidInputError, TransferError) as error:
                paths.append(error)
        return paths

    def _ask(self, path: ObjectStoragePath | MagicHourError, one: Input) -> tuple[Input, StoredInput | MagicHourError]:
        if isinstance(path, MagicHourError):
            return one, path
        try:
            found = read_stored_input(one, path, is_read=self._is_read, is_identified=self._is_identified)
        except (InvalidInputError, TransferError) as error:
            return one, error
        return one, found

    def find_errors(self, inputs: Sequence[Input]) -> Iterator[MagicHourError]:
        """Yield what is wrong with the files of a row."""
        yield from (self.errors[one.uri] for one in inputs if one.uri in self.errors)

    @property
    def has_sizes(self) -> bool:
        """Whether any file was asked for."""
        return bool(self._found)

    def size(self, one: Input) -> int | None:
        """Return the size of a file to upload, in bytes; None: it is none, or was not asked for."""
        found = self._found.get(one.uri or "")
        return found.size if found is not None else None

    def identity(self, one: Input) -> Any:
        """Return what a file counts as in the identity of its request: as :func:`input_fingerprint`, but never unknown.

        :raises InvalidInputError: it cannot be read.
        :raises TransferError: its storage does not answer.
        """
        if one.uri is None:
            return input_fingerprint(one)
        found = self._found.get(one.uri)
        if found is None or found.identity is None:
            found = read_stored_input(one, open_input(one), is_read=False, is_identified=True)
            self._found[one.uri] = found
        return found.identity
