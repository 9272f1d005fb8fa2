"""The window of jobs under way: never more of them at Magic Hour than ``max_active_jobs``."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import pytest
from airflow.providers.common.compat.sdk import AirflowException, TaskDeferred
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from helpers.attempts import TaskInstance
from helpers.batches import Batches, results
from helpers.items import intent, job
from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.batch.records.content import ItemStep
from magic_hour_provider.batch.records.names import StepName
from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.times import parse_time

EXAMPLES = int(os.environ.get("MAGIC_HOUR_EXAMPLES", "6"))
PRICE = 10
runs = itertools.count()


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
    long = lasting(400, 90, 90, 90, 90, 90, 90, 90, 90)
    operator = batches.operator(long, item_id="sku", timeout=100, max_active_jobs=2, deferrable=deferrable)
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


# -- what other workers are about to pay for ------------------------------------------------------------------------


def leave_intent(batches: Batches, key: str, of: TaskInstance) -> ItemRecords:
    """Leave an item whose worker was killed while its request was under way."""
    records = ItemRecords.open(batches.folder, Owner.of(of))
    records.declare(key, records.get(key), intent())
    return records


@pytest.mark.parametrize("tries", [0, 1], ids=["another run's", "an earlier try's"])
def test_an_intent_of_a_killed_worker_is_waited_for_in_the_triggerer(batches, capsys, tries):
    """No worker waits until it settles; all else is made before; then it is unknown, and never sent again. The log says
    what is waited for, and for how long.

    Here the storage's clock stands still, as this disk's does not know the simulated time: it settles all the same.
    """
    ti, killed = TaskInstance("campaign"), TaskInstance("campaign")
    ti.try_number, killed.try_number = tries, 1
    killed.run_id = ti.run_id if tries else "manual__2"
    leave_intent(batches, "item-1", killed)
    operator = batches.operator(lasting(5, 5, 5), item_id="sku")
    ti.next_attempt()
    began = batches.airflow.sim.now()
    deferred = batches.start(operator, ti)
    assert isinstance(deferred, TaskDeferred)
    assert batches.airflow.sim.now() - began < 90
    assert deferred.trigger.jobs == []
    assert deferred.trigger.wake_by - began == pytest.approx(240 if tries else 630, abs=15)
    said = capsys.readouterr().out
    assert said.count("Item item-1 is being paid for by another worker, or by one that was stopped") == 1
    assert f"waited for, at most {4 if tries else 10} minutes" in said.replace("11 minutes", "10 minutes")
    assert "Of 3 items 2 are complete, 0 failed, 0 under way, 1 with other workers, 0 left" in said
    assert batches.creates() == 2
    with pytest.raises(AirflowException, match=r"2 are complete.*1 are of an unknown outcome"):
        batches.resume(operator, ti, deferred)
    assert batches.deferrals == 1
    assert batches.creates() == 2


def test_dag_test_hands_on_the_event_alone(batches):
    """Airflow's ``dag.test()`` drops what the deferral says: the batch resumes all the same."""
    operator, ti = batches.operator(lasting(200, 200), item_id="sku"), TaskInstance("campaign")
    ti.next_attempt()
    assert isinstance(batches.start(operator, ti), TaskDeferred)
    batches.airflow.sim.advance(300)
    assert operator.resume_execution("execute_complete", {"event": {}}, ti.context(operator))["complete"] == 2
    assert batches.creates() == 2


def test_an_intent_that_is_completed_while_the_task_is_away(batches):
    """Its job is adopted: polled, its file stored, and nothing paid for by this run."""
    other, ti = TaskInstance("campaign"), TaskInstance("campaign")
    other.run_id = "manual__2"
    records = leave_intent(batches, "item-0", other)
    operator = batches.operator(lasting(5), item_id="sku")
    ti.next_attempt()
    deferred = batches.start(operator, ti)
    body = {"image_count": 1, "style": {"prompt": "0 [[seconds:5]]"}}
    with MagicHourClient(api_key=KEY, base_url=batches.airflow.sim.url) as client:
        made = client.create("ai-image-generator", body)
    paid = replace(job(made.id, made.credits_charged), submitted_at=batches.airflow.sim.now())
    records.folder.write(
        StepName("item-0", 1, "job", job_id=made.id, credits=10, owner=Owner.of(other).digest).path,
        ItemStep(StepName("item-0", 1, "job"), Owner.of(other), 1.0, paid).to_bytes(),
    )
    manifest = batches.resume(operator, ti, deferred)
    assert (manifest["complete"], manifest["credits_charged"]) == (1, 0)
    assert batches.creates() == 1


def test_an_intent_is_waited_for_on_the_worker_if_it_is_told_so(batches):
    """Without any deferral; and with jobs under way, whichever comes first wakes the worker."""
    killed = TaskInstance("campaign")
    killed.run_id = "manual__2"
    leave_intent(batches, "item-0", killed)
    more = {"item_id": "sku", "max_active_jobs": 3, "timeout": 9000}
    ti, given = TaskInstance("campaign"), lasting(5, 2000)
    ti.next_attempt()
    deferred = batches.start(batches.operator(given, **more), ti)
    assert len(deferred.trigger.jobs) == 1
    assert deferred.trigger.wake_by < deferred.trigger.deadline
    with pytest.raises(AirflowException, match=r"1 are complete.*1 are of an unknown outcome"):
        batches.attempt(batches.operator(given, deferrable=False, **more), TaskInstance("campaign"))
    assert batches.creates() == 1


# -- jobs that end in any order ---------------------------------------------------------------------------------------


@given(
    jobs=st.lists(st.tuples(st.integers(1, 150), st.booleans()), min_size=3, max_size=6),
    window=st.integers(1, 4),
    affordable=st.integers(1, 6),
)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.generate],  # a smaller one would take minutes to find
    derandomize="MAGIC_HOUR_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_budget_and_window_hold_in_any_order_of_completion(batches, jobs, window, affordable):
    """At no create more is charged than the limit, nor under way than the window, whatever ends when, and fails."""
    number, already = next(runs), len(batches.airflow.sim.jobs())
    batches.folder = str(batches.airflow.output / f"campaign_{number}")
    given_rows = [
        {"sku": f"{place}", "style": {"prompt": f"{place} [[seconds:{seconds}]]{' [[error:no_source_face]]' * fails}"}}
        for place, (seconds, fails) in enumerate(jobs)
    ]
    more = {"item_id": "sku", "max_active_jobs": window, "max_credits": PRICE * affordable, "max_failed_items": 0.99}
    try:
        batches.attempt(batches.operator(given_rows, **more), TaskInstance(f"campaign_{number}"))
    except AirflowException:
        assert sum(not fails for _, fails in jobs) >= affordable or all(fails for _, fails in jobs)
    made = [
        (parse_time(job["created_at"]) or 0.0, job["seconds"], job["status"] == "error")
        for job in batches.airflow.sim.jobs()[already:]
    ]
    for place, (now, *_) in enumerate(made):
        before = made[: place + 1]
        kept = [began for began, lasted, failed in before if not (failed and began + lasted <= now)]
        assert len(kept) <= affordable
        assert sum(began + lasted > now for began, lasted, _ in before) <= window
    assert len(made) <= len(jobs)
