"""The window of jobs under way: never more of them at Magic Hour than ``max_active_jobs``."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from helpers.attempts import TaskInstance
from helpers.batches import Batches, results
from magic_hour_provider.times import parse_time


@pytest.fixture
def batches(airflow):
    """Batches of one folder."""
    return Batches(airflow)


def lasting(*seconds: int) -> list[dict]:
    """Return rows of jobs that take so long."""
    return [
        {"sku": f"item-{number}", "style": {"prompt": f"{number} [[seconds:{one}]]"}}
        for number, one in enumerate(seconds)
    ]


def most_at_once(batches: Batches) -> int:
    """Return how many jobs were at Magic Hour at the same time, at the most."""
    times = [(parse_time(job["created_at"]) or 0.0, job["seconds"]) for job in batches.airflow.sim.jobs()]
    return max(sum(other <= began < other + lasted for other, lasted in times) for began, _ in times)


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_job_that_takes_too_long_keeps_its_place(batches, deferrable):
    """It still runs at Magic Hour; it is collected if it ends while the attempt waits for others."""
    given = lasting(400, 90, 90, 90, 90, 90, 90, 90, 90)
    operator = batches.operator(given, item_id="sku", timeout=100, max_active_jobs=2, deferrable=deferrable)
    made = batches.attempt(operator, TaskInstance("campaign"))
    assert made["complete"] == 9
    assert most_at_once(batches) == 2
    assert batches.creates() == 9


@pytest.mark.parametrize("deferrable", [True, False])
def test_jobs_that_take_too_long_and_fill_the_window(batches, deferrable):
    """The attempt ends with a sentence, and sends nothing in their places; the next one resumes them."""
    ti, given = TaskInstance("campaign"), lasting(3000, 60, 3000, 60)
    more = {"item_id": "sku", "max_active_jobs": 2, "deferrable": deferrable}
    with pytest.raises(AirflowException, match=r"3 are missing.*max_active_jobs=2.*A retry"):
        batches.attempt(batches.operator(given, timeout=100, **more), ti)
    assert batches.creates() == 3
    found = results(ti.xcoms["magic_hour_batch"])
    assert [row["status"] for row in found.values()] == ["running", "complete", "running", "left_out"]
    assert batches.attempt(batches.operator(given, timeout=9000, **more), ti)["complete"] == 4
    assert most_at_once(batches) == 2
    assert batches.creates() == 4


def test_the_price_of_a_job_that_takes_too_long_stays_reserved(batches):
    """It may still be charged: nothing is sent that would pass the limit with it."""
    ti, given = TaskInstance("campaign"), lasting(3000, 60, 60)
    with pytest.raises(AirflowException, match=r"1 are complete.*2 are missing"):
        batches.attempt(batches.operator(given, item_id="sku", timeout=100, max_credits=20), ti)
    assert batches.creates() == 2
    with pytest.raises(AirflowException, match=r"2 are complete.*1 are missing.*max_credits=30 is enough"):
        batches.attempt(batches.operator(given, item_id="sku", timeout=9000, max_credits=20), ti)
    assert batches.creates() == 2
