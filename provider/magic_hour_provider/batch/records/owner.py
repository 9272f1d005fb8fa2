"""The owner of an intent: which attempt of which task instance is about to pay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

SENDS = 3
"""How often a request is sent at the most while its intent stays: once, and after each of two 502."""
PAUSE_S = 30.0
"""Before it is sent again."""
RECORD_S = 120.0
"""How long a paid job's id is tried to be written."""
MARGIN_S = 60.0
"""For clocks, and for a worker that is slow."""


@dataclass(frozen=True)
class Owner:
    """One attempt of one task instance.

    :param map_index: -1: the task is not mapped.
    :param try_number: rises with each retry and each clear.
    :param ti_id: Airflow's id of the attempt.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    ti_id: str = ""

    @classmethod
    def of(cls, ti: Any) -> Owner:
        """Return the attempt that runs.

        :param ti: Airflow's task instance.
        """
        index = -1 if ti.map_index is None else ti.map_index
        return cls(ti.dag_id, ti.run_id, ti.task_id, index, ti.try_number or 1, str(getattr(ti, "id", "") or ""))

    @classmethod
    def read(cls, value: Any) -> Owner | None:
        """Read what a file holds; None: nothing that could be an owner."""
        if not isinstance(value, Mapping):
            return None
        try:
            return cls(**{name: value[name] for name in cls.__dataclass_fields__ if name in value})
        except TypeError:
            return None

    def to_json(self) -> dict[str, Any]:
        """Return what a file holds of it; :meth:`read` reads it back."""
        return asdict(self)

    @cached_property
    def digest(self) -> str:
        """Of the task instance, the same in all its tries: names and sums of credits have it."""
        whole = json.dumps([self.dag_id, self.run_id, self.task_id, self.map_index])
        return hashlib.sha256(whole.encode()).hexdigest()[:12]

    def is_earlier_than(self, other: Owner) -> bool:
        """Whether Airflow has ended this attempt before the other one began: it is an earlier try of the same task.

        A worker that Airflow no longer hears may run on beside its own retry, all the same.
        """
        return self.digest == other.digest and self.try_number < other.try_number

    def __str__(self) -> str:
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{index} {self.run_id}, try {self.try_number}"


def settles_after(owner: Owner | None, reader: Owner | None, request_s: float) -> float:
    """Return the age of an intent, in seconds, at which its outcome counts as unknown.

    A living worker has then recorded its job, withdrawn the intent or given up: a request is sent three times at the
    most, each within twice the connection's timeout (which counts from the last progress), with pauses of 30 s, and its
    record is tried for two minutes. Of an earlier try of the reader's own task only the request that may still be under
    way is waited for, and its record. Too short would never pay twice: a job that is recorded later counts.

    :param owner: of the intent; None: it cannot be read.
    :param reader: who waits; None: a person.
    :param request_s: the connection's timeout.
    """
    request = 2 * request_s
    if owner is not None and reader is not None and owner.is_earlier_than(reader):
        return request + RECORD_S
    return SENDS * (request + PAUSE_S) + RECORD_S + MARGIN_S
