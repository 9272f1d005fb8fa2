"""Metrics of polling, as Airflow's own receive them."""

from __future__ import annotations

import threading
from collections import Counter
from types import SimpleNamespace

import httpx

from helpers.attempts import first_event
from helpers.virtual_time import run
from magic_hour_provider.triggers import poll_metrics


def test_metrics_that_cannot_be_sent(virtual, monkeypatch, caplog):
    """Metrics inform: where they fail the wait ends as it would have, with a line in the log."""

    def broken(*_, **__):
        raise OSError("metrics backend")

    monkeypatch.setattr(poll_metrics, "stats", SimpleNamespace(gauge=broken, incr=broken, timing=broken))

    async def main():
        virtual.service.ends["abc"] = 50.0
        return await first_event(virtual.trigger("abc"))

    assert run(main())["status"] == "complete"
    assert any("metrics of waiting jobs" in line for line in caplog.messages)


def test_the_metrics(virtual, monkeypatch):
    """Polls, failed ones, 429s, active jobs and the latency of the event go to Airflow's metrics, from a thread."""
    sent, threads = [], set()

    class Stats:
        def __getattr__(self, name):
            def note(metric, value, *, tags):
                threads.add(threading.current_thread() is threading.main_thread())
                sent.append((name, metric, value, tags))

            return note

    monkeypatch.setattr(poll_metrics, "stats", Stats())
    special = {2: httpx.Response(503, json={}), 3: httpx.Response(429, json={}, headers={"Retry-After": "5"})}

    async def main():
        virtual.service.ends["abc"] = 120.0
        virtual.service.answer = lambda _, number: special.get(number)
        return await first_event(virtual.trigger("abc"))

    assert run(main())["status"] == "complete"
    totals = Counter()
    for name, metric, value, tags in sent:
        assert tags == {"conn_id": "magic_hour_default"}
        if name == "incr":
            totals[metric] += value
    assert totals == {
        "magic_hour.polls": len(virtual.service.polls),
        "magic_hour.poll_failures": 2,
        "magic_hour.rate_limited": 1,
    }
    active = [value for name, metric, value, _ in sent if (name, metric) == ("gauge", "magic_hour.active_jobs")]
    assert active[0] == 1
    assert active[-1] == 0
    (latency,) = [value for name, metric, value, _ in sent if metric == "magic_hour.completion_latency"]
    assert 0 < latency.total_seconds() <= 10
    assert threads == {False}
