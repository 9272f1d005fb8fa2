"""Many runs of a DAG in Airflow's database, written at once, with what their tasks have reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.utils.session import create_session

from helpers.airflow_rows import NOON, put_run
from magic_hour_provider.operators.magic_hour import MagicHourOperator

TASKS = ("picture", "film", "sound")
TOOLS = {"picture": "ai-image-generator", "film": "text-to-video", "sound": "ai-voice-generator"}
REQUEST = {"style": {"prompt": "a lighthouse at dawn, long exposure, soft light " * 5}, "image_count": 1}

Reported = Mapping[tuple[str, str], Any]
"""XComs of a run by their task and key."""


def spend_dag(dag_id: str, tasks: Sequence[str] = TASKS) -> DAG:
    """Return a DAG with some tasks that may pay."""
    with DAG(dag_id, schedule=None) as dag:
        for task_id in tasks:
            MagicHourOperator(task_id=task_id, tool="ai-image-generator", request=REQUEST)
    return dag


def paid_job(job_id: str, credits: Any = 5, tool: str = "ai-image-generator", **more: Any) -> dict[str, Any]:
    """Return what an operator reports of a job that is complete."""
    times = {"submitted_at": "2026-11-25T08:00:00+00:00", "ended_at": "2026-11-25T08:00:09+00:00", "polls": 3}
    job = {"tool": tool, "id": job_id, "request": REQUEST, "status": "complete", "credits_charged": credits}
    return job | times | more


def three_jobs(number: int) -> Reported:
    """Return what a run reports whose tasks have made a picture, a film and a sound: for 5, 120 and 3 credits."""
    credits = {"picture": 5, "film": 120, "sound": 3}
    return {
        (task_id, "magic_hour_job"): paid_job(f"{task_id}{number}", credits[task_id], TOOLS[task_id])
        for task_id in TASKS
    }


def name_run(number: int) -> str:
    """Return the run's id."""
    return f"run-{number:04}"


def put_spend(dag: DAG, reported: Sequence[Reported], *, state: str = "success") -> list[int]:
    """Write one run for each of ``reported``, an hour after the one before, in place of those that the DAG has.

    :returns: the row ids of all.
    """
    first = name_run(0)
    with create_session() as session:
        session.execute(sa.delete(DagRun.__table__).where(DagRun.dag_id == dag.dag_id))
    put_run(dag, first, state=state)
    runs, instances, xcoms = DagRun.__table__, TaskInstance.__table__, XComModel.__table__
    numbers = range(1, len(reported))
    with create_session() as session:
        where = {"dag_id": dag.dag_id, "run_id": first}
        run = dict(session.execute(sa.select(runs).filter_by(**where)).mappings().one())
        tasks = [dict(row) for row in session.execute(sa.select(instances).filter_by(**where)).mappings()]
        for row in (run, *tasks):
            del row["id"]
        more = [
            run | {"run_id": name_run(number), "logical_date": None, "run_after": NOON + timedelta(hours=number)}
            for number in numbers
        ]
        if more:
            session.execute(sa.insert(runs), more)
            session.execute(sa.insert(instances), [task | {"run_id": name_run(n)} for n in numbers for task in tasks])
        ids = dict(session.execute(sa.select(runs.c.run_id, runs.c.id).where(runs.c.dag_id == dag.dag_id)).all())
        row_ids = [ids[name_run(number)] for number in range(len(reported))]
        values = [
            {"dag_id": dag.dag_id, "dag_run_id": row_id, "run_id": name_run(number), "task_id": task_id}
            | {"map_index": -1, "key": key, "value": value}
            for number, (row_id, given) in enumerate(zip(row_ids, reported, strict=True))
            for (task_id, key), value in given.items()
        ]
        if values:
            session.execute(sa.insert(xcoms), values)
    return row_ids
