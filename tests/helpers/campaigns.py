"""A batch of three items that is in Airflow's database, with attempts against the simulator."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance as Row
from airflow.sdk import DAG
from airflow.utils.session import create_session

from helpers.airflow_rows import put_run, put_task
from helpers.attempts import TaskInstance
from helpers.batches import Batches, results
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.operators.batch import MagicHourBatchOperator

TASK = (TaskInstance.dag_id, TaskInstance.run_id, "campaign")
ROWS = [{"sku": sku, "style": {"prompt": sku}} for sku in ("Red shoe", "boot", "sandal")]


class Campaign:
    """The batch.

    :param airflow: attempts against the simulator.
    :param folder: its ``output_path``; None: one of its own.
    """

    def __init__(self, airflow: Any, folder: str | None = None) -> None:
        self.batches = Batches(airflow)
        self.batches.folder = folder or self.batches.folder
        self.ti = TaskInstance("campaign")
        with DAG(TASK[0], schedule=None) as dag:
            MagicHourBatchOperator(
                task_id="campaign", tool="ai-image-generator", requests=ROWS, output_path=self.batches.folder
            )
        put_run(dag, TASK[1], state="running")

    @property
    def sim(self) -> Any:
        """The simulator."""
        return self.batches.airflow.sim

    def attempt(self, rows: Any = ROWS, **options: Any) -> Any:
        """Run the next attempt, as the database has it; return its manifest or its error."""
        try:
            result = self.batches.attempt(self.batches.operator(rows, **{"item_id": "sku"} | options), self.ti)
            state = "success"
        except Exception as error:
            result, state = error, "failed"
        self.put(state)
        return result

    def put(self, state: str | None) -> None:
        """Set the task's state, with what it has pushed."""
        put_task(TASK[0], "campaign", state, self.ti.xcoms, run_id=TASK[1])
        with create_session() as session:
            ended = state if state in ("success", "failed") else "running"
            of_run = (DagRun.dag_id == TASK[0], DagRun.run_id == TASK[1])
            session.execute(sa.update(DagRun).where(*of_run).values(state=ended))

    def lose(self, prompt: str = "Red shoe") -> str:
        """Run an attempt in which the response for one item is lost; return the id of its job."""
        self.sim.inject_fault("close-after-accept", prompt=prompt)
        assert isinstance(self.attempt(), Exception)
        assert self.creates() == len(ROWS)
        return next(str(job["id"]) for job in self.sim.jobs() if prompt in job["name"])

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return what the results say of each item."""
        return results(self.ti.xcoms["magic_hour_batch"])

    def ids(self) -> dict[str, Any]:
        """Return the ids of the items' jobs."""
        return {sku: row.get("id") for sku, row in self.rows().items()}

    def names(self) -> list[str]:
        """Return the names of all records."""
        return sorted(ItemRecords.open(self.batches.folder).folder.list_all())

    def instructions(self) -> dict[str, Any]:
        """Return what is asked for, by the items' keys."""
        found = ItemRecords.open(self.batches.folder).load()
        return {key: state.instructions for key, state in found.items() if state.instructions}

    @property
    def is_cleared(self) -> bool:
        """Whether the task waits to be scheduled again, with its run."""
        with create_session() as session:
            where = {"dag_id": TASK[0], "run_id": TASK[1]}
            state = session.scalar(sa.select(Row.state).filter_by(task_id="campaign", **where))
            return (state, session.scalar(sa.select(DagRun.state).filter_by(**where))) == (None, "queued")

    def creates(self) -> int:
        """How many paid requests the simulator accepted."""
        return self.batches.creates()
