"""A person's instruction to make new jobs of many items: one file, so that it is given as a whole or not at all.

Its name begins with a dot: it is no step of an item. It is never changed or consumed: each of its entries is for one
state of an item, and void once another one counts.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from magic_hour_provider.batch.records.state import ItemState
from magic_hour_provider.ledger.instruction import Instruction
from magic_hour_provider.times import format_time

LIST_PREFIX = ".regenerate-"
"""Begins the names of such files."""

_NAME = re.compile(r"\.regenerate-[0-9a-f]{16}\.json")
_VERSION = 1


@dataclass(frozen=True)
class RegenerateList:
    """The items of which new jobs are wanted.

    :param replaced: what each takes the place of, by key: the number of the intent, the id of its job, if any, and the
        status. One that has become complete since it failed is not paid for again.
    """

    replaced: Mapping[str, tuple[int, str, str]]

    @classmethod
    def of(cls, states: Mapping[str, ItemState]) -> RegenerateList:
        """Return the list that is for these states, by key."""
        return cls({key: _name(state) for key, state in states.items()})

    @classmethod
    def read(cls, data: bytes | None) -> RegenerateList:
        """Read what a file holds; what cannot be read asks for nothing.

        :param data: its bytes; None: it is not there any more.
        """
        try:
            values = json.loads(data or b"")
        except ValueError:
            return cls({})
        items = values.get("items") if isinstance(values, dict) and values.get("version") == _VERSION else None
        if not isinstance(items, dict):
            return cls({})
        return cls({key: (value[0], value[1], value[2]) for key, value in items.items() if _is_entry(value)})

    def to_bytes(self, at: float) -> bytes:
        """Return what the file holds; :meth:`read` reads it back.

        :param at: when it is written, in seconds since 1970.
        """
        values = {"version": _VERSION, "at": format_time(at), "items": self.replaced}
        return json.dumps(values, separators=(",", ":")).encode()

    def is_for(self, key: str, state: ItemState) -> bool:
        """Whether a new job is wanted in the place of an item's present state."""
        if state.status in ("new", "intent", "conflict"):
            return False
        return self.replaced.get(key) == _name(state)

    def apply(self, key: str, state: ItemState) -> ItemState:
        """Return an item's state with what is wanted of it."""
        if not self.is_for(key, state):
            return state
        wanted = Instruction("regenerate", None, state.job_id)
        if wanted in state.instructions:
            return state
        return replace(state, instructions=(*state.instructions, wanted))


def new_list_name() -> str:
    """Return a name for a file that no other writer uses."""
    return f"{LIST_PREFIX}{secrets.token_hex(8)}.json"


def is_list_name(name: str) -> bool:
    """Whether a file below the folder of all records is such a list."""
    return _NAME.fullmatch(name) is not None


def _name(state: ItemState) -> tuple[int, str, str]:
    return state.number, state.job_id or "", state.status


def _is_entry(value: Any) -> bool:
    is_whole = isinstance(value, list) and len(value) == 3
    return is_whole and isinstance(value[0], int) and all(isinstance(text, str) for text in value[1:])
