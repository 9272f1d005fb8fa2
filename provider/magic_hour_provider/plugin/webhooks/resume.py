"""Resumes the tasks that wait for a job, in the way of Airflow's own human-in-the-loop route.

It does what a trigger's event does, from the API server: ``update_hitl_detail`` in
``airflow/api_fastapi/core_api/routes/public/hitl.py``, with ``handle_event_submit`` in ``airflow/models/trigger.py``.
Neither is a public interface. Tested on Airflow 3.3.2, 3.2.2 and 3.1.8, with SQLite and PostgreSQL. Whatever has
changed there is logged, and left to the trigger, which finds every end by polling.

A trigger's event is written without a lock (``Trigger.submit_event``): the triggerer reads the deferred task, and some
milliseconds later makes it scheduled, whatever it has become. Were it resumed here in between, and queued by a
scheduler, it would be resumed once more. So it is first moved to a placeholder: another trigger, where the first one's
event does not find it, and whose own event is held back by the resume delay. It is resumed a moment later, if it still
waits then.

A moment may not be enough: a triggerer may be held up after it has read, on SQLite for seconds, as it waits for the one
write lock. In each round it first writes the results of events and then removes the triggers that no task has
(``Trigger.clean_unused``). So the task is resumed only when the first trigger is gone; on PostgreSQL also if that takes
very long, as without any triggerer. A second triggerer removes it as well: then it is the moment that counts.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from magic_hour_provider.api.models import COMPLETE, ERROR
from magic_hour_provider.api.webhooks import Delivery
from magic_hour_provider.plugin.airflow_internals import (
    TaskInstance,
    TaskInstanceState,
    Trigger,
    TriggerEvent,
    XComModel,
    create_session,
    handle_event_submit,
)
from magic_hour_provider.plugin.webhooks.database import DATABASE_UNAVAILABLE, lock_row
from magic_hour_provider.plugin.webhooks.delivery_state import DeliveryState, Handoff
from magic_hour_provider.plugin.webhooks.secrets import find_account_difference
from magic_hour_provider.triggers.resume_delay import min_resume_delay_s, resume_delay_s
from magic_hour_provider.xcoms import submitted_xcom

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

TRIGGER_CLASSPATH = "magic_hour_provider.triggers.job.MagicHourJobTrigger"
GRACE_S = 0.5
"""Minimum time, in seconds, for a triggerer that has read a task as deferred to write its result. Of several
triggerers, one that is held up for longer may still resume a task once more, which costs one more poll and nothing
else: the record of what was paid is the same."""
_MAX_ROUND_S = 3.0
"""On PostgreSQL, a triggerer's round that takes longer is not waited for."""

_JOB_STATUS = {"completed": COMPLETE, "errored": ERROR}


@dataclass(frozen=True)
class ResumeResult:
    """Result of one check of the tasks that wait for a job.

    :param resumed: names of the tasks that were resumed now.
    :param delay_s: seconds until the tasks should be checked again; None: nothing is left to do.
    """

    resumed: tuple[str, ...] = ()
    delay_s: float | None = None


def resume_tasks(delivery: Delivery, conn_id: str, state: DeliveryState, now: float) -> ResumeResult:
    """Resume every task that is deferred until this job ends; each takes at least two calls.

    Only tasks of the delivery's account: any other account may have a job of this id, and its own secret.

    :param conn_id: the connection whose secret signed the delivery.
    :param now: the time, in seconds since 1970.
    :raises DATABASE_UNAVAILABLE: the database does not answer; a retry may succeed.
    """
    status = _JOB_STATUS.get(delivery.event)
    if status is None:
        # "started" says nothing that a waiting task needs.
        return ResumeResult()
    event = {"kind": delivery.kind, "id": delivery.id, "status": status, "error_code": delivery.error_code}
    with create_session(scoped=False) as session:
        owners = session.execute(tasks_with_job(delivery.id)).all()
    resumed, delays = [], []
    for ti_id, ti_state in owners:
        if ti_state == TaskInstanceState.DEFERRED:
            result = _resume_task(ti_id, event, conn_id, state, now)
            if isinstance(result, str):
                resumed.append(result)
            elif result is not None:
                delays.append(result)
        elif ti_state == TaskInstanceState.RUNNING:
            delays.append(min_resume_delay_s())  # it may be about to defer, after a poll from before the job's end
    if not owners:
        delays.append(min_resume_delay_s())  # the task may be about to report its job
    return ResumeResult(tuple(resumed), min(delays, default=None))


def tasks_with_job(job_id: str) -> Any:
    """Return the query for the task instances that have reported a job as theirs: XCom keys are indexed."""
    same_task = and_(
        TaskInstance.dag_id == XComModel.dag_id,
        TaskInstance.run_id == XComModel.run_id,
        TaskInstance.task_id == XComModel.task_id,
        TaskInstance.map_index == XComModel.map_index,
    )
    columns = select(TaskInstance.id, TaskInstance.state)
    return columns.join(XComModel, same_task).where(XComModel.key == submitted_xcom(job_id))


def _resume_task(
    ti_id: Any, event: dict[str, Any], conn_id: str, state: DeliveryState, now: float
) -> str | float | None:
    """Return the name of the task that was resumed, or the seconds that it must be left alone, or None."""
    try:
        if not _is_of_account(ti_id, event, conn_id, state):
            return None
        with create_session(scoped=False) as session:
            ti = lock_row(session, TaskInstance, ti_id)
            trigger = _job_trigger(session, ti, event)
            if ti is None or trigger is None or not state.same_account.get(trigger.kwargs["conn_id"]):
                return None
            handoff = state.handoffs.get(trigger.id)
            if handoff is None:
                deferred_at = min(_deferred_at(trigger), state.first_seen_at.setdefault(trigger.id, now))
                if (delay := resume_delay_s(deferred_at, now)) > 0:
                    return delay
                placeholder = _add_placeholder(session, trigger, now)
                ti.trigger_id = placeholder.id
                session.commit()
                state.handoffs[placeholder.id] = Handoff(trigger.id, now)
                return GRACE_S
            waited_s = now - handoff.at
            is_sqlite = session.get_bind().dialect.name == "sqlite"
            if session.get(Trigger, handoff.trigger_id) is not None and (is_sqlite or waited_s < _MAX_ROUND_S):
                return max(GRACE_S, waited_s)  # as long again as it has taken so far
            method = ti.next_method
            handle_event_submit(TriggerEvent(event), task_instance=ti, session=session)
            if (ti.state, ti.next_method) != (TaskInstanceState.SCHEDULED, method):
                # Airflow fails a task whose arguments it cannot read: that is left to the trigger's own event.
                session.rollback()
                raise ValueError(f"Airflow made it {ti.state}, to resume with {ti.next_method}")
            return f"{ti.dag_id}.{ti.task_id} [{ti.map_index}] of {ti.run_id}"
    except DATABASE_UNAVAILABLE:
        raise
    except Exception:
        log.exception("The task that waits for Magic Hour job %s is left to its trigger.", event["id"])
        return None


def _is_of_account(ti_id: Any, event: dict[str, Any], conn_id: str, state: DeliveryState) -> bool:
    """Whether a task's connection belongs to the delivery's account. Without a lock: secrets may come slowly."""
    with create_session(scoped=False) as session:
        trigger = _job_trigger(session, session.get(TaskInstance, ti_id), event)
        own = trigger.kwargs["conn_id"] if trigger is not None else None
    if own is None:
        return False
    if own not in state.same_account:
        difference = find_account_difference(own, conn_id)
        state.same_account[own] = difference is None
        if difference is not None:
            log.warning(
                "The task that waits for Magic Hour job %s is left to its trigger: %s.", event["id"], difference
            )
    return state.same_account[own]


def _job_trigger(session: Session, ti: TaskInstance | None, event: dict[str, Any]) -> Trigger | None:
    """Return the trigger on which the task is deferred, if it is ours and waits for this job."""
    if ti is None or ti.state != TaskInstanceState.DEFERRED or ti.trigger_id is None:
        return None
    trigger = session.get(Trigger, ti.trigger_id)
    if trigger is None or trigger.classpath != TRIGGER_CLASSPATH:
        return None
    # Encrypted with the Fernet key, where there is one.
    kwargs = trigger.kwargs
    return trigger if (kwargs["kind"], kwargs["job_id"]) == (event["kind"], event["id"]) else None


def _deferred_at(trigger: Trigger) -> float:
    """Return when the task deferred, by the later of two clocks: the worker's may be behind the API server's."""
    created = trigger.created_date
    return max(float(trigger.kwargs["deferred_at"]), created.timestamp() if created else 0.0)


def _add_placeholder(session: Session, trigger: Trigger, now: float) -> Trigger:
    """Add a copy of a trigger, which keeps polling the job if nothing comes of this delivery, as after a restart."""
    placeholder = Trigger(classpath=trigger.classpath, kwargs={**trigger.kwargs, "deferred_at": now})
    for name in ("queue", "team_name"):  # not in every Airflow
        if hasattr(trigger, name):
            setattr(placeholder, name, getattr(trigger, name))
    session.add(placeholder)
    session.flush()
    return placeholder
