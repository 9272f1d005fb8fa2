"""Whether other tasks of a DAG run may have changed the account's balance: paid, waiting or just refunded."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from magic_hour_provider.api.models import COMPLETE
from magic_hour_provider.ledger.record import Record
from magic_hour_provider.times import parse_time
from magic_hour_provider.xcoms import JOB_XCOM

log = logging.getLogger(__name__)

_NOT_RUN = (None, "upstream_failed", "skipped", "removed")  # a cleared task too: its XComs say whether it had a job
_SETTLED_S = 60.0  # a job that ended less long ago than this may still be settled; also bounds what clocks differ by
_MAX_XCOMS = 100  # read one by one; a larger run is not known


@dataclass(frozen=True)
class TaskInstanceKey:
    """One task instance of the DAG run.

    :param map_index: -1: not mapped.
    """

    task_id: str
    map_index: int = -1

    @classmethod
    def of(cls, ti: Any) -> TaskInstanceKey:
        """Return the one that runs."""
        return cls(ti.task_id, -1 if ti.map_index is None else ti.map_index)

    def __str__(self) -> str:
        return f"{self.task_id}[{self.map_index}]" if self.map_index >= 0 else self.task_id


def find_paying_tasks(task: Any) -> Iterator[Any]:
    """Yield the tasks of a task's DAG that may submit jobs, itself among them."""
    for one in task.dag.tasks:
        # Of a mapped task, the class that its instances get.
        if getattr(getattr(one, "operator_class", one), "submits_jobs", False):
            yield one


def read_states(ti: Any, task_id: str) -> Iterator[tuple[TaskInstanceKey, str | None]]:
    """Yield each instance of a task in the run, and its state.

    :param ti: Airflow's task instance of the run, which runs.
    :raises LookupError: it is not among the instances of its own task, so that the answer cannot be right.
    """
    # One task at a time: "make_1" may be a task of that name, or the second instance of "make".
    answer = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])
    states = answer.get(ti.run_id, {})
    if task_id == ti.task_id and not states:
        raise LookupError(f"Airflow knows no instance of {task_id} in run {ti.run_id}.")
    for name, state in states.items():
        index = -1 if name == task_id else int(name.removeprefix(f"{task_id}_"))
        yield TaskInstanceKey(task_id, index), getattr(state, "value", state)


class RunActivity:
    """The other task instances of a DAG run that may submit jobs. What cannot be known counts as activity.

    :param context: Airflow's context of the running task.
    :param previous: what this task's own ledger held before; a job of its own may be refunded late, too.
    """

    def __init__(self, context: Mapping[str, Any], previous: Record | None) -> None:
        self._ti, self._task, self._previous = context["ti"], context["task"], previous

    def find_active(self, since: float) -> str | None:
        """Name what may have changed the balance of late; None: no other task of this run.

        A task instance is quiet if it has never run, or if its job was complete well before: then no refund or
        settlement of it can hide a charge.

        :param since: when the balance was read with which it is compared, in seconds since 1970.
        """
        if self._previous is not None and self._previous.state != "delivered":
            return f"the refund of this task's own job {self._previous.job_id or 'of before'}"
        try:
            for number, (key, state) in enumerate(self._others()):
                if number >= _MAX_XCOMS:
                    return f"more than {_MAX_XCOMS} task instances of this run"
                if not self._is_quiet(key, state, since):
                    return f"task {key} ({state or 'no state'})"
        except Exception:  # no DAG, an API server that is away, an Airflow without this call
            log.warning("The states of this run's other tasks could not be read.", exc_info=True)
            return "other tasks of this run, whose states are not known,"
        return None

    def _others(self) -> Iterator[tuple[TaskInstanceKey, str | None]]:
        own = TaskInstanceKey.of(self._ti)
        for task in find_paying_tasks(self._task):
            yield from (found for found in read_states(self._ti, task.task_id) if found[0] != own)

    def _is_quiet(self, key: TaskInstanceKey, state: str | None, since: float) -> bool:
        if state not in (*_NOT_RUN, "success"):
            return False
        job = self._ti.xcom_pull(task_ids=key.task_id, key=JOB_XCOM, map_indexes=key.map_index)
        if job is None:
            return state in _NOT_RUN
        ended_at = parse_time(job.get("ended_at")) if job.get("status") == COMPLETE else None
        return state == "success" and ended_at is not None and ended_at <= since - _SETTLED_S
