"""Both stores of the ledger, with what tests ask of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from magic_hour_provider.ledger.file_store import FileStore

LEDGERS = ("task state store", "storage ledger")


class Store:
    """A task state store: its rows outlive attempts and clears, and only JSON survives."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.failing = 0
        self.writes: list[dict[str, Any]] = []

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default if there is no such row."""
        return json.loads(self.rows[key]) if key in self.rows else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Write a value; fails as often as ``failing`` says, counted down."""
        if self.failing and isinstance(value, dict) and value.get("state") == "submitted":
            self.failing -= 1
            raise ConnectionError("the API server is away")
        self.rows[key] = json.dumps(value)
        self.writes.append(json.loads(self.rows[key]))

    def delete(self, key: str) -> None:
        """Remove a key."""
        self.rows.pop(key, None)


class StoredFiles(FileStore):
    """The storage ledger of one task instance, with what tests ask of both stores."""

    _failing: ClassVar[dict[str, int]] = {}  # by folder: each attempt opens a store of its own

    @property
    def failing(self) -> int:
        """How often writing a paid job's id still fails."""
        return self._failing.get(self.folder, 0)

    @failing.setter
    def failing(self, times: int) -> None:
        self._failing[self.folder] = times

    @property
    def rows(self) -> dict[str, str]:
        """All its files, whatever their names."""
        return {path.name: path.read_text() for path in Path(self.folder).glob("*")}

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Write a value; fails as often as ``failing`` says, counted down."""
        if self.failing and isinstance(value, dict) and value.get("state") == "submitted":
            self.failing -= 1
            raise OSError("the storage is away")
        super().set(key, value, retention=retention)
