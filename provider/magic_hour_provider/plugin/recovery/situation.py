"""What is known of one task instance: its state in Airflow, what it has paid for, and where that is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from magic_hour_provider.ledger.record import Record


@dataclass(frozen=True)
class TaskKey:
    """One task instance.

    :param map_index: -1: not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def __str__(self) -> str:
        index = f" [{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{index} of {self.run_id}"


@dataclass(frozen=True)
class Situation:
    """What is known of one task instance.

    :param ti_id: Airflow's id of the task instance, which each clear and each retry replaces.
    :param state: in Airflow's words; None where it is not scheduled yet.
    :param record: of the place that knows most; None: none has one.
    :param replaces: the name of the record, which an instruction given now replaces.
    :param tool: slug; None: not known.
    :param kind: of its jobs; None: not known.
    :param conn_id: the connection that pays.
    :param lost_tag: of a lost request whose record is missing, as far as XComs tell.
    :param is_lost: whether the response of a paid request was lost, or the record of one.
    :param refusal: why no instruction is possible now, as a sentence; None: it is possible.
    :param places: where the record is kept, for a person: Airflow's own store, the file, or both.
    :param instruction_place: where an instruction goes; None: nowhere, ``refusal`` says so.
    :param by_hand: how to do it by hand, as a sentence.
    """

    key: TaskKey
    ti_id: Any
    state: str | None
    try_number: int
    record: Record | None
    replaces: str
    tool: str | None
    kind: str | None
    conn_id: str
    is_lost: bool = False
    lost_tag: str | None = None
    refusal: str | None = None
    places: tuple[str, ...] = ()
    instruction_place: str | None = None
    by_hand: str = ""

    @property
    def job_id(self) -> str | None:
        """The recorded job."""
        return self.record.job_id if self.record is not None else None


def load_situation(key: TaskKey) -> Situation:
    """Read what is known of a task instance. Blocks, for some seconds at the most.

    :raises RecoveryError: there is no such task instance, it is none of ours, or what it has paid for cannot be read.
    """
    raise NotImplementedError
