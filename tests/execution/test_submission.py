"""The paid request: how often it is sent again, and how often the record is read before it."""

from __future__ import annotations

import pytest

from helpers.alarms import before_each
from helpers.attempts import TaskInstance
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import RateLimitedError
from magic_hour_provider.execution.payment.submission import RetryBudget
from magic_hour_provider.ledger.ledger import Ledger


def test_connections_that_fail_to_open():
    """Two more are opened, each after a longer pause."""
    budget = RetryBudget()
    assert [budget.take_connection() for _ in range(3)] == [2.0, 4.0, None]


@pytest.mark.parametrize(
    ("named", "pauses"),
    [
        ([60, 60, 1], [60, 60, None]),
        ([121], [None]),
        ([0, 0.5], [1, 1]),
        ([None] * 13, [10] * 12 + [None]),
        ([100, 30, 20], [100, None, 20]),
    ],
)
def test_rate_limits_are_obeyed_for_two_minutes_in_all(named, pauses):
    """As long as the service names, at least a second, ten where it names nothing."""
    budget = RetryBudget()
    assert [budget.take_rate_limit(RateLimitedError("", retry_after=seconds)) for seconds in named] == pauses


def test_budgets_are_not_shared():
    """Each paid request has its own."""
    RetryBudget().take_connection()
    assert RetryBudget() == RetryBudget()
    assert RetryBudget().take_connection() == 2.0


def test_the_record_is_read_when_an_attempt_begins_and_just_before_it_pays(airflow, either_ledger, monkeypatch):
    """No more often, as each is a request to Airflow's API; a retry that only resumes reads it once."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", {"style": {"prompt": "x"}, "end_seconds": 3})
    steps = []
    before_each(monkeypatch, Ledger, "read", lambda: steps.append("read"))
    before_each(monkeypatch, MagicHourClient, "get_account", lambda: steps.append("balance"))
    before_each(monkeypatch, MagicHourClient, "create", lambda: steps.append("create"))
    ti.next_attempt()
    airflow.start(operator, ti)
    assert steps == ["read", "balance", "read", "create", "read"]
    ti.next_attempt()
    steps.clear()
    airflow.start(operator, ti)
    assert steps == ["read"]
    assert airflow.creates() == 1
