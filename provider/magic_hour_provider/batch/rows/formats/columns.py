"""Columns to a request: ``style.prompt`` is a field of a dict, ``assets.items.0.x`` one of the first element of a list.

Names are written with dots, or as our messages write them: ``assets.items[0].x``. Rows of every form may have them: a
query's result is as flat as a spreadsheet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any


class _Elements(dict[int, Any]):
    """A list of which not all elements have come yet."""


@lru_cache(maxsize=4096)
def split_column(name: str) -> tuple[str | int, ...]:
    """Return the path of a column: keys, and indexes of lists.

    :raises ValueError: it is no path; the message says why.
    """
    parts = re.sub(r"\[([0-9]+)\]", r".\1", name).split(".")
    if "" in parts or parts[0].isdigit():
        raise ValueError(f"`{name[:100]}` is no name of a field")
    return tuple(int(part) if re.fullmatch("[0-9]{1,6}", part) else part for part in parts)


def expand_columns(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row with its dotted columns as dicts and lists.

    :raises ValueError: two columns say the same, or a list lacks an element; the message says which.
    """
    if all(isinstance(name, str) and not re.search(r"[.\[]", name) for name in values):
        return dict(values)
    tree: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise ValueError(f"it has a column whose name is no text but {str(name)[:100]!r}")
        path = split_column(name)
        node: Any = tree
        for part, following in pairwise(path):
            new = _Elements() if isinstance(following, int) else {}
            node = node.setdefault(part, new) if _fits(node, part) else None
        if not _fits(node, path[-1]) or path[-1] in node:
            raise ValueError(f"`{name[:100]}` says again what another column says")
        # What is given whole is copied, as columns may add to it.
        node[path[-1]] = _copy(value)
    return {name: _close(inner, name) for name, inner in tree.items()}


def _copy(value: Any) -> Any:
    return {name: _copy(inner) for name, inner in value.items()} if isinstance(value, Mapping) else value


def _fits(node: Any, part: str | int) -> bool:
    return isinstance(node, dict) and isinstance(node, _Elements) == isinstance(part, int)


def _close(value: Any, name: str) -> Any:
    """Return a value in which lists are lists."""
    if isinstance(value, _Elements):
        for index in range(len(value)):
            if index not in value:
                raise ValueError(f"`{name}[{index}]` is missing, and `{name}[{max(value)}]` is given")
        return [_close(value[index], f"{name}[{index}]") for index in range(len(value))]
    if isinstance(value, dict):
        return {key: _close(inner, f"{name}.{key}") for key, inner in value.items()}
    return value
