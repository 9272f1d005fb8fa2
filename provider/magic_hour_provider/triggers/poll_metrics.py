"""Metrics of polling, sent through Airflow's own (StatsD or OpenTelemetry, as ``[metrics]`` says).

They are gathered here and sent every ten seconds from a thread: Airflow's first use of its metrics in a process reads
files and may resolve a host name, which would block the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta
from typing import Any

from magic_hour_provider.airflow_internals import MissingInternalError
from magic_hour_provider.metrics import ACTIVE_JOBS, COMPLETION_LATENCY

stats: Any
try:
    # Not the task SDK's, which common-compat names: in a triggerer only this one is set up (seen on 3.3.2).
    from magic_hour_provider.airflow_internals import stats as _module

    stats = (
        _module if hasattr(_module, "gauge") else getattr(_module, "Stats", None)
    )  # functions since 3.3, a class before
except MissingInternalError:  # Airflow 3.1
    try:
        from magic_hour_provider.airflow_internals import Stats

        stats = Stats
    except MissingInternalError:
        stats = None

log = logging.getLogger(__name__)

_INTERVAL_S = 10.0


class PollMetrics:
    """Metrics of one poller.

    :param conn_id: its connection, which tags them.
    """

    def __init__(self, conn_id: str) -> None:
        self._tags = {"conn_id": conn_id}
        self._counts: Counter[str] = Counter()
        self._latencies: list[float] = []
        self._sent_at = float("-inf")

    def count(self, name: str) -> None:
        """Count one."""
        self._counts[name] += 1

    def record_latency(self, seconds: float) -> None:
        """Record how long after its completion a job's event is sent."""
        self._latencies.append(seconds)

    def is_due(self, now: float) -> bool:
        """Whether they are to be sent."""
        return now - self._sent_at >= _INTERVAL_S

    def send(self, jobs: int, now: float) -> asyncio.Future[None]:
        """Send them from a thread.

        :param jobs: how many jobs are polled.
        """
        self._sent_at = now
        counts, self._counts = self._counts, Counter()
        latencies, self._latencies = self._latencies, []
        return asyncio.get_running_loop().run_in_executor(None, self._write, jobs, counts, latencies)

    def _write(self, jobs: int, counts: Counter[str], latencies: list[float]) -> None:
        if stats is None:
            return
        try:
            stats.gauge(ACTIVE_JOBS, jobs, tags=self._tags)
            for name, count in counts.items():
                stats.incr(name, count, tags=self._tags)
            for seconds in latencies:
                stats.timing(COMPLETION_LATENCY, timedelta(seconds=seconds), tags=self._tags)
        except Exception:
            # Metrics inform: no wait ends for them.
            log.exception("The metrics of waiting jobs could not be sent; no job is affected.")
