"""The limit of a whole DAG run: what tasks pay one after another never passes it, and what is not known is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.attempts import Connected, TaskInstance
from helpers.batches import rows
from helpers.runs import Run
from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import CreditLimitError, InvalidInputError
from magic_hour_provider.api.prices import Estimate
from magic_hour_provider.execution.payment import run_budget
from magic_hour_provider.execution.payment.run_budget import check_run_limit, find_run_limit, read_other_tasks
from magic_hour_provider.ledger.places import clears
from magic_hour_provider.ledger.record import Record, RunCredits
from magic_hour_provider.operators.batch import MagicHourBatchOperator
from magic_hour_provider.simulator import Simulator


def picture(count: int, prompt: str = "a lighthouse", **more: Any) -> dict[str, Any]:
    """Return a request of a published price: 5 credits an image."""
    priced = {"model": "flux-schnell", "resolution": "640px"}
    return {"image_count": count, "style": {"prompt": prompt}, **priced, **more}


def options(count: int, prompt: str = "a lighthouse", **more: Any) -> dict[str, Any]:
    """Return the arguments of a task."""
    return {"request": picture(count, prompt), **more}


def test_tasks_one_after_another(airflow):
    """The third does not fit: the refusal says spent, reserved, estimate, limit, and where to raise it."""
    airflow.setting("max_credits_per_run", "45")
    run = Run(airflow, {"a": options(4), "b": options(4), "c": options(2), "d": options(1)})
    assert [run.attempt(name)["credits_charged"] for name in "ab"] == [20, 20]
    refused = run.attempt("c")
    assert isinstance(refused, AirflowFailException)
    assert str(refused) == (
        "This ai-image-generator job is estimated at 10 credits (the published price), and [magic_hour] "
        "max_credits_per_run is 45. The tasks of this run were charged 40 credits and have reserved 0. No job was "
        "created and nothing was charged. Raise [magic_hour] max_credits_per_run, and clear the task."
    )
    assert run.instances["c", -1].record is None
    assert run.instances["c", -1].xcoms["magic_hour_job"]["run_credits"]["paid"] == 0
    assert run.attempt("d")["credits_charged"] == 5
    assert (run.spent, airflow.creates()) == (45, 3)
    run.instances["c", -1].clear()
    airflow.setting("max_credits_per_run", "55")
    assert run.attempt("c")["credits_charged"] == 10
    assert (run.spent, airflow.creates()) == (55, 4)


def test_one_read_for_each_task_id(airflow):
    """What is read does not grow with what the tasks have done: one XCom read for each paying task."""
    airflow.setting("max_credits_per_run", "1000")
    run = Run(airflow, {name: options(1) for name in "abcde"})
    for name in "abcd":
        run.attempt(name)
    run.reads = 0
    run.attempt("e")
    assert run.reads == 5
    assert airflow.creates() == 5


def test_a_lost_response_stays_reserved(airflow):
    """Nobody knows whether it was paid for: its estimate counts, for others and for a second request of the task."""
    run = Run(airflow, {"a": options(4, max_credits_per_run=39), "b": options(4, max_credits_per_run=39)})
    airflow.sim.inject_fault("close-after-accept")
    run.attempt("a")
    assert run.instances["a", -1].xcoms["magic_hour_job"]["run_credits"] == {
        "paid": 0, "reserved": 20, "is_known": True, "map_index": -1,
    }  # fmt: skip
    assert "were charged 0 credits and have reserved 20" in str(run.attempt("b"))
    assert "max_credits_per_run of the task is 39" in str(run.attempt("b"))
    again = run.dag.get_task("a").prepare_for_execution()
    again.on_unknown_submission = "resubmit"
    run.instances["a", -1].clear()
    assert "have reserved 20" in str(run.attempt("a", again))
    assert airflow.creates() == 1


@pytest.mark.usefixtures("either_ledger")
def test_a_refund_frees_credits_and_a_new_job_after_a_clear_counts_too(airflow):
    """What failed and was refunded is not spent; both jobs of a task that was paid for twice are."""
    failing = {"request": picture(4, "[[error:no_source_face]]"), "max_credits_per_run": 60}
    run = Run(airflow, {"a": failing, "b": options(4), "c": options(4, max_credits_per_run=60)})
    assert isinstance(run.attempt("a"), AirflowFailException)
    again = run.dag.get_task("b").prepare_for_execution()
    again.on_clear = "regenerate"
    for _ in range(2):
        run.attempt("b", again)
        run.instances["b", -1].clear()
    assert run.instances["b", -1].xcoms["magic_hour_job"]["run_credits"]["paid"] == 40
    assert run.attempt("c")["credits_charged"] == 20
    assert (run.spent, airflow.creates()) == (60, 4)
    run.instances["a", -1].clear()
    assert "were charged 60 credits" in str(run.attempt("a"))
    assert airflow.creates() == 4


def test_a_refused_request_reserves_nothing(airflow):
    """A request that surely made no job gives back what it had reserved."""
    run = Run(airflow, {"a": options(4, max_credits_per_run=20), "b": options(4, max_credits_per_run=20)})
    airflow.sim.inject_fault("status", status=402)
    run.attempt("a")
    assert run.instances["a", -1].xcoms["magic_hour_job"]["run_credits"]["reserved"] == 0
    assert run.attempt("b")["credits_charged"] == 20
    assert airflow.creates() == 1


def test_a_resumed_job_is_never_refused(airflow):
    """Under a limit that is passed by now the job that is paid for is waited for, and its files are stored."""
    run = Run(airflow, {"a": {"tool": "text-to-video", "request": {"style": {"prompt": "x"}, "end_seconds": 3}}})
    ti = run.instances["a", -1]
    ti.next_attempt()
    airflow.start(run.dag.get_task("a"), ti)
    airflow.setting("max_credits_per_run", "1")
    assert run.attempt("a")["status"] == "complete"
    assert airflow.creates() == 1


@pytest.mark.parametrize("state", ["success", "failed", "up_for_retry", "deferred"])
def test_a_task_of_which_nothing_can_be_read(airflow, state):
    """Its total is not known: the refusal names it; "allow" counts it as nothing."""
    run = Run(airflow, {"a": options(1), "b": options(1, max_credits_per_run=100)})
    run.instances["a", -1].state = state
    assert "Not known is what was paid by a. No job was" in str(run.attempt("b"))
    assert airflow.creates() == 0
    allows = run.dag.get_task("b").prepare_for_execution()
    allows.max_credits_unknown = "allow"
    run.instances["b", -1].clear()
    assert run.attempt("b", allows)["status"] == "complete"
    assert airflow.creates() == 1


def test_records_are_read_where_xcoms_are_missing(airflow, tmp_path, monkeypatch):
    """With ``ledger_path`` a task whose attempt has just begun, its XComs removed, still says what it has paid."""
    monkeypatch.setattr(TaskInstance, "ledger_path", str(tmp_path / "ledger"))
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    run = Run(airflow, {"a": options(4), "b": options(4, max_credits_per_run=39)})
    run.attempt("a")
    run.instances["a", -1].xcoms, run.instances["a", -1].state = {}, "running"
    assert "were charged 20 credits" in str(run.attempt("b"))
    assert airflow.creates() == 1


def test_a_reservation_that_cannot_be_written(airflow, monkeypatch):
    """What the others cannot know is not paid for; the retry pays, and nothing is left behind."""
    run = Run(airflow, {"a": options(4, max_credits_per_run=39, retries=1)})
    ti = run.instances["a", -1]
    push = ti.xcom_push

    def fail(key: str, value: Any) -> None:
        if key == "magic_hour_job":
            raise ConnectionError("the API server is away")
        push(key, value)

    monkeypatch.setattr(ti, "xcom_push", fail)
    assert "could not be written for the others" in str(run.attempt("a"))
    assert airflow.creates() == 0
    assert ti.record is None
    monkeypatch.setattr(ti, "xcom_push", push)
    assert run.attempt("a")["credits_charged"] == 20
    assert airflow.creates() == 1


def test_where_the_limit_is_set(airflow):
    """The task's own counts before the DAG's param, and that before the setting."""
    airflow.setting("max_credits_per_run", "30")
    context: dict[str, Any] = {"params": {"max_credits_per_run": 20}}
    assert (find_run_limit(context, 0) or pytest.fail()).credits == 0
    assert (find_run_limit(context, None) or pytest.fail()).where == "the DAG's param max_credits_per_run"
    assert (find_run_limit({}, None) or pytest.fail()).credits == 30
    airflow.setting("max_credits_per_run", "0")
    assert find_run_limit({}, None) is None
    for wrong in ("20", -1, True, 2.5):
        with pytest.raises(InvalidInputError, match="max_credits_per_run must be a whole number"):
            find_run_limit({"params": {"max_credits_per_run": wrong}}, None)
    airflow.setting("max_credits_per_run", "many")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        find_run_limit({}, None)


def test_a_batch_reserves_what_it_may_spend_and_spends_no_more_than_the_run_leaves(airflow):
    """Tasks after a batch see what it was charged; a batch after tasks has what they leave."""
    run = Run(airflow, {"a": options(4)})
    with run.dag:
        batch = MagicHourBatchOperator(
            task_id="campaign",
            tool="ai-image-generator",
            requests=rows(5, **picture(2)),
            output_path=str(airflow.output / "campaign"),
            item_id="sku",
            max_active_jobs=2,
            max_credits_per_run=45,
            deferrable=False,
        )
    run.add("campaign")
    run.attempt("a")
    seen: list[dict[str, Any]] = []
    ti = run.instances["campaign", -1]
    push = ti.xcom_push
    ti.xcom_push = lambda key, value: (seen.append(dict(value)), push(key, value))
    ti.next_attempt()
    with pytest.raises(
        AirflowFailException,
        match=r"what max_credits_per_run of the task, 45, leaves.* Raise max_credits_per_run of the task to what is "
        r"enough here and 20 more\. .*max_credits=50 is enough",
    ):
        batch.execute(ti.context(batch))
    ti.state = "failed"
    assert seen[0]["run_credits"] == {"paid": 0, "reserved": 25, "is_known": True, "map_index": -1}
    assert seen[-1]["run_credits"] == {"paid": 20, "reserved": 0, "is_known": True, "map_index": -1}
    assert (run.spent, airflow.creates()) == (40, 3)
    with run.dag:
        late = run.task("late", **options(2, max_credits_per_run=45))
    assert "were charged 40 credits and have reserved 0" in str(run.attempt("late", late))
    assert airflow.creates() == 3


@pytest.mark.parametrize("how", ["no records", "a lost record"])
def test_what_no_record_tells_of_is_not_nothing(airflow, monkeypatch, how):
    """A new job in the place of one that no record names: the run has paid for both, and the limit counts the first."""
    run = Run(
        airflow, {"a": options(4, max_credits_per_run=20, output_path=""), "b": options(1, max_credits_per_run=99)}
    )
    ti = run.instances["a", -1]
    if how == "no records":
        ti.store = None
    else:
        monkeypatch.setattr(clears, "DISCARDED_SINCE", (3, 0, 0))
    run.attempt("a")
    ti.clear()
    if ti.store is not None:
        ti.store.set("magic_hour.regenerate", True)
    assert "Not known is what was paid by this task itself." in str(run.attempt("a"))
    assert "Not known is what was paid by a." in str(run.attempt("b"))
    assert (run.spent, airflow.creates()) == (20, 1)
    allows = run.dag.get_task("a").prepare_for_execution()
    allows.max_credits_unknown = "allow"
    ti.clear(keep=True)
    assert run.attempt("a", allows)["credits_charged"] == 20
    assert airflow.creates() == 2


def test_a_lost_response_of_a_batch_without_a_limit_stays_unknown(airflow):
    """Also in its next attempt, which sends nothing: another task that has a limit is not told that it was nothing."""
    run = Run(airflow, {"a": options(4, max_credits_per_run=30)})
    with run.dag:
        batch = MagicHourBatchOperator(
            task_id="campaign",
            tool="ai-image-generator",
            requests=rows(1, **picture(4)),
            output_path=str(airflow.output / "campaign"),
            item_id="sku",
            deferrable=False,
        )
    ti = run.add("campaign")
    airflow.sim.inject_fault("close-after-accept")
    for _ in range(2):
        ti.next_attempt()
        with pytest.raises(AirflowFailException, match="unknown outcome"):
            batch.execute(ti.context(batch))
        ti.state = "failed"
        assert "Not known is what was paid by campaign." in str(run.attempt("a"))
    assert airflow.creates() == 1


def test_a_batch_that_only_waits_counts_all_the_while(airflow, monkeypatch):
    """A retry that pays for nothing says at once what was paid before: Airflow has removed the XCom that said it."""
    run = Run(airflow, {"a": options(4, max_credits_per_run=100)})
    with run.dag:
        batch = MagicHourBatchOperator(
            task_id="campaign",
            tool="text-to-video",
            requests=[{"sku": "waves", "end_seconds": 4, "style": {"prompt": "waves [[seconds:600]]"}}],
            output_path=str(airflow.output / "campaign"),
            item_id="sku",
            timeout=60,
            deferrable=False,
        )
    ti = run.add("campaign")
    real = MagicHourClient.get_job
    refused: list[str] = []

    def poll(client: MagicHourClient, kind: str, job_id: str) -> Any:
        if ti.try_number == 2 and not refused:
            refused.append(str(run.attempt("a")))
        return real(client, kind, job_id)

    monkeypatch.setattr(MagicHourClient, "get_job", poll)
    for _ in range(2):
        ti.next_attempt()
        ti.state = "running"
        with pytest.raises(AirflowException, match="1 are missing"):
            batch.execute(ti.context(batch))
    assert "were charged 0 credits and have reserved 96" in refused[0]
    assert (run.spent, airflow.creates()) == (96, 1)


@pytest.mark.parametrize("said", [0, -5])
def test_a_running_job_that_was_accepted_for_nothing(airflow, monkeypatch, said):
    """Its estimate stays reserved until it has settled; a tool that is free reserves nothing."""
    run = Run(airflow, {"a": options(4, "slow [[seconds:600]]"), "b": options(1, max_credits_per_run=24)})
    real, ti = MagicHourClient.create, run.instances["a", -1]
    with monkeypatch.context() as patch:
        patch.setattr(MagicHourClient, "create", lambda *given: replace(real(*given), credits_charged=said))
        ti.next_attempt()
        airflow.start(run.dag.get_task("a"), ti)
    assert ti.xcoms["magic_hour_job"]["run_credits"] == {
        "paid": 0, "reserved": 20, "is_known": True, "map_index": -1,
    }  # fmt: skip
    ti.state = "deferred"
    assert "were charged 0 credits and have reserved 20" in str(run.attempt("b"))
    assert airflow.creates() == 1
    free = Record("submitted", "face-detection", "face-detection", "TAG", {}, job_id="0", credits_charged=said)
    for estimate in ({"credits": 0, "basis": "published"}, {"credits": None, "basis": "none"}):
        assert replace(free, estimate=estimate).count_run_credits() == RunCredits()


@pytest.mark.parametrize("wrong", [-5, True, "5", 2.5, None])
@pytest.mark.parametrize("name", ["paid", "reserved"])
def test_an_xcom_that_tells_no_credits(airflow, name, wrong):
    """Anybody may write an XCom: what is no number of credits is not known, and frees nothing for others."""
    run = Run(airflow, {"a": options(1), "b": options(1, max_credits_per_run=100)})
    run.attempt("a")
    run.instances["a", -1].xcoms["magic_hour_job"]["run_credits"][name] = wrong
    assert "Not known is what was paid by a. No job was" in str(run.attempt("b"))
    assert airflow.creates() == 1


def test_history_that_is_cut_keeps_its_credits():
    """A record keeps the last twenty jobs of its history, and what all of them have cost."""
    record = Record("delivered", "t", "image", "TAG", {}, job_id="0", credits_charged=3)
    for number in range(1, 40):
        record = Record(
            "delivered", "t", "image", "TAG", {}, job_id=str(number), credits_charged=3, history=record.past()
        )
    assert len(record.history) == 20
    assert record.count_run_credits() == RunCredits(paid=120)
    assert Record.read(record.to_json()).count_run_credits() == RunCredits(paid=120)


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["ok", "refunded", "lost", "refused"]),
        st.sampled_from([1, 2, 4]),
        st.booleans(),
    ),
    min_size=2,
    max_size=7,
)


@settings(max_examples=20, deadline=None)
@given(steps=STEPS, limit=st.sampled_from([3, 10, 35]))
def test_in_no_order_of_events_do_tasks_one_after_another_pass_the_limit(steps, limit, tmp_path_factory):
    """Whatever fails, is lost, refused, retried or cleared for a new job: what is charged stays within the limit."""
    with Simulator(api_key=KEY, manual_clock=True) as sim, pytest.MonkeyPatch.context() as patch:
        airflow = Connected(sim, patch, tmp_path_factory.mktemp("run"))
        airflow.setting("max_credits_per_run", str(limit))
        run = Run(airflow, {name: options(1, output_path="") for name in "abc"})
        for name, end, count, is_cleared in steps:
            task = run.dag.get_task(name).prepare_for_execution()
            task.request = picture(count, "[[error:unknown_error]]" if end == "refunded" else f"{count}")
            task.on_clear, task.on_unknown_submission = "regenerate", "resubmit"
            if end == "lost":
                sim.inject_fault("close-after-accept")
            if end == "refused":
                sim.inject_fault("status", status=402)
            if is_cleared:
                run.instances[name, -1].clear()
            run.attempt(name, task)
            sim.clear_faults()
            sim.advance(3600)
            assert run.spent <= limit


def test_mapped_tasks_at_once_pass_it_by_what_is_in_flight(airflow, monkeypatch):
    """Tasks that have all read before any of them has reserved submit together; the next ones see them all."""
    airflow.setting("max_credits_per_run", "30")
    run = Run(airflow, {name: options(4) for name in "abcd"})
    real, waiting = run_budget.read_other_tasks, ["c", "b"]

    def read(context: Any) -> Any:
        found = real(context)
        if waiting:
            run.attempt(waiting.pop())  # which reads, reserves and submits before this one reserves
        return found

    monkeypatch.setattr(run_budget, "read_other_tasks", read)
    run.attempt("a")
    assert (run.spent, airflow.creates()) == (60, 3)  # 30 more: all three were in flight
    assert "were charged 60 credits" in str(run.attempt("d"))
    assert airflow.creates() == 3


def test_what_cannot_be_read_at_all(airflow):
    """Without a DAG, or with an API server that is away, nothing is known: it is said and nothing is paid."""
    context = TaskInstance().context(airflow.operator())
    found = read_other_tasks(context)
    assert found.unknown == ("other tasks of this run, which could not be read",)
    spec = airflow.operator(max_credits_per_run=100).job_spec()
    with pytest.raises(CreditLimitError, match="which could not be read"):
        check_run_limit(spec, Estimate(5, "published"), RunCredits(), context)
    with pytest.raises(CreditLimitError, match="is not known before it is paid for"):
        check_run_limit(spec, Estimate(None, "none"), RunCredits(), context)
    check_run_limit(replace(spec, max_credits_unknown="allow"), Estimate(None, "none"), RunCredits(), context)
