"""Limits of one job: what is refused before it is paid for, what is kept, and what prices are remembered."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, TaskDeferred

from helpers.attempts import TaskInstance
from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.models import Job
from magic_hour_provider.api.prices.priced_fields import PricedFields
from magic_hour_provider.execution.payment.observed_prices import ObservedPrices
from magic_hour_provider.operators.image import MagicHourPhotoColorizerOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.simulator.jobs import prices

FOUR = {"image_count": 4, "model": "flux-schnell", "resolution": "640px", "style": {"prompt": "a lighthouse"}}  # 20
UNPRICED = {"image_count": 1, "style": {"prompt": "a lighthouse"}}  # the simulator guesses 10
both_ledgers = pytest.mark.usefixtures("either_ledger")


@pytest.fixture
def counted(monkeypatch):
    """What Airflow's metrics count."""
    found: dict[str, Any] = {}

    class Stats:
        @staticmethod
        def incr(name: str, count: int, *, tags: dict[str, str]) -> None:
            assert tags == {"tool": "ai-image-generator", "dag_id": "teaser"}
            found[name] = found.get(name, 0) + count

    monkeypatch.setattr("airflow.providers.common.compat.sdk.Stats", Stats, raising=False)
    return found


@both_ledgers
def test_a_job_above_the_limit_is_refused_unpaid(airflow, counted):
    """It fails for good, says estimate, basis and limit, and a clear pays nothing until the limit is raised."""
    ti = TaskInstance()
    for _ in range(2):
        with pytest.raises(AirflowFailException) as caught:
            airflow.attempt(airflow.operator(request=FOUR, max_credits=19, retries=3), ti)
        assert str(caught.value) == (
            "This ai-image-generator job is estimated at 20 credits (the published price), and max_credits is 19. "
            "No job was created and nothing was charged. Ask for less, or raise max_credits of the task, and clear it."
        )
        job = ti.xcoms["magic_hour_job"]
        assert (job["error_code"], job["charge"]) == ("credit_limit", "none")
        assert job["estimate"] == {"credits": 20, "basis": "published"}
        assert ti.record is None
        assert airflow.creates() == 0
        ti.clear()
    assert counted == {"magic_hour.credits_refused": 2}
    assert airflow.attempt(airflow.operator(request=FOUR, max_credits=20), ti)["credits_charged"] == 20
    assert ti.xcoms["magic_hour_job"]["estimate"] == {"credits": 20, "basis": "published"}
    assert ti.xcoms["magic_hour_job"]["credits_charged"] == 20
    assert airflow.creates() == 1
    assert counted == {"magic_hour.credits_refused": 2, "magic_hour.credits_charged": 20}


def test_a_job_of_unknown_price(airflow):
    """Under a limit it is refused, and the message says how a price is known; "allow" pays for it."""
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match=r"is not known before it is paid for, and max_credits is 1000\. No"):
        airflow.attempt(airflow.operator(request=UNPRICED, max_credits=1000), ti)
    assert airflow.creates() == 0
    assert ti.xcoms["magic_hour_job"]["estimate"] == {"credits": None, "basis": "none"}
    ti.clear()
    operator = airflow.operator(request=UNPRICED, max_credits=1000, max_credits_unknown="allow")
    assert airflow.attempt(operator, ti)["credits_charged"] == 10
    assert airflow.creates() == 1


def test_a_job_that_was_charged_more_is_kept(airflow, monkeypatch, counted, capsys):
    """The service takes more than was published: the job is paid for, so it is kept, with a warning, and counted."""
    monkeypatch.setattr(prices, "find_published_price", lambda tool, request: None)  # the guess of 10 an image
    ti = TaskInstance()
    result = airflow.attempt(airflow.operator(request=FOUR, max_credits=25), ti)
    assert (result["status"], result["credits_charged"]) == ("complete", 40)
    assert (
        "was charged 40 credits, 15 more than max_credits=25: it was estimated at 20 credits" in capsys.readouterr().out
    )
    assert counted == {"magic_hour.credits_over_limit": 15, "magic_hour.credits_charged": 40}
    assert airflow.creates() == 1


def test_a_job_that_settles_above_the_limit(airflow, monkeypatch, counted, capsys):
    """What the service takes in the end counts too: the files are stored, with a warning, and the excess is counted."""
    real = MagicHourClient.get_job

    def take_more(client: MagicHourClient, kind: str, job_id: str) -> Job:
        seen = real(client, kind, job_id)
        return replace(seen, credits_charged=31) if seen.ended else seen

    monkeypatch.setattr(MagicHourClient, "get_job", take_more)
    ti = TaskInstance()
    for _ in range(2):  # a retry has nothing more to report
        assert airflow.attempt(airflow.operator(request=FOUR, max_credits=25), ti)["credits_charged"] == 31
    assert capsys.readouterr().out.count("was charged 31 credits, 6 more than max_credits=25") == 1
    assert counted == {"magic_hour.credits_over_limit": 6, "magic_hour.credits_charged": 31}
    assert airflow.creates() == 1


@both_ledgers
def test_a_job_that_is_paid_for_is_never_refused(airflow):
    """A retry with a lower limit resumes the job, as it pays nothing."""
    ti = TaskInstance()
    ti.next_attempt()
    video = {"style": {"prompt": "waves"}, "end_seconds": 3}
    assert isinstance(airflow.start(airflow.operator("text-to-video", video), ti), TaskDeferred)
    assert airflow.attempt(airflow.operator("text-to-video", video, max_credits=0), ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_a_retry_after_a_refund_is_refused_too(airflow):
    """A job that failed and was refunded is replaced by a retry, unless that would pass the limit by then."""
    ti = TaskInstance()
    failing = FOUR | {"style": {"prompt": "[[error:unknown_error]]"}}
    with pytest.raises(AirflowException):
        airflow.attempt(airflow.operator(request=failing, max_credits=20, retries=2), ti)
    before = ti.record
    assert before["state"] == "failed"
    with pytest.raises(AirflowFailException, match="max_credits is 19"):
        airflow.attempt(airflow.operator(request=failing, max_credits=19, retries=2), ti)
    assert ti.record == before
    assert airflow.creates() == 1


def test_what_jobs_were_charged_is_remembered(airflow, tmp_path):
    """With ``ledger_path`` the charge of one job is the estimate of the next one with the same priced fields."""
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    airflow.attempt(airflow.operator(request=UNPRICED), TaskInstance("first"))
    assert airflow.creates() == 1
    second, other = TaskInstance("second"), TaskInstance("other")
    cat = {"image_count": 1, "style": {"prompt": "a cat"}}
    with pytest.raises(
        AirflowFailException, match=r"10 credits \(what a job like it was charged\), and max_credits is 9"
    ):
        airflow.attempt(airflow.operator(request=cat, task_id="second", max_credits=9), second)
    assert airflow.creates() == 1
    second.clear()
    airflow.attempt(airflow.operator(request=cat, task_id="second", max_credits=10), second)
    assert second.xcoms["magic_hour_job"]["estimate"] == {"credits": 10, "basis": "observed"}
    with pytest.raises(AirflowFailException, match="is not known"):
        airflow.attempt(airflow.operator(request=cat | {"image_count": 2}, task_id="other", max_credits=99), other)
    assert airflow.creates() == 2


@pytest.mark.parametrize("said", [0, -5, 10**12])
def test_a_create_that_says_no_price_leaves_the_published_one(airflow, tmp_path, monkeypatch, said):
    """After a job that was charged nothing, or far too much, the next one is refused or sent by the published price."""
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    real = MagicHourClient.create
    with monkeypatch.context() as patch:
        patch.setattr(MagicHourClient, "create", lambda *given: replace(real(*given), credits_charged=said))
        airflow.attempt(airflow.operator(request=FOUR), TaskInstance("first"))
    assert airflow.creates() == 1
    with pytest.raises(AirflowFailException, match=r"20 credits \(the published price\), and max_credits is 10"):
        airflow.attempt(airflow.operator(request=FOUR, task_id="second", max_credits=10), TaskInstance("second"))
    assert airflow.creates() == 1
    airflow.attempt(airflow.operator(request=FOUR, task_id="third", max_credits=20), TaskInstance("third"))
    assert airflow.creates() == 2


def test_a_file_of_prices_that_no_job_costs(airflow, tmp_path):
    """What an older version, or anybody, has put there is passed over; what is right beside it counts."""
    airflow.setting("ledger_path", str(tmp_path))
    seen, priced = ObservedPrices("c", "http://h", TOOLS["ai-voice-generator"]), PricedFields("b" * 64, 30)
    seen.add(priced, 7)
    (file,) = (tmp_path / ".prices").rglob("*.json")
    (row,) = json.loads(file.read_text())
    for wrong in ({"credits": 0}, {"credits": -5}, {"credits": True}, {"credits": 10**12}, {"characters": True}):
        file.write_text(json.dumps([{**row, **wrong}]))
        assert seen.find(PricedFields("b" * 64, 1)) is None
        file.write_text(json.dumps([{**row, **wrong}, row]))
        assert seen.find(priced) == 7
    seen.add(priced, 0)
    assert json.loads(file.read_text())[-1] == row


def test_prices_are_few_and_safe_to_lose(airflow, tmp_path):
    """A file of prices stays small, belongs to one connection and address, and a broken one is no price."""
    tool = TOOLS["ai-voice-generator"]
    assert ObservedPrices("c", "http://h", tool).find(PricedFields("a" * 64)) is None  # no ledger_path: nothing is kept
    ObservedPrices("c", "http://h", tool).add(PricedFields("a" * 64), 5)
    airflow.setting("ledger_path", str(tmp_path))
    seen = ObservedPrices("c", "http://h", tool)
    for number in range(1, 301):
        seen.add(PricedFields(f"{number:064}"[::-1]), number)
    (file,) = (tmp_path / ".prices").rglob("*.json")
    assert len(json.loads(file.read_text())) == 200
    assert file.stat().st_size < 40_000
    seen.add(PricedFields("b" * 64, 30), 3)
    seen.add(PricedFields("b" * 64, 90), 9)
    assert [seen.find(PricedFields("b" * 64, length)) for length in (1, 30, 31, 91)] == [3, 3, 9, None]
    seen.add(PricedFields("b" * 64, 30), 4)  # the price has changed
    assert seen.find(PricedFields("b" * 64, 30)) == 4
    assert ObservedPrices("c", "http://other", tool).find(PricedFields("b" * 64, 30)) is None
    assert ObservedPrices("d", "http://h", tool).find(PricedFields("b" * 64, 30)) is None
    for broken in ("{", "[1, {}]", '[{"fields": 1}]', "null"):
        file.write_text(broken)
        assert seen.find(PricedFields("b" * 64, 30)) is None
    seen.add(PricedFields("b" * 64, 30), 4)
    assert seen.find(PricedFields("b" * 64, 30)) == 4


def test_limits_that_cannot_work_are_refused_while_the_dag_is_parsed():
    """A limit is a whole number of credits; typed operators and mapped tasks take it too."""
    for options in (
        {"max_credits": -1},
        {"max_credits": "many"},
        {"max_credits": True},
        {"max_credits_unknown": "yes"},
    ):
        with pytest.raises(InvalidInputError, match=next(iter(options))):
            MagicHourOperator(task_id="make", tool="ai-image-generator", request=FOUR, **options)
        with pytest.raises(InvalidInputError, match=next(iter(options))):
            MagicHourPhotoColorizerOperator.partial(task_id="make", **options)
    photo = MagicHourPhotoColorizerOperator(
        task_id="make", assets={"image_file_path": "https://h/a.png"}, max_credits=10
    )
    assert photo.job_spec().max_credits == 10
