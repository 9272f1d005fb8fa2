"""A batch over its attempts: each item is paid for once, whatever becomes of the task, its rows and its jobs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.sdk import Asset

from helpers.attempts import TaskInstance
from helpers.batches import results, rows
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.batch.records import folder
from magic_hour_provider.batch.run.results import read_results


def other_run(number: int = 2) -> TaskInstance:
    """Return the same task in another run."""
    ti = TaskInstance("campaign")
    ti.run_id = f"manual__{number}"
    return ti


def fails(batches, operator, ti, message: str) -> AirflowException:
    """Run an attempt that fails."""
    with pytest.raises(AirflowException, match=f"(?s){message}") as caught:
        batches.attempt(operator, ti)
    return caught.value


def prompts(*texts: str) -> list[dict]:
    """Return rows with these prompts and ids."""
    return [{"sku": f"item-{number}", "style": {"prompt": text}} for number, text in enumerate(texts)]


def test_each_item_is_paid_for_once(batches):
    """Over a retry, a clear and another run, in which only what is new is made; the results are in the rows' order."""
    ti = TaskInstance("campaign")
    made = batches.attempt(batches.operator(rows(3), item_id="sku"), ti)
    assert made | {"results": ""} == {
        "items": 3,
        "complete": 3,
        "failed": 0,
        "unknown": 0,
        "left_out": 0,
        "credits_charged": 30,
        "results": "",
    }
    ti.clear()
    for instance in (ti, ti):
        assert batches.attempt(batches.operator(rows(3), item_id="sku"), instance)["credits_charged"] == 30
    assert batches.creates() == 3
    again = batches.attempt(batches.operator([*reversed(rows(3)), *rows(5)[3:]], item_id="sku"), other_run())
    assert (again["complete"], again["credits_charged"]) == (5, 20)
    assert batches.creates() == 5
    before, after = results(made), results(again)
    assert [row["item_id"] for row in read_results(again)] == ["shoe-2", "shoe-1", "shoe-0", "shoe-3", "shoe-4"]
    for one in before:
        assert (after[one]["id"], after[one]["files"]) == (before[one]["id"], before[one]["files"])
        assert after[one]["media"][0]["size"] > 0


def test_all_records_are_listed_twice(batches, monkeypatch):
    """At the beginning and at the end: of ten thousand items in an object store that is what an attempt waits for."""
    real, listed = folder.list_tree, []
    monkeypatch.setattr(folder, "list_tree", lambda path: listed.append(path) or real(path))
    batches.attempt(batches.operator(rows(2), item_id="sku"), TaskInstance("campaign"))
    assert len(listed) == 2
    assert batches.creates() == 2


def test_equal_rows_without_an_id_are_one_item(batches):
    """Whatever their order, and in a file as well as in a list."""
    requests = [{"style": {"prompt": "a"}}, {"style": {"prompt": "b"}}, {"style": {"prompt": "a"}}]
    assert batches.attempt(batches.operator(requests), TaskInstance("campaign"))["items"] == 2
    file = batches.airflow.output / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in reversed(requests)))
    assert batches.attempt(batches.operator(str(file)), other_run())["complete"] == 2
    assert batches.creates() == 2


def test_rows_that_cannot_work_stop_the_batch_before_it_pays(batches):
    """All of them are named, with what is wrong."""
    bad = [*rows(3), {"sku": "x", "style": {"prompt": "a"}, "image_count": "many"}, {"sku": "shoe-1"}]
    error = fails(batches, batches.operator(bad, item_id="sku"), TaskInstance("campaign"), "2 of 5 rows")
    assert "row 4" in str(error)
    assert "row 5" in str(error)
    assert batches.creates() == 0


def test_rows_are_data(batches):
    """No text in them is a template; what all have in common is one."""
    operator = batches.operator([{"style": {"prompt": "{{ run_id }}"}}])
    operator.render_template_fields({"run_id": "secret"})
    assert operator.requests == [{"style": {"prompt": "{{ run_id }}"}}]


@pytest.mark.parametrize("on_changed", ["new", "keep"])
@pytest.mark.parametrize("after", ["a retry", "a clear", "another run"])
def test_a_row_that_has_changed_under_its_id(batches, on_changed, after):
    """On a retry nothing is bought again; after a clear and in another run it is, unless the old one is to be kept."""
    ti = TaskInstance("campaign")
    made = results(batches.attempt(batches.operator(prompts("a", "b"), item_id="sku"), ti))
    if after == "a clear":
        ti.clear()
    instance = other_run() if after == "another run" else ti
    changed = batches.operator(prompts("a", "c"), item_id="sku", on_changed=on_changed)
    again = batches.attempt(changed, instance)
    is_new = on_changed == "new" and after != "a retry"
    assert batches.creates() == (3 if is_new else 2)
    assert (results(again)["item-1"]["id"] != made["item-1"]["id"]) is is_new
    batches.attempt(changed, instance)
    assert batches.creates() == (3 if is_new else 2)


def test_rows_that_have_changed_are_all_paid_for_over_deferrals(batches):
    """Each worker of the attempt finds those that the one before had no room for."""

    def campaign(text: str):
        requests = [{"sku": str(number), "style": {"prompt": f"{text} [[seconds:120]]"}} for number in range(3)]
        video = {"tool": "text-to-video", "request": {"end_seconds": 3}}
        return batches.operator(requests, item_id="sku", max_active_jobs=1, **video)

    batches.attempt(campaign("waves"), TaskInstance("campaign"))
    batches.deferrals = 0
    made = batches.attempt(campaign("dunes"), other_run())
    assert (made["complete"], made["credits_charged"]) == (3, 216)
    assert batches.deferrals >= 2
    assert batches.creates() == 6


def test_items_that_fail(batches):
    """Each is tried again as often as it may be; a failure that is final is not; all else is done before it fails."""
    given = prompts("a", "b [[error]]", "c [[error:no_source_face]]", "d")
    ti = TaskInstance("campaign")
    error = fails(batches, batches.operator(given, item_id="sku", item_retries=1), ti, "2 are complete, 2 failed")
    assert not isinstance(error, AirflowFailException)
    assert ".  " not in str(error)  # the charge of one item is left out, and the blank before it
    assert batches.creates() == 5
    fails(batches, batches.operator(given, item_id="sku", item_retries=0), ti, "2 are complete, 2 failed")
    assert batches.creates() == 6
    found = results(ti.xcoms["magic_hour_batch"])
    assert [row["status"] for row in found.values()] == ["complete", "failed", "failed", "complete"]
    assert "no_source_face" in found["item-2"]["message"]


@pytest.mark.parametrize(("tolerated", "succeeds"), [(None, False), (1, True), (0.3, True), (0.2, False)])
def test_failures_that_are_tolerated(batches, tolerated, succeeds):
    """A number, or a share of all."""
    operator = batches.operator(
        prompts("a", "b", "c", "d [[error:no_source_face]]"), item_id="sku", max_failed_items=tolerated
    )
    if succeeds:
        assert batches.attempt(operator, TaskInstance("campaign"))["failed"] == 1
    else:
        error = fails(batches, operator, TaskInstance("campaign"), "1 failed")
        assert isinstance(error, AirflowFailException)
    assert batches.creates() == 4


@pytest.mark.parametrize("directive", ["lost-response", "accepted:500", "no-id"])
def test_a_response_that_is_lost(batches, directive):
    """Its item is unknown and never paid for again by itself; the others are complete; the error says what to do."""
    given, ti = prompts("a", f"b [[{directive}]]", "c"), TaskInstance("campaign")
    error = fails(batches, batches.operator(given, item_id="sku"), ti, "1 are of an unknown outcome")
    assert "item-1 (row 2)" in str(error)
    for _ in range(2):
        fails(batches, batches.operator(given, item_id="sku"), ti, "unknown")
    ti.clear()
    fails(batches, batches.operator(given, item_id="sku"), ti, "unknown")
    fails(batches, batches.operator(given, item_id="sku"), other_run(), "unknown")
    assert batches.creates() == 3
    row = results(ti.xcoms["magic_hour_batch"])["item-1"]
    assert (row["status"], row["name"].rpartition("#")[2]) == ("unknown", row["tag"])


def test_a_lost_response_that_may_be_sent_again(batches):
    """Once per attempt, by the next one."""
    batches.airflow.sim.inject_fault("close-after-accept")
    ti, operator = TaskInstance("campaign"), batches.operator(rows(1), item_id="sku", on_unknown_submission="resubmit")
    fails(batches, operator, ti, "unknown")
    assert batches.attempt(operator, ti)["complete"] == 1
    assert batches.creates() == 2


def test_a_mistake_of_the_program_while_a_request_is_sent(batches, monkeypatch):
    """Its item may have been paid for: it is unknown, nothing more is sent, and no signed link is said of it."""
    real, secret = MagicHourClient.create, "X-Amz-Signature=5ec4e7"

    def broken(self, tool, body):
        real(self, tool, body)
        raise RuntimeError(f"no such key: https://bucket.s3.amazonaws.com/a.png?{secret}")

    ti, operator = TaskInstance("campaign"), batches.operator(rows(3), item_id="sku", max_active_jobs=1)
    with monkeypatch.context() as patch:
        patch.setattr(MagicHourClient, "create", broken)
        error = fails(batches, operator, ti, "1 are of an unknown outcome")
    assert batches.creates() == 1
    said = ti.xcoms["magic_hour_batch"]
    assert secret not in f"{error} {said} {list(read_results(said))}"
    fails(batches, operator, ti, "2 are complete.*1 are of an unknown outcome")
    assert batches.creates() == 3


def test_a_budget(batches):
    """Nothing is sent that would pass it; the error says what is missing and what it costs; a higher one buys it."""
    ti = TaskInstance("campaign")
    error = fails(
        batches, batches.operator(rows(5), item_id="sku", max_credits=25), ti, "2 are complete.*3 are missing"
    )
    assert isinstance(error, AirflowFailException)
    assert "30 credits" in str(error)
    assert batches.creates() == 2
    fails(batches, batches.operator(rows(5), item_id="sku", max_credits=25), ti, "2 are complete")
    assert batches.creates() == 2
    again = batches.attempt(batches.operator(rows(5), item_id="sku", max_credits=50), ti)
    assert (again["complete"], again["credits_charged"]) == (5, 50)
    assert batches.creates() == 5


def test_a_canary_that_fails_stops_the_rest(batches):
    """Only it was paid for."""
    given = prompts("a [[error:no_source_face]]", "b", "c")
    fails(batches, batches.operator(given, item_id="sku", canary=1), TaskInstance("campaign"), "canary")
    assert batches.creates() == 1


def test_a_canary_that_completes(batches):
    """The others follow."""
    operator = batches.operator(rows(4), item_id="sku", canary=2)
    assert batches.attempt(operator, TaskInstance("campaign"))["complete"] == 4
    assert batches.creates() == 4


@pytest.mark.parametrize(("status", "words"), [(401, "key"), (402, "credits")])
def test_a_refusal_that_is_everyones_stops_at_once(batches, status, words):
    """Nothing more is sent, what is under way is finished, and a retry goes on when it is mended."""
    batches.airflow.sim.inject_fault("status", status=status, prompt="shoe 2", count=None)
    ti, operator = TaskInstance("campaign"), batches.operator(rows(6), item_id="sku", max_active_jobs=1)
    fails(batches, operator, ti, f"2 are complete.*4 are missing.*Nothing more was submitted.*{words}")
    assert batches.creates() == 2
    batches.airflow.sim.clear_faults()
    assert batches.attempt(operator, ti)["complete"] == 6
    assert batches.creates() == 6


def test_a_request_that_the_service_rejects_is_its_items_own_failure(batches):
    """The others go on; nothing was charged for it, and it is not sent again."""
    batches.airflow.sim.inject_fault("status", status=422, prompt="shoe 1", count=None)
    ti, operator = TaskInstance("campaign"), batches.operator(rows(3), item_id="sku")
    fails(batches, operator, ti, "2 are complete, 1 failed")
    fails(batches, operator, ti, "2 are complete, 1 failed")
    assert batches.creates() == 2


def test_429s(batches):
    """The batch slows down, and everything is made in the end."""
    batches.airflow.sim.inject_fault("status", status=429, retry_after=20, count=9)
    assert batches.attempt(batches.operator(rows(3), item_id="sku"), TaskInstance("campaign"))["complete"] == 3
    assert batches.creates() == 3


def test_it_defers_while_jobs_take_long(batches):
    """Videos are waited for in the triggerer; a resumed worker reads the records and goes on."""
    requests = [{"sku": str(number), "style": {"prompt": "waves [[seconds:120]]"}} for number in range(5)]
    operator = batches.operator(
        requests, item_id="sku", tool="text-to-video", request={"end_seconds": 3}, max_active_jobs=2
    )
    assert batches.attempt(operator, TaskInstance("campaign"))["complete"] == 5
    assert batches.deferrals >= 3
    assert batches.creates() == 5


def test_it_waits_on_the_worker_if_it_is_told_so(batches):
    """Without any deferral."""
    operator = batches.operator(
        [{"style": {"prompt": "waves [[seconds:60]]"}}],
        tool="text-to-video",
        request={"end_seconds": 3},
        deferrable=False,
    )
    assert batches.attempt(operator, TaskInstance("campaign"))["complete"] == 1
    assert batches.deferrals == 0
    assert batches.creates() == 1


def test_a_job_that_takes_too_long_is_resumed_by_the_next_attempt(batches):
    """The attempt fails, nothing is paid for again."""
    ti = TaskInstance("campaign")
    given = prompts("a", "b [[seconds:1000]]")
    fails(batches, batches.operator(given, item_id="sku", timeout=100), ti, "1 are complete.*1 are missing.*A retry")
    assert batches.attempt(batches.operator(given, item_id="sku", timeout=2000), ti)["complete"] == 2
    assert batches.creates() == 2


@pytest.mark.parametrize("storage", ["files", "memory", "s3", "s3 without conditions"])
def test_two_runs_at_once(batches, request, storage):
    """Each item is made by one of them, and both end with the same rows."""
    batches.use(storage, request)
    instances = [TaskInstance("campaign"), other_run()]
    for ti in instances:
        ti.next_attempt()
    operators = [batches.operator(rows(8), item_id="sku", deferrable=False) for _ in instances]
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(batches.start, operators, instances))
    assert batches.creates() == 8
    assert [one["complete"] for one in made] == [8, 8]
    assert sum(one["credits_charged"] for one in made) == 80
    assert results(made[0]) == results(made[1])


def test_what_others_see(batches):
    """The XCom of numbers, which does not grow, and the event of an asset."""
    ti, asset = TaskInstance("campaign"), Asset("campaign")
    operator = batches.operator(rows(2), item_id="sku", outlets=[asset])
    made = batches.attempt(operator, ti)
    said = ti.xcoms["magic_hour_batch"]
    assert (said["items"], said["complete"], said["left"], said["active"]) == (2, 2, 0, 0)
    assert ti.outlet_events[asset].extra["results"] == made["results"]
    assert batches.creates() == 2
