"""When an attempt gives up. Airflow enforces ``execution_timeout`` on the worker alone, so a deferred wait has to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from magic_hour_provider import clock


@dataclass(frozen=True)
class Deadline:
    """The end of an attempt's wait.

    :param at: in seconds since 1970.
    :param by_execution_timeout: whether Airflow's ``execution_timeout`` ends it, not the timeout of our own.
    """

    at: float
    by_execution_timeout: bool = False

    @classmethod
    def of(cls, timeout_s: float, execution_timeout: timedelta | None, ti: Any) -> Self:
        """Return the earlier of two ends: of our own timeout, from now, and of the attempt's ``execution_timeout``.

        :param execution_timeout: of the task, from the start of the attempt; None: it has none.
        :param ti: Airflow's task instance.
        """
        now = clock.current().now()
        if execution_timeout is None:
            return cls(now + timeout_s)
        started_at = ti.start_date.timestamp() if ti.start_date is not None else now
        limit = started_at + execution_timeout.total_seconds()
        return cls(limit, by_execution_timeout=True) if limit <= now + timeout_s else cls(now + timeout_s)

    def to_kwargs(self) -> dict[str, Any]:
        """Return the arguments of ``execute_complete`` that bring it through a deferral.

        ``by_execution_timeout`` is there only where it is true: users' own classes override the method without it.
        """
        return {"deadline": self.at} | ({"by_execution_timeout": True} if self.by_execution_timeout else {})
