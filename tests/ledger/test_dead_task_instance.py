"""What Airflow's own API server takes from a process whose task instance was cleared meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.airflow_rows import RUN, put_run, put_task
from helpers.database import airflow_on
from magic_hour_provider.ledger.places.mark import EarlierXComs


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The client of an attempt, over the routes of Airflow's API server and a database with its tables."""
    from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor

    folder: Path = tmp_path_factory.mktemp("dead")
    with airflow_on("sqlite", folder):
        yield InProcessTestSupervisor._api_client()


def instance() -> Any:
    """Return the task instance's row."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        return session.query(TaskInstance).filter_by(dag_id="teaser", task_id="make", run_id=RUN).one()


def test_xcoms_of_a_cleared_process_are_named_to_the_next_attempt(api):
    """The task state store does not know the old id any more; XComs go by names, and their keys reach the next one."""
    from airflow.models.taskinstance import TaskInstance, clear_task_instances
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG
    from airflow.sdk.api.client import ServerResponseError
    from airflow.utils.session import create_session

    with DAG("teaser") as dag:
        EmptyOperator(task_id="make")
    put_run(dag, state="running")
    put_task("teaser", "make", "queued")
    old = instance().id
    assert api.task_instances.start(old, 1, datetime.now(UTC)).xcom_keys_to_clear == []
    api.xcoms.set("teaser", RUN, "make", "magic_hour.intent.ABCDEFGH", {})
    with create_session() as session:
        clear_task_instances([session.get(TaskInstance, old)], session)
    if hasattr(api, "task_state_store"):
        with pytest.raises(ServerResponseError, match=r"[Nn]ot found"):
            api.task_state_store.set(old, "magic_hour.job", {}, None)
    api.xcoms.set("teaser", RUN, "make", "magic_hour.job.paid7", {"kind": "image"})
    put_task("teaser", "make", "queued")
    assert instance().id != old
    context = api.task_instances.start(instance().id, 2, datetime.now(UTC))
    earlier = EarlierXComs.of(SimpleNamespace(_ti_context_from_server=context))
    assert earlier == EarlierXComs(("ABCDEFGH",), ("paid7",), is_known=True)
