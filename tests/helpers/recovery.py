"""One task instance that is in Airflow's database, with attempts against the simulator that keep their record there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance as Row
from airflow.sdk import DAG, task
from airflow.utils.session import create_session

from helpers import attempts
from helpers.airflow_rows import put_run, put_task
from helpers.attempts import Connected
from helpers.stores import Store
from magic_hour_provider.ledger.instruction import INSTRUCTION_KEYS
from magic_hour_provider.ledger.record import KEY, Record
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.plugin.recovery import records
from magic_hour_provider.plugin.recovery.situation import TaskKey

DAG_ID, RUN_ID = attempts.TaskInstance.dag_id, attempts.TaskInstance.run_id
both_places = pytest.mark.parametrize("task", ["store", "files"], indirect=True)
REQUEST = {"image_count": 1, "style": {"prompt": "a lighthouse"}}


class DatabaseStore(Store):
    """Airflow's task state store as a worker sees it: rows of the database."""

    def __init__(self, key: TaskKey) -> None:
        super().__init__()
        self._key = key

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or the default if there is no such row."""
        with create_session(scoped=False) as session:
            return records.AirflowStore(session, self._key).get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Write a value."""
        with create_session(scoped=False) as session:
            records.AirflowStore(session, self._key).set(key, value, retention=retention)

    def delete(self, key: str) -> None:
        """Remove a key."""
        with create_session(scoped=False) as session:
            records.AirflowStore(session, self._key).delete(key)


@task
def after() -> None:
    """A task that did not run, as the one before it failed."""


def a_dag(dag_id: str = DAG_ID) -> DAG:
    """Return the DAG of the task."""
    with DAG(dag_id, schedule=None) as dag:
        MagicHourOperator(task_id="make", tool="ai-image-generator", request=REQUEST) >> after()
    return dag


class Recovered:
    """The task instance, in the database and as its worker has it.

    :param airflow: attempts against the simulator.
    :param place: ``store``, or ``files`` where Airflow has no store.
    """

    def __init__(self, airflow: Connected, place: str) -> None:
        self.airflow, self.place = airflow, place
        self.key = TaskKey(DAG_ID, RUN_ID, "make")
        put_run(a_dag(), RUN_ID, state="running")
        self.ti = attempts.TaskInstance()
        if place == "store":
            self.ti.store = DatabaseStore(self.key)

    def attempt(self, request: Any = None, **options: Any) -> Any:
        """Run the next attempt to its end, as the database has it; return its result or its error."""
        row, run = self.row(), self.run()
        self.ti.max_tries, self.ti.clear_number = row.max_tries, run.clear_number
        operator = self.airflow.operator(request=request or REQUEST, **options)
        result: Any
        try:
            result, state = self.airflow.attempt(operator, self.ti), "success"
        except Exception as error:
            result, state = error, "failed"
        self.put(state)
        if state == "failed":
            put_task(DAG_ID, "after", "upstream_failed", run_id=RUN_ID)
        return result

    def lose(self) -> str:
        """Run an attempt whose paid request's response is lost; return the id of the job that it has made."""
        self.airflow.sim.inject_fault("close-after-accept")
        assert isinstance(self.attempt(), Exception)
        assert self.creates() == 1
        return str(self.airflow.sim.jobs()[-1]["id"])

    def put(self, state: str | None) -> None:
        """Set the task's state in the database, and its run's."""
        put_task(DAG_ID, "make", state, self.ti.xcoms, run_id=RUN_ID)
        with create_session() as session:
            session.execute(sa.update(Row).where(*self._where(Row)).values(try_number=self.ti.try_number))
            ended = state if state in ("success", "failed") else "running"
            session.execute(sa.update(DagRun).where(*self._where(DagRun)).values(state=ended))

    def _where(self, model: Any, task_id: str | None = "make") -> tuple[Any, ...]:
        of_task = (model.task_id == task_id,) if model is Row and task_id is not None else ()
        return model.dag_id == DAG_ID, model.run_id == RUN_ID, *of_task

    def row(self, task_id: str = "make") -> Any:
        """Return a task's row."""
        columns = (Row.id, Row.state, Row.try_number, Row.max_tries)
        with create_session() as session:
            return session.execute(sa.select(*columns).where(*self._where(Row, task_id))).one()

    def run(self) -> Any:
        """Return the run's row."""
        with create_session() as session:
            return session.execute(sa.select(DagRun.state, DagRun.clear_number).where(*self._where(DagRun))).one()

    def delete_run(self) -> None:
        """Delete the run, as a person does."""
        with create_session() as session:
            session.execute(sa.delete(Row).where(*self._where(Row, None)))
            session.execute(sa.delete(DagRun).where(*self._where(DagRun)))

    @property
    def record(self) -> Record:
        """What the task has paid for."""
        assert self.ti.store is not None
        return Record.read(self.ti.store.get(KEY))

    def instructions(self) -> dict[str, Any]:
        """Return what is written of instructions, by key."""
        assert self.ti.store is not None
        found = {key: self.ti.store.get(key) for key in INSTRUCTION_KEYS}
        return {key: value for key, value in found.items() if value is not None}

    @property
    def is_cleared(self) -> bool:
        """Whether the task waits to be scheduled again, with its run and what comes after it."""
        states = self.row().state, self.row("after").state, self.run().state
        return states == (None, None, "queued")

    def creates(self) -> int:
        """How many paid requests the simulator accepted."""
        return self.airflow.creates()


def hide_places(airflow: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the API server and the commands reach no record, as on Airflow 3.1 and 3.2 without ``ledger_path``."""
    airflow.setting("ledger_path", "")
    monkeypatch.setattr(records, "get_state_store_model", lambda: None)


def ledger_folder(tmp_path: Path) -> str:
    """Return the folder of ``[magic_hour] ledger_path``."""
    return str(tmp_path / "ledger")
