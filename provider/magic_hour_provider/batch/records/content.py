"""Contents of the files that hold an item's steps, as JSON: for messages, persons and the command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.records.names import StepName
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.times import format_time, parse_time

VERSION = 1


@dataclass(frozen=True)
class ItemStep:
    """One step of an item, read from its file.

    :param name: what its name tells.
    :param owner: which attempt wrote it; None: not known, or a person.
    :param at: when, by that machine's clock, in seconds since 1970; None: not known.
    :param record: what the ledger of a single job would hold at this step; None: there is none, or it cannot be read.
    :param nonce: of the call that declared an intent.
    :param adopts: of an intent: the id of a job that exists already; nothing is sent for it.
    :param paid_by: digest of the task instance that paid for the adopted job; empty: none of ours, or not known.
    :param instruction: of an intent: what a person asked for, as it is stored, and this intent does.
    :param note: why it was written, for a person.
    :param item: of an intent: how a person knows the item: its id, or its key.
    """

    name: StepName
    owner: Owner | None = None
    at: float | None = None
    record: Record | None = None
    nonce: str = ""
    adopts: str | None = None
    paid_by: str = ""
    instruction: Any = None
    note: str = ""
    item: str = ""

    def to_bytes(self) -> bytes:
        """Return what the file holds; :meth:`read` reads it back."""
        values = {
            "version": VERSION,
            "key": self.name.key,
            "number": self.name.number,
            "step": self.name.step,
            "at": None if self.at is None else format_time(self.at),
            "owner": None if self.owner is None else self.owner.to_json(),
            "nonce": self.nonce,
            "adopts": self.adopts,
            "paid_by": self.paid_by,
            "instruction": self.instruction,
            "note": self.note,
            "item": self.item,
            "record": None if self.record is None else self.record.to_json(),
        }
        return json.dumps({name: value for name, value in values.items() if value not in (None, "")}, indent=1).encode()

    @property
    def is_whole(self) -> bool:
        """Whether its file was read to the end."""
        return self.at is not None

    @classmethod
    def read(cls, name: StepName, data: bytes | None) -> ItemStep:
        """Read a file. What cannot be read is left out: what matters for the money is in the name.

        :param data: its bytes; None: it is not there any more.
        """
        try:
            values = json.loads(data or b"")
        except ValueError:  # a disk without hard links keeps half of it, after a kill
            return cls(name)
        if not isinstance(values, Mapping):
            return cls(name)
        record = None
        if isinstance(values.get("record"), Mapping):
            try:
                record = Record.read(values["record"], f"the file {name.path!r}")
            except InvalidInputError:  # of a later version
                record = None
        texts = {one: str(values.get(one) or "") for one in ("nonce", "paid_by", "note", "item")}
        adopts = values.get("adopts")
        return cls(
            name,
            owner=Owner.read(values.get("owner")),
            at=parse_time(values.get("at")),
            record=record,
            adopts=adopts if isinstance(adopts, str) else None,
            instruction=values.get("instruction"),
            **texts,
        )


def digest_fingerprint(fingerprint: Mapping[str, str]) -> str:
    """Return a request's fingerprint in ten digits, for a name: whether a row has changed is seen without a file.

    :param fingerprint: SHA-256 of each field; empty: not known.
    """
    if not fingerprint:
        return ""
    whole = json.dumps(fingerprint, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(whole.encode()).hexdigest()[:10]
