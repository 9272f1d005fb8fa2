"""When a worker's wait is worth no worker: what the triggerer waits for in its place."""

from __future__ import annotations

import math
from dataclasses import replace

from airflow.providers.common.compat.sdk import conf

from magic_hour_provider.batch.spec import BatchDeferral, BatchSpec, Passage
from magic_hour_provider.batch.window.board import ItemBoard


def find_deferral(spec: BatchSpec, board: ItemBoard, passage: Passage, deadline: float | None) -> BatchDeferral | None:
    """Return what is left to wait for, where nothing else is left to do; None: the worker stays.

    It stays while the end of a job is near, or what another worker is about to record, unless nothing has come of that
    for as long.

    :param board: with nothing in flight.
    :param passage: of the worker before.
    :param deadline: when Airflow's ``execution_timeout`` ends the attempt, in seconds since 1970; None: it does not.
    """
    polls, payments = board.polls, board.payments
    awaited, now = polls.awaited, polls.now()
    if not spec.deferrable or payments.paused_until is not None or not (awaited or board.waiting):
        return None
    inline = conf.getfloat("magic_hour", "inline_wait_seconds", fallback=30.0)
    if awaited and polls.next_end - now <= inline and now - polls.changed_at <= inline:
        return None
    wake_by = None
    if board.waiting and (wake_by := board.find_settled_at(inline)) is None:
        return None
    ends_at = max([one.polls.deadline for one in awaited] or [wake_by or now])
    limit = math.inf if deadline is None else deadline
    return BatchDeferral(
        [[one.job.record.job_id, one.submitted_at] for one in polls.active.values()],
        deadline=min(ends_at, limit),
        # A worker's start is dear: it is worth half of a window.
        wake_at=max(1, len(awaited) if payments.is_over else math.ceil(len(awaited) / 2)),
        wake_by=None if wake_by is None else min(wake_by, limit),
        passage=replace(
            passage,
            stop_reason=payments.stop_reason,
            is_stop_retryable=payments.is_stop_retryable,
            waiting_since=board.waiting_since,
        ),
    )
