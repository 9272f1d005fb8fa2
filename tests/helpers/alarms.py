"""Interruptions of a task at one point of its work, whatever the speed of the machine."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout

from magic_hour_provider.api.client import MagicHourClient


def before_each(patch: pytest.MonkeyPatch, owner: Any, name: str, meanwhile: Callable[[], object]) -> None:
    """Let something happen at the beginning of each call of a function."""
    real = getattr(owner, name)

    def first(*arguments: Any, **options: Any) -> Any:
        meanwhile()
        return real(*arguments, **options)

    patch.setattr(owner, name, first)


def raise_alarm() -> None:
    """Let Airflow's alarm of ``execution_timeout`` ring now."""
    signal.raise_signal(signal.SIGALRM)


@contextmanager
def times_out_during(owner: Any, name: str) -> Iterator[None]:
    """Let the alarm of ``execution_timeout`` ring as a function is called; the task must time out."""
    with pytest.MonkeyPatch.context() as patch:
        before_each(patch, owner, name, raise_alarm)
        # Long, as it never runs out: the handler of the alarm is Airflow's own.
        with pytest.raises(AirflowTaskTimeout), timeout(3600):
            yield


def times_out_during_create() -> Any:
    """Let the alarm ring while the paid request is under way."""
    return times_out_during(MagicHourClient, "create")
