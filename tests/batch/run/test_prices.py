"""A service that takes more than it said: submissions stop at once, and what is under way is finished."""

from __future__ import annotations

from dataclasses import replace

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from helpers.attempts import TaskInstance
from helpers.batches import rows
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.models import Job


def test_a_job_that_settles_higher_than_it_was_charged(batches, monkeypatch):
    """The excess is that of the jobs under way, and is reported; a retry with the same limit pays for nothing."""
    real = MagicHourClient.get_job

    def take_more(client, kind, job_id):
        seen = real(client, kind, job_id)
        return replace(seen, credits_charged=25) if isinstance(seen, Job) and seen.ended else seen

    monkeypatch.setattr(MagicHourClient, "get_job", take_more)
    ti = TaskInstance("campaign")
    operator = batches.operator(rows(6), item_id="sku", max_active_jobs=2, max_credits=60)
    for _ in range(2):
        with pytest.raises(AirflowException, match=r"are missing.*Nothing more was submitted"):
            batches.attempt(operator, ti)
        assert 1 <= batches.creates() <= 3
        assert ti.xcoms["magic_hour_batch"]["credits_charged"] == 25 * batches.creates()
        assert ti.xcoms["magic_hour_batch"]["credits_charged"] <= 60 + 2 * 15


def test_a_refund_frees_credits(batches):
    """A job that failed and was refunded leaves room for the others under the same limit."""
    given = [{"sku": "a", "style": {"prompt": "a [[error:no_source_face]]"}}, *rows(2)]
    with pytest.raises(AirflowException, match="2 are complete, 1 failed"):
        batches.attempt(batches.operator(given, item_id="sku", max_credits=20), TaskInstance("campaign"))
    assert batches.creates() == 3


def test_a_published_price_above_the_limit_is_not_paid_for(batches, monkeypatch):
    """The first item's estimate counts: nothing is sent where it is above what is left, and that is counted."""
    counted = []

    class Stats:
        @staticmethod
        def incr(name, count, *, tags):
            counted.append((name, count))

    monkeypatch.setattr("airflow.providers.common.compat.sdk.Stats", Stats, raising=False)
    priced = {"image_count": 4, "model": "flux-schnell", "resolution": "640px"}  # 20 credits
    ti = TaskInstance("campaign")
    with pytest.raises(
        AirflowException, match=r"The next item costs 20 credits by its estimate, and 19 of max_credits"
    ):
        batches.attempt(batches.operator(rows(3, **priced), item_id="sku", max_credits=19), ti)
    assert batches.creates() == 0
    assert counted == [("magic_hour.credits_refused", 3)]
    ti.clear()
    with pytest.raises(
        AirflowException, match=r"1 are complete.*The next item costs 20 credits, and 19 of max_credits"
    ):
        batches.attempt(batches.operator(rows(3, **priced), item_id="sku", max_credits=39), ti)
    assert batches.creates() == 1


def test_what_a_batch_was_charged_is_remembered(batches, tmp_path):
    """With ``ledger_path`` another batch knows the price before it pays for its first item."""
    batches.airflow.setting("ledger_path", str(tmp_path / "ledger"))
    batches.attempt(batches.operator(rows(1), item_id="sku", max_credits=100), TaskInstance("campaign"))
    assert batches.creates() == 1
    batches.folder += "-2"
    with pytest.raises(AirflowException, match=r"The next item costs 10 credits by its estimate, and 9 of max_credits"):
        batches.attempt(batches.operator(rows(2), item_id="sku", max_credits=9), TaskInstance("campaign"))
    assert batches.creates() == 1


@pytest.mark.parametrize("said", [0, -5])
@pytest.mark.parametrize("priced", [True, False])
def test_a_service_that_accepts_for_nothing(batches, monkeypatch, said, priced):
    """Until a job has settled its estimate stays reserved; where there is none the next item waits for its end."""
    real = MagicHourClient.create
    monkeypatch.setattr(MagicHourClient, "create", lambda *given: replace(real(*given), credits_charged=said))
    request = {"image_count": 2, "model": "flux-schnell", "resolution": "640px"} if priced else {}  # 10 credits each
    ti = TaskInstance("campaign")
    operator = batches.operator(rows(6, **request), item_id="sku", max_active_jobs=6, max_credits=20)
    with pytest.raises(AirflowException, match=r"2 are complete.*0 of max_credits are left"):
        batches.attempt(operator, ti)
    assert batches.creates() == 2
    assert ti.xcoms["magic_hour_batch"]["credits_charged"] == 20


@pytest.mark.parametrize("said", [0, -5])
def test_a_killed_batch_whose_job_was_accepted_for_nothing(batches, monkeypatch, said):
    """Its next attempt reads the record, and keeps the estimate reserved while the job runs."""
    real = MagicHourClient.create
    monkeypatch.setattr(MagicHourClient, "create", lambda *given: replace(real(*given), credits_charged=said))
    request = {"image_count": 2, "model": "flux-schnell", "resolution": "640px"}  # 10 credits
    slow = [{"sku": "slow", "style": {"prompt": "a [[seconds:600]]"}, **request}, *rows(1, **request)]
    ti = TaskInstance("campaign")
    operator = batches.operator(slow, item_id="sku", max_active_jobs=1, max_credits=19, timeout=60, deferrable=False)
    for _ in range(2):
        with pytest.raises(AirflowException, match="missing"):
            batches.attempt(operator, ti)
        assert batches.creates() == 1
