"""A known failure in Airflow's log."""

from __future__ import annotations

import traceback

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from helpers.attempts import TaskInstance


@pytest.mark.parametrize("connected", [True, False])
def test_a_failure_is_said_once(airflow, connected):
    """Airflow's log of a known failure has its sentence once, and no chain of exceptions that say the same."""
    if connected:
        airflow.connect(password="mhk_live_wrong")
    else:
        airflow.disconnect()
    with pytest.raises(AirflowFailException) as caught:
        airflow.attempt(airflow.operator(), TaskInstance())
    text = "".join(traceback.format_exception(caught.value))
    assert text.count("Traceback") == 1
    assert text.count(str(caught.value)) == 1
    assert airflow.creates() == 0
