"""What the error of a batch says: of the money, of what is missing, and of what the next attempt does."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from helpers.attempts import Connected, TaskInstance
from helpers.batches import Batches, rows
from helpers.samples import KEY
from magic_hour_provider.simulator import Simulator

OF_ONE_JOB = ("The job was paid for and stays charged", "No job was created and nothing was charged")


def fails(batches: Batches, operator, ti: TaskInstance | None = None) -> tuple[AirflowException, str]:
    """Run an attempt that fails; return its error and the words, none of which are those of one job."""
    with pytest.raises(AirflowException) as caught:
        batches.attempt(operator, ti or TaskInstance("campaign"))
    words = str(caught.value)
    assert not [sentence for sentence in OF_ONE_JOB if sentence in words]
    return caught.value, words


@pytest.mark.parametrize("max_credits", [None, 100])
def test_a_request_that_will_be_sent_again(batches, max_credits):
    """With ``resubmit`` a lost response is worth a retry, which sends the request again, and the error says so."""
    batches.airflow.sim.inject_fault("close-after-accept", prompt="shoe 1")
    priced = {"image_count": 1, "model": "flux-schnell", "resolution": "640px"}  # of a published price
    operator = batches.operator(
        rows(3, **priced), item_id="sku", on_unknown_submission="resubmit", max_credits=max_credits
    )
    ti = TaskInstance("campaign")
    error, words = fails(batches, operator, ti)
    assert not isinstance(error, AirflowFailException)
    assert "the next attempt sends the request of each unknown one again, which may pay twice" in words
    assert "nothing is sent again by itself" not in words
    assert "nothing twice" not in words
    assert batches.creates() == 3
    assert batches.attempt(operator, ti)["complete"] == 3
    assert batches.creates() == 4


def test_a_request_that_is_not_sent_again(batches):
    """Without it a retry changes nothing, and nothing is sent again."""
    batches.airflow.sim.inject_fault("close-after-accept", prompt="shoe 1")
    ti, operator = TaskInstance("campaign"), batches.operator(rows(2), item_id="sku")
    for _ in range(2):
        error, words = fails(batches, operator, ti)
        assert isinstance(error, AirflowFailException)
        assert "nothing is sent again by itself" in words
        assert "This task has paid for 1 job so far; " in words
        assert "Of 1 more item it is unknown whether a job was created and charged." in words
    assert batches.creates() == 2


def test_a_job_that_was_refunded(batches):
    """Its reason is in the error, and nobody reads that it stays charged."""
    given = [{"sku": "t1", "style": {"prompt": "a [[error:no_source_face]]"}}, *rows(1)]
    _, words = fails(batches, batches.operator(given, item_id="sku"))
    assert "This task has paid for 2 jobs so far, of which 1 was refunded; 10 credits stay charged." in words
    assert "t1 (row 1): " in words
    assert "no_source_face" in words
    assert batches.creates() == 2
    batches.folder += "-2"
    _, words = fails(batches, batches.operator(given[:1], item_id="sku"))
    assert "This task has paid for 1 job so far, which was refunded; 0 credits stay charged." in words
    assert batches.creates() == 3


@pytest.mark.parametrize("max_credits", [None, 100])
def test_a_balance_that_ends(monkeypatch, tmp_path, max_credits):
    """What is paid, what is missing and what that costs; after a top-up a clear makes it."""
    with Simulator(api_key=KEY, clock=lambda: 1_800_000_000.0, credits=25) as sim:
        batches = Batches(Connected(sim, monkeypatch, tmp_path))
        operator = batches.operator(rows(4), item_id="sku", max_active_jobs=1, max_credits=max_credits)
        error, words = fails(batches, operator)
        assert isinstance(error, AirflowFailException)
        assert "2 items are not paid for: they would cost 20 credits." in words
        assert "This task has paid for 2 jobs so far; 20 credits stay charged." in words
        assert "Top up" in words
        assert "clear the task: it makes only what is missing" in words
        assert batches.creates() == 2


def test_what_is_left_after_a_refusal_is_counted(monkeypatch, tmp_path, capsys):
    """The item that was refused is one of them."""
    with Simulator(api_key=KEY, clock=lambda: 1_800_000_000.0, credits=15) as sim:
        batches = Batches(Connected(sim, monkeypatch, tmp_path))
        fails(batches, batches.operator(rows(3), item_id="sku", max_active_jobs=1))
        assert "Nothing more is submitted, and 2 items are left" in capsys.readouterr().out
        assert batches.creates() == 1


def test_an_estimate_above_the_limit(batches):
    """No job has said the price, but the estimate says what all would cost, and which limit is enough."""
    priced = {"image_count": 4, "model": "flux-schnell", "resolution": "640px"}  # 20 credits
    _, words = fails(batches, batches.operator(rows(3, **priced), item_id="sku", max_credits=1))
    assert "3 items are not paid for: they would cost about 60 credits." in words
    assert "max_credits=60 is enough for all, by the estimate." in words
    assert "This task has paid for no job so far." in words
    assert batches.creates() == 0


def test_a_canary_that_fails(batches):
    """The price of the others is that of the one that was paid, also without a limit."""
    given = [{"sku": "c0", "style": {"prompt": "a [[error:no_source_face]]"}}, *rows(3)]
    _, words = fails(batches, batches.operator(given, item_id="sku", canary=2))
    assert "2 items are not paid for: they would cost 20 credits." in words
    assert batches.creates() == 2


def test_a_limit_of_the_run_that_is_used_up(batches):
    """A refusal of the run's limit does not deny what this batch has paid for."""
    ti = TaskInstance("campaign")
    batches.attempt(batches.operator(rows(1), item_id="sku"), ti)
    batches.airflow.setting("min_credits_left", "99999999")
    _, words = fails(batches, batches.operator(rows(2), item_id="sku"), ti)
    assert "This task has paid for 1 job so far; 10 credits stay charged." in words
    assert batches.creates() == 1


def test_a_lost_response_of_known_price_stops_no_limit(batches):
    """Its estimate counts as spent, and the others are paid for within what is left."""
    batches.airflow.sim.inject_fault("close-after-accept", prompt="shoe 0")
    priced = {"image_count": 4, "model": "flux-schnell", "resolution": "640px"}  # 20 credits
    ti = TaskInstance("campaign")
    for _ in range(2):
        _, words = fails(batches, batches.operator(rows(4, **priced), item_id="sku", max_credits=60), ti)
        assert "2 are complete" in words
        assert "1 are missing" in words
        assert "max_credits=80 is enough for all." in words
        assert batches.creates() == 3


def test_a_lost_canary_of_an_earlier_try_stops_nothing(batches):
    """Also with a limit the next attempt takes another item as its canary."""
    batches.airflow.sim.inject_fault("close-after-accept", prompt="shoe 0")
    priced = {"image_count": 4, "model": "flux-schnell", "resolution": "640px"}
    ti, operator = (
        TaskInstance("campaign"),
        batches.operator(rows(3, **priced), item_id="sku", max_credits=100, canary=1),
    )
    _, words = fails(batches, operator, ti)
    assert "2 items are not paid for: they would cost about 40 credits." in words
    assert batches.creates() == 1
    _, words = fails(batches, operator, ti)
    assert "2 are complete" in words
    assert batches.creates() == 3
