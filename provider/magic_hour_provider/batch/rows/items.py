"""The items of a batch: every row read and checked, each request with its identity, before anything is paid for.

.. code-block:: python

    with read_items(tool, requests, request=shared, item_id="sku", conn_id=conn_id, host=client.base_url) as items:
        len(items), items.rows, items.duplicates, items.warnings
        for item in items:
            item.key, item.number, item.item_id, item.label
            prepared = items.prepare(item)          # read from disk
            fingerprint = items.fingerprint(item)   # by field, to say what changed
        items.find(key)
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from magic_hour_provider.api.catalog import Tool, get_tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.validation import Findings
from magic_hour_provider.batch.rows.checks import BadRowError, RowChecker
from magic_hour_provider.batch.rows.files import InputFiles
from magic_hour_provider.batch.rows.formats.reading import RowSource, open_rows
from magic_hour_provider.batch.rows.formats.row import Row
from magic_hour_provider.batch.rows.keys import make_key, make_request_key
from magic_hour_provider.batch.rows.problems import Problems
from magic_hour_provider.batch.rows.spool import Spool
from magic_hour_provider.execution.spec import PreparedRequest
from magic_hour_provider.inputs.fields import find_inputs, shorten, with_values
from magic_hour_provider.inputs.saved_items import SavedItems
from magic_hour_provider.inputs.sources import check_size
from magic_hour_provider.ledger.fingerprint import compute_fingerprint

_MAX_WARNINGS = 50  # different ones


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch.

    :param number: its place among the items, from 1, in the order of the rows.
    :param key: its identity as a safe file name; see :mod:`.keys`.
    :param item_id: the id of its row; None: rows have none.
    :param label: where its first row stands, for people: ``line 12``, or ``row 3`` of a list, from 1.
    """

    number: int
    key: str
    item_id: str | None
    label: str


@dataclass(frozen=True, slots=True)
class RowWarning:
    """What is not known to be accepted: it is sent all the same, and a refusal costs nothing.

    :param text: the warning, as that row has it.
    :param rows: how many rows have it.
    :param label: the first of them, as of an item.
    """

    text: str
    rows: int
    label: str


@contextmanager
def read_items(
    tool: str | Tool,
    requests: Any,
    *,
    request: Mapping[str, Any] | None = None,
    extra_request: Mapping[str, Any] | None = None,
    item_id: str | None = None,
    conn_id: str,
    host: str,
    is_first: bool = True,
    is_paid: Callable[[str], bool] = lambda key: False,  # noqa: ARG005
) -> Iterator[Items]:
    """Read and check all rows of a batch.

    :param requests: mappings, or a file of them; see :func:`.formats.reading.open_rows`.
    :param request: what all rows have in common: each is merged deeply over it, and its lists are replaced.
    :param extra_request: merged deeply over each, and never checked.
    :param item_id: the column that holds a row's id, which is text or a whole number. It is taken out of the request
        unless the tool has a field of this name. None: equal requests are one item.
    :param conn_id: the connection; part of what a request is.
    :param host: base URL of the client; part of it too.
    :param is_first: False: the same rows were checked before, and a worker resumes. Of the files that rows give, only
        those are asked for that an identity is made of; and a row that has an id is checked when its request is needed.
    :param is_paid: whether the item of a key is paid for: with an ``item_id`` its files are not needed any more, and
        may be gone. Called only where one cannot be read.
    :returns: the items, until the block ends: then their temporary file is deleted.
    :raises InvalidInputError: rows cannot work: the first 20, with line and field, and the count.
    :raises TransferError: a storage does not answer; a retry may help.
    """
    tool = get_tool(tool)
    checker = RowChecker(tool, request or {}, extra_request or {}, item_id)
    with open_rows(requests) as source, closing(Spool()) as spool:
        files = InputFiles(is_read=is_first, is_identified=item_id is None)
        items = Items(tool, source, spool, files, checker, item_id=item_id, conn_id=conn_id, host=host)
        items.read(is_first=is_first, is_paid=is_paid)
        yield items


class Items:
    """The items of a batch, in the order of their rows. Requests are on disk; reading them is safe in any thread.

    :param tool: the tool.
    :param source: the rows.
    :param spool: takes the requests.
    :param files: takes the files in them.
    :param checker: of the rows.
    :param item_id: the column that holds a row's id.
    :param conn_id: the connection.
    :param host: base URL of the client.
    """

    def __init__(
        self,
        tool: Tool,
        source: RowSource,
        spool: Spool,
        files: InputFiles,
        checker: RowChecker,
        *,
        item_id: str | None,
        conn_id: str,
        host: str,
    ) -> None:
        self.tool = tool
        self.name = source.name
        """What people call the rows: the file's name."""
        self.rows = 0
        """How many rows there are."""
        self.duplicates = 0
        """How many rows ask for what a row before asks for: they are one item. With an ``item_id`` that is an error."""
        self._source, self._spool, self._files, self._checker = source, spool, files, checker
        self._item_id, self._conn_id, self._host = item_id, conn_id, host
        self._problems = Problems(source.name, source.unit)
        self._warnings: dict[str, RowWarning] = {}
        self._numbers = array("Q")  # of each spooled row: its line or place
        self._ids: list[str] = []  # of each item
        self._keys: list[str] = []
        self._index: dict[str, int] = {}  # items by key
        self._has_saved_items = False
        self._unchecked: set[int] = set()
        """Places in the spool that have a row as it was given."""
        self._spooled: array[int] | None = None  # of each item its place in the spool; None: the same

    def read(self, *, is_first: bool, is_paid: Callable[[str], bool]) -> None:
        """Read all rows, once, and check them; the parameters are those of :func:`read_items`."""
        self._read_rows(is_lazy=not is_first and self._item_id is not None)
        self._spool.finish()
        self._files.check()
        if self._item_id is None or self._files.errors:
            self._read_identities(is_paid)
        self._problems.raise_any(self.rows, is_cut_short=self._files.is_cut_short)

    def _read_rows(self, *, is_lazy: bool) -> None:
        for row in self._source.rows:
            self.rows += 1
            try:
                if is_lazy and self._add_unchecked(row):
                    continue
                checked = self._checker.check(row)
                if checked.item_id is not None:
                    self._add_id(checked.item_id)
            except BadRowError as error:
                self._problems.add(row.number, str(error))
                continue
            for text in checked.warnings:
                self._add_warning(text, row.number)
            self._spool.add(checked.body)
            self._numbers.append(row.number)
            self._files.add(checked.inputs)
            self._has_saved_items |= any(one.saved_item is not None for one in checked.inputs)

    def _add_unchecked(self, row: Row) -> bool:
        """Add a row as it was given, and return whether that could be done: a spool holds only JSON."""
        item_id = self._checker.find_id(row)
        try:
            place = self._spool.add(row.values)
        except (TypeError, ValueError):
            return False
        self._numbers.append(row.number)
        self._unchecked.add(place)
        if item_id is not None:
            self._add_id(item_id)
        return True

    def _add_id(self, item_id: str) -> None:
        key = make_key(item_id)
        if (earlier := self._index.get(key)) is not None:
            where = f"{self._source.unit} {self._numbers[earlier]}"
            raise BadRowError(f"`{self._item_id}` {shorten(item_id, 60)} is that of {where} too")
        self._index[key] = len(self._keys)
        self._keys.append(key)
        self._ids.append(key if item_id == key else item_id)

    def _add_warning(self, text: str, number: int) -> None:
        rule = text.partition("; it is ")[0]  # of one rule the first value is shown
        if rule in self._warnings or len(self._warnings) < _MAX_WARNINGS:
            known = self._warnings.get(rule) or RowWarning(text, 0, f"{self._source.unit} {number}")
            self._warnings[rule] = replace(known, rows=known.rows + 1)

    def _read_identities(self, is_paid: Callable[[str], bool]) -> None:
        """Find the rows whose files cannot be read; and where they have no ids, what identifies each."""
        spooled = array("Q")
        for place in range(len(self._spool)):
            body = self._spool.read(place)
            inputs = find_inputs(self.tool, body)
            if errors := list(self._files.find_errors(inputs)):
                if self._item_id is not None and is_paid(self._keys[place]):
                    continue
                permanent = any(isinstance(error, InvalidInputError) for error in errors)
                text = "; ".join(dict.fromkeys(error.message.rstrip(".") for error in errors))
                self._problems.add(self._numbers[place], text, is_permanent=permanent)
            elif self._item_id is None and not self._files.is_cut_short:
                key = make_request_key(self._identify(body), **self._facts)
                if key in self._index:
                    self.duplicates += 1
                else:
                    self._index[key] = len(self._keys)
                    self._keys.append(key)
                    spooled.append(place)
        if self._item_id is None:
            self._spooled = spooled

    @property
    def _facts(self) -> dict[str, str]:
        return {"connection": self._conn_id, "host": self._host, "tool": self.tool.slug}

    def _identify(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return with_values(body, [(one, self._files.identity(one)) for one in find_inputs(self.tool, body)])

    @property
    def warnings(self) -> list[RowWarning]:
        """What is not known to be accepted, each once: the first 50."""
        return list(self._warnings.values())

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Item]:
        return map(self._item, range(len(self)))

    def find(self, key: str) -> Item | None:
        """Return the item of a key, or None if no row asks for it."""
        index = self._index.get(key)
        return None if index is None else self._item(index)

    def _item(self, index: int) -> Item:
        line = self._numbers[self._place(index)]
        item_id = self._ids[index] if self._item_id is not None else None
        return Item(index + 1, self._keys[index], item_id, f"{self._source.unit} {line}")

    def _place(self, index: int) -> int:
        return index if self._spooled is None else self._spooled[index]

    def _read(self, place: int) -> Mapping[str, Any]:
        body = self._spool.read(place)
        if place not in self._unchecked:
            return body
        try:
            return self._checker.check(Row(self._numbers[place], body)).body
        except BadRowError as error:
            where = f"{self._source.unit} {self._numbers[place]} of {self.name}"
            raise InvalidInputError(f"{where} was changed while its batch ran, and cannot be sent: {error}.") from None

    def prepare(self, item: Item) -> PreparedRequest:
        """Return an item's request, read from disk; it was checked before, and its warnings are in :attr:`warnings`.

        :raises InvalidInputError: it was not checked by this worker, and has been changed since it was by another one.
        """
        body = self._read(self._place(item.number - 1))
        return PreparedRequest(body, find_inputs(self.tool, body), Findings())

    def fingerprint(self, item: Item) -> dict[str, str]:
        """Return what makes an item's request another one, by field, as that of a job; computed when it is asked for.

        :raises InvalidInputError: as :meth:`prepare`; or a file in it cannot be read any more.
        :raises TransferError: its storage does not answer.
        """
        body = self._identify(self._read(self._place(item.number - 1)))
        return compute_fingerprint(body, **self._facts)

    def check_account(
        self,
        tier: str | None,
        saved_items: SavedItems | None,
        is_paid: Callable[[str], bool] = lambda key: False,  # noqa: ARG005
    ) -> None:
        """Check what the account decides: whether its plan takes the files of the rows, and what it has saved.

        :param tier: the plan; one that is not known is not checked.
        :param saved_items: of the account; None: those of the rows were checked before.
        :param is_paid: whether the item of a key is paid for: nothing of it is sent any more.
        :raises InvalidInputError: as of :func:`read_items`.
        :raises MagicHourError: the saved items cannot be listed.
        """
        problems = Problems(self.name, self._source.unit)
        is_needed = self._files.has_sizes or (saved_items is not None and self._has_saved_items)
        for index in range(len(self) if is_needed else 0):
            place = self._place(index)
            errors = []
            for one in find_inputs(self.tool, self._spool.read(place)):
                try:
                    if one.saved_item is not None and saved_items is not None:
                        saved_items.find_reference(one)
                    elif (size := self._files.size(one)) is not None:
                        check_size(f"The file {shorten(one.uri)} ({one.label})", size, tier)
                except InvalidInputError as error:
                    errors.append(" ".join(filter(None, (error.message, error.next_step))).rstrip("."))
            if errors and not is_paid(self._keys[index]):
                problems.add(self._numbers[place], "; ".join(errors))
        problems.raise_any(self.rows)
