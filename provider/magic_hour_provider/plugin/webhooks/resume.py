"""Resumes the tasks that wait for a job, in the way of Airflow's own human-in-the-loop route.

It does what a trigger's event does, from the API server: ``update_hitl_detail`` in
``airflow/api_fastapi/core_api/routes/public/hitl.py``, with ``handle_event_submit`` in ``airflow/models/trigger.py``.
Neither is a public interface. Tested on Airflow 3.3.2, 3.2.2 and 3.1.8, with SQLite and PostgreSQL. Whatever is not
as it is there is logged, and left to the watcher, which finds every end by looking.

A trigger's event is written without a lock (``Trigger.submit_event``): the triggerer reads the deferred task, and some
milliseconds later makes it scheduled, whatever it has become. Were it resumed here in between, and queued by a
scheduler, it would be resumed once more. So it is first handed to another trigger, whose event the settling rule holds
back, where the first one's event does not find it; and it is resumed a moment later, if it still waits then.

A moment may not do: a triggerer may be held up after it has read, on SQLite for seconds, as it waits for the one lock
of writers. In each round it first writes what came of events and then removes the triggers that no task has
(``Trigger.clean_unused``). So the task is resumed only when the first trigger is gone; on PostgreSQL also if that takes
very long, as with no triggerer at work. A second triggerer removes it as well: then it is the moment that counts.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger, handle_event_submit
from airflow.models.xcom import XComModel
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import and_, select

from magic_hour_provider.api.models import COMPLETE, ERROR
from magic_hour_provider.api.webhooks import Delivery
from magic_hour_provider.plugin.webhooks.database import DATABASE_AWAY, locked
from magic_hour_provider.plugin.webhooks.delivery_state import HandedOver, Memory
from magic_hour_provider.triggers.resume_delay import settling_s, shortest_s

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

TRIGGER = "magic_hour_provider.triggers.job.MagicHourJobTrigger"
GRACE_S = 0.5
"""Seconds for a triggerer that has read a task as deferred to write what it makes of that, at the least. Of several
triggerers, one that is held up for longer may still resume a task once more, which costs a second look and nothing
else: the record of what was paid is the same."""
_LONGEST_ROUND_S = 3.0
"""A triggerer's round that takes longer is not waited for on PostgreSQL."""

_STATUS = {"completed": COMPLETE, "errored": ERROR}


@dataclass(frozen=True)
class Found:
    """The tasks that are known to wait for a job.

    :param resumed: those that were resumed now.
    :param known: whether any task has named the job as its own.
    :param wait_s: seconds until it is worth to look again; None: nothing is left to do.
    """

    resumed: tuple[str, ...] = ()
    known: bool = False
    wait_s: float | None = None


def resume(delivery: Delivery, memory: Memory, now: float) -> Found:
    """Resume every task that is deferred until this job ends; it takes two looks at the least.

    :param now: the time, in seconds since 1970.
    :raises DATABASE_AWAY: the database does not answer; another try may find it back.
    """
    status = _STATUS.get(delivery.event)
    if status is None:
        # "started" tells a waiting task nothing.
        return Found()
    event = {"kind": delivery.kind, "id": delivery.id, "status": status, "error_code": delivery.error_code}
    with create_session(scoped=False) as session:
        waiting = session.execute(tasks_of(delivery.id)).all()
    resumed, waits = [], []
    for ti_id, state in waiting:
        if state == TaskInstanceState.DEFERRED:
            done = _resume_one(ti_id, event, memory, now)
            if isinstance(done, str):
                resumed.append(done)
            elif done is not None:
                waits.append(done)
        elif state == TaskInstanceState.RUNNING:
            waits.append(shortest_s())  # it may be about to defer, on what it saw before the job ended
    if not waiting:
        waits.append(shortest_s())  # it may be about to say which job it has
    return Found(tuple(resumed), bool(waiting), min(waits, default=None))


def tasks_of(job_id: str) -> Any:
    """Return the query for the task instances that have named a job as theirs: XCom keys are indexed."""
    same = and_(
        TaskInstance.dag_id == XComModel.dag_id,
        TaskInstance.run_id == XComModel.run_id,
        TaskInstance.task_id == XComModel.task_id,
        TaskInstance.map_index == XComModel.map_index,
    )
    columns = select(TaskInstance.id, TaskInstance.state)
    return columns.join(XComModel, same).where(XComModel.key == f"magic_hour.job.{job_id}")


def _resume_one(ti_id: Any, event: dict[str, Any], memory: Memory, now: float) -> str | float | None:
    """Return the name of the task that was resumed, or the seconds that it must be left alone, or None."""
    try:
        with create_session(scoped=False) as session:
            ti = locked(session, TaskInstance, ti_id)
            trigger = _own_trigger(session, ti, event)
            if ti is None or trigger is None:
                return None
            handed_over = memory.stand_ins.get(trigger.id)
            if handed_over is None:
                deferred_at = min(_deferred_at(trigger), memory.met_at.setdefault(trigger.id, now))
                if (wait := settling_s(deferred_at, now)) > 0:
                    return wait
                stand_in = _stand_in(session, trigger, now)
                ti.trigger_id = stand_in.id
                session.commit()
                memory.stand_ins[stand_in.id] = HandedOver(trigger.id, now)
                return GRACE_S
            waited_s = now - handed_over.at
            is_sqlite = session.get_bind().dialect.name == "sqlite"
            if session.get(Trigger, handed_over.trigger_id) is not None and (is_sqlite or waited_s < _LONGEST_ROUND_S):
                return max(GRACE_S, waited_s)  # as long again as it has taken so far
            method = ti.next_method
            handle_event_submit(TriggerEvent(event), task_instance=ti, session=session)
            if (ti.state, ti.next_method) != (TaskInstanceState.SCHEDULED, method):
                # Airflow fails a task whose arguments it cannot read: that is not for us to bring about.
                session.rollback()
                raise ValueError(f"Airflow made it {ti.state}, to go on with {ti.next_method}")
            return f"{ti.dag_id}.{ti.task_id} [{ti.map_index}] of {ti.run_id}"
    except DATABASE_AWAY:
        raise
    except Exception:
        log.exception("The task that waits for Magic Hour job %s is left to its trigger.", event["id"])
        return None


def _own_trigger(session: Session, ti: TaskInstance | None, event: dict[str, Any]) -> Trigger | None:
    """Return the trigger on which the task is deferred, if it is ours and waits for this job."""
    if ti is None or ti.state != TaskInstanceState.DEFERRED or ti.trigger_id is None:
        return None
    trigger = session.get(Trigger, ti.trigger_id)
    if trigger is None or trigger.classpath != TRIGGER:
        return None
    # Encrypted with the Fernet key, where there is one.
    kwargs = trigger.kwargs
    return trigger if (kwargs["kind"], kwargs["job_id"]) == (event["kind"], event["id"]) else None


def _deferred_at(trigger: Trigger) -> float:
    """Return when the task deferred, by the later of two clocks: the worker's may be behind Airflow's API server's."""
    created = trigger.created_date
    return max(float(trigger.kwargs["deferred_at"]), created.timestamp() if created else 0.0)


def _stand_in(session: Session, trigger: Trigger, now: float) -> Trigger:
    """Add a trigger that goes on waiting for the job if nothing comes of this delivery, as after a restart."""
    made = Trigger(classpath=trigger.classpath, kwargs={**trigger.kwargs, "deferred_at": now})
    for name in ("queue", "team_name"):  # not in every Airflow
        if hasattr(trigger, name):
            setattr(made, name, getattr(trigger, name))
    session.add(made)
    session.flush()
    return made
