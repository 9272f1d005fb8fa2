"""Put task instances straight into Airflow's database as deferred: thousands of waiting tasks, without their starts.

Runs in the environment of the Airflow whose database it is, and reads what to put there as JSON from standard input.
The DAG and one run of it exist already; it should be paused, so that nobody starts what its triggers resume.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def put_deferred(
    environment: Mapping[str, str],
    *,
    dag_id: str,
    run_id: str,
    task_id: str,
    method: str,
    triggers: Sequence[tuple[str, Mapping[str, Any]]],
    per_second: int = 0,
) -> None:
    """Put task instances there, in a process of that Airflow.

    :param environment: that of its processes
    :param task_id: the task; its instances of this run are replaced, with map indices from 0
    :param method: the operator's method to be resumed
    :param triggers: for each task instance, what its trigger's ``serialize`` returned
    :param per_second: so many in each second; 0: all at once
    """
    order = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "method": method, "triggers": list(triggers)}
    order["per_second"] = per_second
    _run(environment, "put", order)


def states(environment: Mapping[str, str], dag_id: str, run_id: str) -> Counter[str]:
    """Return how many task instances of a run are in which state, read from the database."""
    counted: Counter[str] = Counter()
    for row in resumed(environment, dag_id, run_id):
        counted[row["state"]] += 1
    return counted


def resumed(environment: Mapping[str, str], dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Return the task instances of a run: map index, state, id of the triggerer, and the event that resumed it."""
    return list(_run(environment, "tell", {"dag_id": dag_id, "run_id": run_id}))


def _run(environment: Mapping[str, str], what: str, order: Mapping[str, Any]) -> Any:
    command = [sys.executable, str(Path(__file__).resolve()), what]
    done = subprocess.run(
        command, env=dict(environment), input=json.dumps(order), capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        raise RuntimeError(f"{what} ended with {done.returncode}. It wrote:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _put(session: Any, order: dict[str, Any]) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.utils import timezone
    from sqlalchemy import delete, select

    dag = SerializedDagModel.get_dag(order["dag_id"], session=session)
    run = session.scalar(select(DagRun).filter_by(dag_id=order["dag_id"], run_id=order["run_id"]))
    task, version = dag.get_task(order["task_id"]), run.created_dag_version_id
    of_task = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": order["task_id"]}
    session.execute(delete(TaskInstance).filter_by(**of_task))
    now = timezone.utcnow()
    for index, (classpath, kwargs) in enumerate(order["triggers"]):
        trigger = Trigger(classpath=classpath, kwargs=kwargs)
        ti = TaskInstance(task, dag_version_id=version, run_id=run.run_id, state="deferred", map_index=index)
        ti.try_number, ti.start_date = 1, now
        ti.next_method, ti.next_kwargs, ti.trigger = order["method"], {}, trigger
        session.add(ti)
        if order["per_second"] and (index + 1) % order["per_second"] == 0:
            session.commit()
            time.sleep(1)


def _tell(session: Any, order: dict[str, Any]) -> list[dict[str, Any]]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from sqlalchemy import select

    try:
        from airflow.sdk.serde import deserialize
    except ImportError:  # Airflow 3.1, whose column has done it
        deserialize = dict

    query = (
        select(TaskInstance.map_index, TaskInstance.state, Trigger.triggerer_id, TaskInstance.next_kwargs)
        .outerjoin(Trigger, Trigger.id == TaskInstance.trigger_id)
        .where(TaskInstance.dag_id == order["dag_id"], TaskInstance.run_id == order["run_id"])
        .order_by(TaskInstance.map_index)
    )
    rows = []
    for index, state, triggerer, kwargs in session.execute(query):
        event = (deserialize(kwargs) if kwargs else {}).get("event")
        rows.append({"map_index": index, "state": state, "triggerer": triggerer, "event": event})
    return rows


def main() -> None:
    """Do what the argument says with the order on standard input."""
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"  # as the triggerer's own process has it
    from airflow.utils.session import create_session

    order = json.load(sys.stdin)
    with create_session() as session:
        answer = {"put": _put, "tell": _tell}[sys.argv[1]](session, order)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
