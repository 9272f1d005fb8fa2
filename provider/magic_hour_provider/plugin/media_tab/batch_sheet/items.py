"""The items of a batch from the names of its records alone: what a listing of their folder says."""

from __future__ import annotations

import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from magic_hour_provider.api.errors import MagicHourError
from magic_hour_provider.batch.records.names import StepName, key_of, parse_names
from magic_hour_provider.batch.records.state import resolve

log = logging.getLogger(__name__)

STATUSES = ("complete", "failed", "unknown", "active", "left", "broken")
"""What has become of an item. ``active``: its request or its job is under way; ``left``: nothing is paid for;
``broken``: its records cannot be read."""
PROBLEMS = ("unknown", "failed", "broken")
"""Those that come first on request, in this order."""

_STATUSES = {"done": "complete", "failed": "failed", "unknown": "unknown", "conflict": "unknown", "job": "active"}
# The step whose file says most of a state.
_STEPS = {"done": "done", "failed": "failed", "unknown": "intent", "intent": "intent", "job": "job"}
_DIGITS = re.compile(r"(\d+)")


class SheetItem(NamedTuple):
    """One item.

    :param status: one of :data:`STATUSES`, or ``intent``: a request may be under way, of a worker that may have ended.
    :param job_id: of its job; empty: none, or not in a name.
    :param credits: what the job was charged, as far as known.
    :param paid_by: digest of the task instance that paid; empty: none of ours, or not known.
    :param path: name of the file that says most, below the folder of all records; empty: none does.
    :param intent: name of the file of its intent; empty: none is listed.
    """

    key: str
    status: str
    job_id: str = ""
    credits: int | None = None
    paid_by: str = ""
    path: str = ""
    intent: str = ""


class Listing(NamedTuple):
    """All items of a folder, in the order of their keys, as people count.

    :param is_cut: whether there are more than these.
    :param by_files: each item by the names of its files, which never change: one of the same names is the same.
    """

    items: Sequence[SheetItem]
    is_cut: bool = False
    by_files: Mapping[tuple[str, ...], SheetItem | None] = MappingProxyType({})


def find_items(paths: Iterable[str], before: Listing | None = None, *, is_cut: bool = False) -> Listing:
    """Return the items of which a listing has files.

    :param paths: names of files below the folder of all records, in any order.
    :param before: an earlier listing of the same folder: only what has changed since costs time.
    :param is_cut: whether there are more than these.
    """
    known = before.by_files if before is not None else {}
    found: dict[tuple[str, ...], SheetItem | None] = {}
    for key, group in itertools.groupby(sorted(paths), key=key_of):
        files = tuple(group)
        found[files] = known[files] if files in known else _find_item(key.rpartition("/")[2], files)
    items = [item for item in found.values() if item is not None]
    items.sort(key=lambda item: _natural(item.key))
    return Listing(items, is_cut, found)


def _find_item(key: str, paths: Sequence[str]) -> SheetItem | None:
    try:
        names = parse_names(paths)
        state = resolve(names)
    except MagicHourError as error:  # of a later version, or no record at all: one item that cannot be shown
        log.warning("%s", error.message)
        return SheetItem(key, "broken")
    if not names:
        return None
    own = [name for name in names if name.number == state.number]
    return SheetItem(
        names[0].key,
        _STATUSES.get(state.status, "intent" if state.status == "intent" else "left"),
        (state.job_id or "").removeprefix("_"),
        state.credits,
        state.owner,
        _path_of(own, _STEPS.get(state.status, "")),
        _path_of(own, "intent"),
    )


def _path_of(names: Iterable[StepName], step: str) -> str:
    return next((name.path for name in names if name.step == step), "")


def _natural(key: str) -> tuple[tuple[bool, int, str], ...]:
    """Return what sorts ``shoe-9`` before ``shoe-10``."""
    parts = enumerate(_DIGITS.split(key))
    return tuple((False, int(part), "") if place % 2 else (True, 0, part) for place, part in parts)


class ItemSelection(NamedTuple):
    """The items of one response.

    :param counts: of all items, by status.
    :param matching: how many there are of those that were asked for.
    """

    items: Sequence[SheetItem]
    counts: dict[str, int]
    matching: int


def select_items(
    listing: Listing, *, live: bool, status: str | None, problems_first: bool, offset: int, limit: int
) -> ItemSelection:
    """Return a part of the items.

    :param live: whether the task is active: else nobody waits for a request that may have been under way.
    :param status: only items of this status; None: all.
    :param problems_first: those that a person may have to see to first.
    :param offset: number of these items to skip.
    :param limit: maximum number of items.
    """
    of_intent = "active" if live else "unknown"
    items = [item if item.status != "intent" else item._replace(status=of_intent) for item in listing.items]
    counts = Counter(item.status for item in items)
    if status is not None:
        items = [item for item in items if item.status == status]
    if problems_first:
        items.sort(key=lambda item: PROBLEMS.index(item.status) if item.status in PROBLEMS else len(PROBLEMS))
    return ItemSelection(items[offset : offset + limit], dict(counts), len(items))
