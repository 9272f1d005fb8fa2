"""All places of a ledger as one: Airflow's task state store, a file, or both. What is in any of them counts."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

from magic_hour_provider.api.errors import InvalidInputError, MagicHourError, describe_error
from magic_hour_provider.ledger.file_store import HIDDEN_FOLDER, FileStore
from magic_hour_provider.ledger.messages import forgetful_place_error
from magic_hour_provider.ledger.places.clears import clear_discards_state
from magic_hour_provider.ledger.places.directions import Directions
from magic_hour_provider.ledger.record import KEY, Record, RecordError

log = logging.getLogger(__name__)

_MISSING = object()
_STATES = ("intent", "submitted", "failed", "ended", "delivered")  # of two records of one job the later state counts


class Store(Protocol):
    """Airflow's task state store, or something like it. Rows outlive retries and clears."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default if there is no such key."""

    def set(self, key: str, value: Any, *, retention: Any) -> None:
        """Write a JSON value."""

    def delete(self, key: str) -> None:
        """Remove a key; a missing one is no error."""


class Place:
    """One place, with errors that say what they mean.

    :param store: what keeps it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seen: Record | None = None
        """What was read last."""

    @property
    def name(self) -> str:
        """What marks call it."""
        return "files" if self.is_files else "airflow"

    @property
    def is_files(self) -> bool:
        """Whether it outlives the DAG run, and the API server cannot reach it."""
        return isinstance(self._store, FileStore)

    @property
    def directions(self) -> Directions:
        """How a person gives an instruction there."""
        if isinstance(self._store, FileStore):
            return Directions(self._store.folder, has_tab=HIDDEN_FOLDER not in self._store.folder)
        return Directions(is_discarded=clear_discards_state())

    def describe_location(self, key: str) -> str:
        """Name a key's place for a person."""
        return self.directions.locate(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default if the place says that there is none."""
        with self._translating_errors("read", key):
            return self._store.get(key, default)

    def read(self) -> Record | None:
        """Return the record, or None if the place says that there is none."""
        value = self.get(KEY, _MISSING)
        # None is a row whose value is lost (a storage backend's missing blob), which is not "no record".
        self.seen = None if value is _MISSING else Record.read(value, self.describe_location(KEY))
        return self.seen

    def set(self, key: str, value: Any) -> None:
        """Write a JSON value that never expires."""
        with self._translating_errors("written", key):
            self._store.set(key, value, retention=_never_expire())

    def declare(self, intent: Record) -> None:
        """Write an intent over what was read last, unless another attempt has written since, or is about to."""
        if isinstance(self._store, FileStore):
            self._store.declare(intent, self.seen)
        else:
            # Of two attempts at the same moment Airflow lets only the one write whose task instance is current.
            self.set(KEY, intent.to_json())

    def keeps(self, intent: Record) -> bool:
        """Whether an intent is there, as it was written."""
        return bool(self.get(KEY) == intent.to_json())

    def restore(self, intent: Record) -> None:
        """Put back what was read last, as far as that works: what stays is an intent, over which nothing is paid.

        :param intent: what was to be written; whatever else is there is left.
        """
        try:
            if not self.keeps(intent):
                return
            if self.seen is None:
                self.delete(KEY)
            else:
                self.set(KEY, self.seen.to_json())
        except MagicHourError:
            log.exception("%s holds the intent of a request that was not sent.", self.describe_location(KEY))

    def delete(self, key: str) -> None:
        """Remove a key; a missing one is no error."""
        with self._translating_errors("removed", key):
            self._store.delete(key)

    @contextlib.contextmanager
    def _translating_errors(self, done: str, key: str) -> Iterator[None]:
        try:
            yield
        except MagicHourError:
            raise
        except Exception as error:  # each backend of Airflow's store has errors of its own
            raise RecordError(
                f"What this task has paid for is recorded in {self.describe_location(key)}, which cannot be {done} now "
                f"({describe_error(error)}).",
                next_step="Nothing is paid without the record; a retry resumes from it.",
            ) from error


class Places:
    """The places of one ledger, the one that people are sent to first.

    :param stores: what keeps them; None: that one is not there.
    """

    def __init__(self, *stores: Store | None, target: str = "") -> None:
        self._target = target
        self._places = [Place(store) for store in stores if store is not None]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def outlive_a_clear(self) -> bool:
        """Whether what is written is still there after a clear, by itself."""
        return any(not place.directions.is_discarded for place in self)

    @property
    def directions(self) -> Directions:
        """How a person gives an instruction: in the first place that outlives a clear."""
        ways = [place.directions for place in self]
        way = next((way for way in ways if not way.is_discarded), ways[0] if ways else Directions(is_kept=False))
        return replace(way, target=self._target)

    def describe_location(self, key: str) -> str:
        """Name a key's place for a person."""
        return self.directions.locate(key)

    def read(self, *, tolerant: bool = False) -> tuple[Record | None, bool]:
        """Return the record of the place that knows most, and whether Airflow's own store has one.

        :param tolerant: whether one place that can be read is enough.
        :raises MagicHourError: one cannot be read, or they name different jobs.
        """
        found: list[tuple[Place, Record]] = []
        errors: list[Exception] = []
        for place in self:
            try:
                if (record := place.read()) is not None:
                    found.append((place, record))
            except MagicHourError as error:
                errors.append(error)
        if errors and not (tolerant and len(errors) < len(self)):
            raise errors[0]
        if not found:
            return None, False
        best = found[0]
        for other in found[1:]:
            best = _knows_more(best, other)
        return best[1], any(not place.is_files for place, _ in found)

    def bring_up_to_date(self, record: Record) -> None:
        """Write the record that was read last into the places that know less, as far as they can be written.

        :param record: of the place that knows most.
        """
        for place in self:
            if place.seen != record:
                try:
                    place.set(KEY, record.to_json())
                except MagicHourError as error:
                    log.warning("%s", error.message)

    def set(self, key: str, value: Any) -> list[MagicHourError]:
        """Write a value into every place; return the errors of those that could not be written.

        :raises MagicHourError: none could.
        """
        errors: list[MagicHourError] = []
        for place in self:
            try:
                place.set(key, value)
            except MagicHourError as error:
                log.warning("%s", error.message)
                errors.append(error)
        if errors and len(errors) == len(self):
            raise errors[0]
        return errors

    def declare(self, intent: Record) -> None:
        """Write an intent into every place and read it back, or fail.

        :raises MagicHourError: one could not be written, or has not what was written; all are as before, also one that
            took it and failed then.
        """
        try:
            for place in self:
                place.declare(intent)
                if not place.keeps(intent):
                    raise forgetful_place_error(place.describe_location(KEY))
        except BaseException:
            for place in self:
                place.restore(intent)
            raise

    def delete(self, key: str) -> None:
        """Remove a key from every place.

        :raises MagicHourError: from one it could not be removed.
        """
        errors: list[MagicHourError] = []
        for place in self:
            try:
                place.delete(key)
            except MagicHourError as error:
                errors.append(error)
        if errors:
            raise errors[0]


def _knows_more(one: tuple[Place, Record], other: tuple[Place, Record]) -> tuple[Place, Record]:
    """Return the place whose record is the later one."""
    first, second = one[1], other[1]
    if first.is_of_same_job(second):
        return other if _progress(second) > _progress(first) else one
    if first.supersedes(second) and second.supersedes(first):  # an earlier job was adopted again
        return other if second.written_at > first.written_at else one
    if second.supersedes(first):
        return other
    if first.supersedes(second):
        return one
    places = [place.describe_location(KEY) for place in (one[0], other[0])]
    raise InvalidInputError(
        f"Two places say different things of what this task has paid for: {places[0]} names job "
        f"{first.job_id or f'#{first.tag}'}, {places[1]} names job {second.job_id or f'#{second.tag}'}. Nothing was "
        "sent, as that might pay twice.",
        next_step="Remove the one whose job is not wanted, and clear the task: it resumes the other one.",
    )


def _progress(record: Record) -> tuple[int, int, int]:
    return record.clear_number, record.max_tries, _STATES.index(record.state)


def _never_expire() -> Any:
    try:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE
    except ImportError:  # before Airflow 3.3 nothing expires
        return None
    return NEVER_EXPIRE
