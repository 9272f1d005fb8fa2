"""Reads the records of a batch: what each item has come to, its history, and what was paid."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from magic_hour_provider.batch.records.content import ItemStep
from magic_hour_provider.batch.records.folder import RecordFolder
from magic_hour_provider.batch.records.names import (
    IN_THE_FILE,
    StepName,
    check_key,
    key_of,
    name_id,
    parse_names,
)
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.batch.records.regenerate_list import LIST_PREFIX, RegenerateList, is_list_name
from magic_hour_provider.batch.records.state import ItemState, Spent, charges_of, is_torn, resolve
from magic_hour_provider.ledger.record import RecordError

_ORDER = ("claim", "void", "intent", "withdrawn", "unknown", "job", "failed", "done", "adopt", "regenerate")


class RecordReader:
    """The state of all items under one ``output_path``. Threads may share it.

    :param folder: where the files are.
    """

    def __init__(self, folder: RecordFolder) -> None:
        self.folder = folder
        self._spent: dict[str, Spent] = {}
        self._lists: dict[str, RegenerateList] = {}

    def load(self, on_item: Callable[[ItemState, list[StepName]], object] | None = None) -> dict[str, ItemState]:
        """Return the state of every item that has one, by key. No file is read, but for ids too long for a name.

        :param on_item: called with the state of each and the names of its files.
        :raises RecordError: the storage cannot be listed now.
        :raises InvalidInputError: a name there may be a payment that this version cannot read.
        """
        states: dict[str, ItemState] = {}
        spent: dict[str, Spent] = defaultdict(Spent)
        paths = self._list_all()
        paths.sort()
        self._read_lists(paths)
        for _, group in itertools.groupby(paths, key=key_of):
            if names := self._complete(parse_names(group)):
                state = states[names[0].key] = self.resolve(names)
                if on_item is not None:
                    on_item(state, names)
                for one in charges_of(names):
                    spent[one.owner] = spent[one.owner].plus(one.credits, is_refunded=one.is_refunded)
        self._spent = dict(spent)
        return states

    def _list_all(self) -> list[str]:
        return self.folder.list_all()

    def get(self, key: str) -> ItemState:
        """Return the state of one item now.

        :raises MagicHourError: as :meth:`load`.
        """
        return self.resolve(self.list_names(key))

    def resolve(self, names: Sequence[StepName]) -> ItemState:
        """Return the state of an item, with what persons ask for: of it alone, or of many items at once.

        :param names: of all its files, in any order.
        """
        state = resolve(names)
        for one in self._lists.values():
            state = one.apply(names[0].key, state) if names else state
        return state

    def read_lists(self) -> None:
        """Read what is asked for of many items at once, as :meth:`load` does.

        :raises RecordError: the storage does not answer now.
        """
        self._read_lists(self.folder.list_some(LIST_PREFIX))

    def _read_lists(self, paths: Iterable[str]) -> None:
        known = self._lists  # no file is ever changed
        names = [path for path in paths if is_list_name(path)]
        self._lists = {name: known.get(name) or RegenerateList.read(self.folder.read(name)) for name in names}

    def spent(self, owner: Owner) -> Spent:
        """Return what a task instance had paid for when :meth:`load` was last called, in all its tries.

        What another one has paid for costs it nothing.
        """
        return self._spent.get(owner.digest, Spent())

    def read(self, key: str) -> list[ItemStep]:
        """Return all steps of an item, in the order of their numbers, with what their files hold.

        :raises MagicHourError: as :meth:`load`.
        """
        names = sorted(self.list_names(key), key=lambda name: (name.number, _ORDER.index(name.step)))
        return [self.read_step(name) for name in names]

    def read_intent(self, key: str, number: int) -> ItemStep:
        """Return what the file of an intent holds, as far as it can be read.

        :raises MagicHourError: as :meth:`load`.
        """
        names = [name for name in self.list_names(key) if (name.number, name.step) == (number, "intent")]
        return self.read_step(names[0]) if names else ItemStep(StepName(key, number, "intent"))

    def list_names(self, key: str) -> list[StepName]:
        """Return the names of all files of an item, as they are now.

        :raises MagicHourError: as :meth:`load`.
        """
        return self._complete(parse_names(self.folder.list_item(check_key(key))))

    def _complete(self, names: Sequence[StepName]) -> list[StepName]:
        """Return an item's names, listed again where the listing may have been torn, with ids that are in a file."""
        if is_torn(names):
            names = parse_names(self.folder.list_item(names[0].key))
        return [self._with_id(name) if name.job_id == IN_THE_FILE else name for name in names]

    def _with_id(self, name: StepName) -> StepName:
        record = self.read_step(name).record
        if record is None or not record.job_id:
            raise RecordError(
                f"The id of a paid job is in {self.folder.locate(name.path)}, which cannot be read.",
                next_step="A retry reads that file again, and pays for nothing of this item before it can.",
            )
        return replace(name, job_id=record.job_id)

    def read_step(self, name: StepName) -> ItemStep:
        """Return what the file of a step holds, as far as it can be read.

        :raises RecordError: the storage does not answer now.
        """
        own = replace(name, job_id=name_id(name.job_id)) if name.job_id != IN_THE_FILE else name
        return replace(ItemStep.read(own, self.folder.read(own.path)), name=name)
