"""One DAG run with several tasks, each of which sees what the others have pushed, as on Airflow."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException

from helpers.attempts import Connected, TaskInstance
from magic_hour_provider.operators.magic_hour import MagicHourOperator


class RunTaskInstance(TaskInstance):
    """One of the run's task instances."""

    def __init__(self, run: Run, task_id: str, map_index: int = -1) -> None:
        super().__init__(task_id, map_index)
        self.run, self.state = run, None

    @property
    def name(self) -> str:
        """Airflow's name of it among the states."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}_{self.map_index}"

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int | None = None) -> Any:
        """Return an XCom of the run; without an index those of all instances, as Airflow does."""
        self.run.reads += 1
        found = [ti for ti in self.run.instances.values() if ti.task_id == task_ids and key in ti.xcoms]
        if map_indexes is None:
            values = [ti.xcoms[key] for ti in sorted(found, key=lambda ti: ti.map_index)]
            return values if len(values) > 1 else values[0] if values else None
        return next((ti.xcoms[key] for ti in found if ti.map_index == map_indexes), None)

    def get_task_states(self, dag_id: str, task_ids: list[str], run_ids: list[str]) -> dict[str, Any]:
        """Return the states of a task's instances."""
        return {self.run_id: {ti.name: ti.state for ti in self.run.instances.values() if ti.task_id in task_ids}}


class Run:
    """A DAG run.

    :param airflow: the simulator, connected.
    :param tasks: ids of its tasks, each with its request and options.
    """

    def __init__(self, airflow: Connected, tasks: dict[str, dict[str, Any]], **dag: Any) -> None:
        self.airflow = airflow
        self.reads = 0
        self.instances: dict[tuple[str, int], RunTaskInstance] = {}
        with DAG("teaser", **dag) as self.dag:
            for task_id, options in tasks.items():
                self.task(task_id, **options)

    def task(self, task_id: str, **options: Any) -> MagicHourOperator:
        """Add a task to the DAG, and its instance to the run."""
        self.add(task_id)
        return self.airflow.operator(task_id=task_id, **options)

    def add(self, task_id: str, map_index: int = -1) -> RunTaskInstance:
        """Add a task instance."""
        ti = self.instances[task_id, map_index] = RunTaskInstance(self, task_id, map_index)
        return ti

    def attempt(self, task_id: str, operator: Any = None) -> Any:
        """Run one attempt; return its result or its error."""
        ti = self.instances[task_id, -1]
        operator = operator or self.dag.get_task(task_id)
        ti.state = "running"
        try:
            result = self.airflow.attempt(operator, ti)
        except AirflowFailException as error:
            ti.state = "failed"
            return error
        except AirflowException as error:
            ti.state = "up_for_retry"
            return error
        ti.state = "success"
        return result

    @property
    def spent(self) -> int:
        """What the simulator has charged and not refunded."""
        return self.airflow.sim.stats()["credits"]["start"] - self.airflow.sim.stats()["credits"]["balance"]
