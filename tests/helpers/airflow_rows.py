"""Rows of Airflow's database as its own processes write them, and its API server's application: without processes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pendulum
import sqlalchemy as sa
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType

from magic_hour_provider.ledger.record import KEY, Record
from magic_hour_provider.plugin.state_store import get_state_store_model

BUNDLE = "tests"
RUN = "manual__2026-11-25T08:00:00+00:00"
NOON = pendulum.datetime(2026, 11, 25, 12)

XComs = Mapping[str, Any]


def put_run(dag: DAG, run_id: str = RUN, *, state: str = "success") -> None:
    """Serialize a DAG and start a run of it; an earlier run of this name is replaced."""
    with create_session() as session:
        if session.get(DagBundleModel, BUNDLE) is None:
            session.add(DagBundleModel(name=BUNDLE))
            session.flush()
        if session.get(DagModel, dag.dag_id) is None:
            session.add(
                DagModel(
                    dag_id=dag.dag_id,
                    bundle_name=BUNDLE,
                    fileloc="tests.py",
                    relative_fileloc="tests.py",
                    is_stale=False,
                    is_paused=False,
                )
            )
            session.flush()
        SerializedDagModel.write_dag(LazyDeserializedDAG.from_dag(dag), bundle_name=BUNDLE, session=session)
    with create_session() as session:
        for run in session.query(DagRun).filter_by(dag_id=dag.dag_id, run_id=run_id):
            session.delete(run)
        session.flush()
        SerializedDagModel.get(dag.dag_id, session=session).dag.create_dagrun(
            run_id=run_id,
            run_after=NOON,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState(state),
            session=session,
        )


def forget_tasks(dag_id: str, run_id: str = RUN) -> None:
    """Make a run as it was when it started: no task has run."""
    with create_session() as session:
        session.query(XComModel).filter_by(dag_id=dag_id, run_id=run_id).delete()
        session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id).update({"state": None})
        if get_state_store_model() is not None:
            session.query(get_state_store_model()).filter_by(dag_id=dag_id, run_id=run_id).delete()


def put_record(dag_id: str, task_id: str, value: Any, *, map_index: int = -1, run_id: str = RUN) -> None:
    """Put a value where Airflow 3.3 has a task's record; of a mapping only the fields that differ are needed."""
    if isinstance(value, Mapping) and "__airflow_state_ref__" not in value:
        value = Record("submitted", "ai-image-generator", "image", "ABCDEFGH", {}).to_json() | value
    model = get_state_store_model()
    with create_session() as session:
        where = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
        run = session.query(DagRun).filter_by(dag_id=dag_id, run_id=run_id).one()
        session.query(model).filter_by(**where).delete()
        session.add(model(dag_run_id=run.id, key=KEY, value=json.dumps(value), **where))


def put_task(
    dag_id: str, task_id: str, state: str | None, xcoms: XComs | None = None, *, map_index: int = -1, run_id: str = RUN
) -> None:
    """Set a task instance's state, and add XComs as its worker pushes them: as JSON, not as a text that holds it."""
    with create_session() as session:
        where = {"dag_id": dag_id, "task_id": task_id, "run_id": run_id, "map_index": map_index}
        assert session.query(TaskInstance).filter_by(**where).update({"state": state}) == 1
        run = session.query(DagRun).filter_by(dag_id=dag_id, run_id=run_id).one()
        session.query(XComModel).filter(XComModel.key.in_(xcoms or {})).filter_by(**where).delete()
        session.add_all(
            XComModel(dag_run_id=run.id, key=key, value=value, **where) for key, value in (xcoms or {}).items()
        )


def put_mapped(dag_id: str, task_id: str, state: str, xcoms: Sequence[XComs], *, run_id: str = RUN) -> None:
    """Set the state and the XComs of many mapped task instances at once, in the order of their map indexes."""
    with create_session() as session:
        where = {"dag_id": dag_id, "task_id": task_id, "run_id": run_id}
        session.query(TaskInstance).filter_by(**where).update({"state": state})
        session.query(XComModel).filter_by(**where).delete()
        run = session.query(DagRun).filter_by(dag_id=dag_id, run_id=run_id).one()
        rows = [
            where | {"dag_run_id": run.id, "map_index": map_index, "key": key, "value": value}
            for map_index, values in enumerate(xcoms)
            for key, value in values.items()
        ]
        session.execute(sa.insert(XComModel), rows)


def make_app() -> Any:
    """Return Airflow's API server with its plugins, ours among them."""
    from airflow.api_fastapi.app import create_app

    return create_app(apps="core")


def token(username: str = "admin", role: str = "admin") -> str:
    """Return the token of a user of Airflow's simple auth manager, as a login gives it."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return str(get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=username, role=role)))
