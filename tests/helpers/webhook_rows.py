"""The rows that an Airflow would have, and what its triggerer does to them."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from airflow.utils.session import create_session

from helpers.jobs import trigger_arguments
from helpers.waiting import until
from magic_hour_provider.ledger.record import KEY, Record

TRIGGER_CLASSPATH = "magic_hour_provider.triggers.job.MagicHourJobTrigger"
DAG_ID, RUN_ID = "teaser", "manual__2026-11-25"


@dataclass
class Row:
    """A task instance as the database has it."""

    state: str
    trigger_id: int | None
    next_method: str | None
    next_kwargs: Any


class Airflow:
    """Writes rows as Airflow does, and reads them."""

    def __init__(self, dialect: str) -> None:
        from airflow.models.asset import (
            AssetActive,
            AssetDagRunQueue,
            AssetEvent,
            AssetModel,
            DagScheduleAssetReference,
        )
        from airflow.models.dag import DagModel
        from airflow.models.dagbundle import DagBundleModel
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.trigger import Trigger
        from airflow.models.xcom import XComModel

        self.dialect = dialect
        self.ti, self.trigger, self.xcom, self.run = TaskInstance, Trigger, XComModel, DagRun
        self.assets, self.active, self.events, self.queue = AssetModel, AssetActive, AssetEvent, AssetDagRunQueue
        self.dags, self.bundles, self.schedules = DagModel, DagBundleModel, DagScheduleAssetReference
        self.tables = [
            AssetDagRunQueue, AssetEvent, DagScheduleAssetReference, AssetActive, AssetModel, XComModel,
            TaskInstance, Trigger,
        ]  # fmt: skip
        self.records: Any = None
        try:
            from airflow.models.task_state_store import TaskStateStoreModel
        except ImportError:  # Airflow before 3.3
            pass
        else:
            self.records = TaskStateStoreModel
            self.tables.insert(0, TaskStateStoreModel)
        self.tables += [DagRun, DagModel, DagBundleModel]

    def empty(self) -> None:
        """Remove every row, and make the one run that all tasks are in."""
        with create_session(scoped=False) as session:
            for table in self.tables:
                session.execute(sa.delete(table))
            run = {"dag_id": DAG_ID, "run_id": RUN_ID, "run_type": "manual", "run_after": datetime.now(UTC)}
            session.execute(sa.insert(self.run).values(**run, clear_number=0))
            self.run_id = session.scalar(sa.select(self.run.id))

    def task(
        self,
        job_id: str = "job1",
        *,
        task_id: str | None = None,
        state: str = "deferred",
        deferred_at: float | None = None,
        kind: str = "video",
        trigger: str = TRIGGER_CLASSPATH,
        waits_for: str | None = None,
        conn_id: str = "magic_hour_default",
        keys: tuple[str, ...] | None = None,
        created_at: float | None = None,
        said: Any = None,
    ) -> Any:
        """Add a task instance that has this job; return its id.

        :param deferred_at: in seconds since 1970; a minute ago if not given.
        :param waits_for: the job that its trigger waits for, if another one.
        :param conn_id: the connection with which its trigger polls.
        :param keys: of its XComs, if others than those that the operator pushes.
        :param created_at: when the API server wrote its trigger, in seconds since 1970, if its clock differs.
        :param said: the value of its XComs.
        """
        ti_id = self.ti.__table__.c.id.default.arg(None)
        where = {"dag_id": DAG_ID, "run_id": RUN_ID, "task_id": task_id or f"task_{job_id}", "map_index": -1}
        deferred_at = time.time() - 60 if deferred_at is None else deferred_at
        with create_session(scoped=False) as session:
            trigger_id = None
            if state == "deferred":
                kwargs = trigger_arguments(waits_for or job_id, deferred_at, kind=kind, conn_id=conn_id)
                created = datetime.fromtimestamp(min(created_at or deferred_at, time.time()), UTC)
                row = self.trigger(classpath=trigger, kwargs=kwargs, created_date=created)
                session.add(row)
                session.flush()
                trigger_id = row.id
            session.execute(
                sa.insert(self.ti).values(
                    id=ti_id,
                    **where,
                    state=state,
                    try_number=1,
                    max_tries=0,
                    pool="default_pool",
                    trigger_id=trigger_id,
                    next_method="execute_complete" if trigger_id else None,
                    next_kwargs={"deadline": deferred_at + 3600} if trigger_id else None,
                )
            )
            for key in (f"magic_hour.job.{job_id}",) if keys is None else keys:
                session.execute(sa.insert(self.xcom).values(dag_run_id=self.run_id, **where, key=key, value=said or {}))
        return ti_id

    def defer(self, ti_id: Any, like: Any) -> None:
        """Defer a task instance on the trigger of another one, which gives it up."""
        with create_session(scoped=False) as session:
            other = session.get(self.ti, like)
            values = {"trigger_id": other.trigger_id, "next_method": other.next_method}
            session.execute(
                sa.update(self.ti)
                .where(self.ti.id == ti_id)
                .values(state="deferred", next_kwargs=other.next_kwargs, **values)
            )
            session.execute(sa.update(self.ti).where(self.ti.id == like).values(state="removed", trigger_id=None))

    def row(self, ti_id: Any) -> Row:
        """Read a task instance."""
        columns = (self.ti.state, self.ti.trigger_id, self.ti.next_method, self.ti.next_kwargs)
        with create_session(scoped=False) as session:
            return Row(*session.execute(sa.select(*columns).where(self.ti.id == ti_id)).one())

    def intent(self, tag: str, conn_id: str | None = "magic_hour_default", xcom: Any = None, **fields: Any) -> None:
        """Add the record of a task's intent, and the XCom that tells whose it is.

        :param conn_id: as the record names it; None: it is of an older version.
        :param xcom: the value of the XCom.
        """
        record = Record("intent", "text-to-video", "video", tag, {"style.prompt": "abc"}, name=f"teaser #{tag}")
        self.store(record.to_json() | {"conn_id": conn_id} | fields)
        xcom = {"conn_id": conn_id} if xcom is None else xcom
        self.task(task_id="lost", state="up_for_retry", keys=(f"magic_hour.intent.{tag}",), said=xcom)

    def store(self, value: Any) -> None:
        """Put a value where the task ``lost`` keeps its record."""
        where = {"dag_id": DAG_ID, "run_id": RUN_ID, "task_id": "lost", "map_index": -1}
        with create_session(scoped=False) as session:
            session.execute(
                sa.insert(self.records).values(dag_run_id=self.run_id, **where, key=KEY, value=json.dumps(value))
            )

    def record(self) -> Any:
        """Read the record of the task ``lost``."""
        with create_session(scoped=False) as session:
            return json.loads(session.scalar(sa.select(self.records.value)))

    def asset(self, uri: str, dag_id: str = "archive", *, active: bool = True) -> None:
        """Add an asset, and a DAG that is scheduled on it."""
        with create_session(scoped=False) as session:
            asset = self.assets(name=f"{uri} of {dag_id}", uri=uri)
            session.add(asset)
            if session.get(self.bundles, "dags") is None:
                session.add(self.bundles(name="dags"))
            session.flush()
            session.add(self.dags(dag_id=dag_id, bundle_name="dags", is_paused=False))
            session.flush()
            session.add(self.schedules(asset_id=asset.id, dag_id=dag_id))
            if active:
                session.add(self.active.for_asset(asset))

    def asset_events(self) -> list[dict[str, Any]]:
        """Read what the asset events say."""
        with create_session(scoped=False) as session:
            return list(session.scalars(sa.select(self.events.extra).order_by(self.events.id)))

    def queued(self) -> list[str]:
        """Read which DAGs will run because of asset events."""
        with create_session(scoped=False) as session:
            return list(session.scalars(sa.select(self.queue.target_dag_id)))

    def contents(self) -> dict[str, Any]:
        """Read all that a delivery could change."""
        with create_session(scoped=False) as session:
            return {
                table.__tablename__: sorted(map(repr, session.execute(sa.select(*table.__table__.columns)).all()))
                for table in self.tables
            }


class Triggerer(threading.Thread):
    """Does what a triggerer does in the database: it writes what came of events, and removes unused triggers."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.events: deque[tuple[int, Any]] = deque()
        """Ids of triggers and their events, to be written."""
        self._rounds = 0
        self._ended = threading.Event()

    def run(self) -> None:
        """Go round until stopped."""
        from airflow.models.trigger import Trigger

        while not self._ended.wait(0.01):
            try:
                while self.events:
                    Trigger.submit_event(*self.events[0])
                    self.events.popleft()
                Trigger.clean_unused()
            except sa.exc.OperationalError:  # SQLite, when two write at once; in the next round
                continue
            self._rounds += 1

    def go_round(self) -> None:
        """Wait until it has begun a round and ended it."""
        last = self._rounds + 2  # one may be under way
        until(lambda: self._rounds >= last)

    def end(self) -> None:
        """Stop it."""
        self._ended.set()
        self.join()
