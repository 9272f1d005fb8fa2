"""What the next attempt does follows from the record alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import magic_hour_provider.ledger as ledger_package
from helpers.clocks import MovableTime, set_clock
from helpers.stores import Store
from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.api.models import Submission
from magic_hour_provider.clock import SimulatedClock
from magic_hour_provider.ledger.decision import Decision, RetryState, decide
from magic_hour_provider.ledger.fingerprint import UNREADABLE, compute_fingerprint, find_changed_fields
from magic_hour_provider.ledger.intent import Intent
from magic_hour_provider.ledger.ledger import Ledger
from magic_hour_provider.ledger.record import Record

TOOL = get_tool("text-to-video")
NOW = compute_fingerprint({"style": {"prompt": "a"}, "end_seconds": 5})
OTHER = compute_fingerprint({"style": {"prompt": "b"}, "end_seconds": 5})
FIRST, CLEARED = RetryState(0, 0, 0), RetryState(1, 1, 1)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time that waiting moves."""
    set_clock(monkeypatch, clock := SimulatedClock(MovableTime()))
    return clock


def record(state: str) -> Record:
    """Return a record in a state, of the first attempt."""
    return Record(
        state, TOOL.slug, TOOL.kind, "ABCD2345", dict(NOW), job_id=None if state == "intent" else "job1", reason="why"
    )


def decide_on(ledger: Ledger, fingerprint: dict[str, str], *, on_clear: str = "reuse") -> Decision:
    """Decide on what a ledger holds."""
    return ledger.decide(ledger.read(), TOOL, fingerprint, on_clear=on_clear, on_unknown="fail")


def write_intent(ledger: Ledger, tag: str = "K1", fingerprint: dict[str, str] = NOW, **more: object) -> Intent:
    """Return a new intent, written over what a ledger holds."""
    intent = Intent(ledger, Decision(seen=ledger.read()), TOOL, dict(fingerprint), tag=tag, **more)
    intent.write()
    return intent


SUBMIT, RESUME, UNKNOWN, FAIL = "submit", "resume", "unknown", "fail"


@pytest.mark.parametrize(
    ("state", "attempt", "prints", "on_clear", "on_unknown", "does"),
    [
        (None, FIRST, NOW, "reuse", "fail", SUBMIT),
        # The response was lost.
        ("intent", FIRST, NOW, "reuse", "fail", UNKNOWN),
        ("intent", CLEARED, NOW, "reuse", "fail", UNKNOWN),
        ("intent", CLEARED, OTHER, "reuse", "fail", UNKNOWN),
        ("intent", FIRST, NOW, "regenerate", "fail", UNKNOWN),
        ("intent", CLEARED, NOW, "regenerate", "fail", SUBMIT),
        ("intent", FIRST, NOW, "reuse", "resubmit", SUBMIT),
        # Paid for: a retry never pays, not even for a changed request.
        ("submitted", FIRST, NOW, "reuse", "fail", RESUME),
        ("submitted", FIRST, OTHER, "reuse", "fail", RESUME),
        ("submitted", FIRST, OTHER, "regenerate", "fail", RESUME),
        ("submitted", FIRST, NOW, "regenerate", "resubmit", RESUME),
        # Something else in the run was cleared, or only one of the two numbers rose: no clear of this task.
        ("submitted", RetryState(0, 3, 0), OTHER, "regenerate", "fail", RESUME),
        ("submitted", RetryState(3, 0, 3), OTHER, "regenerate", "fail", RESUME),
        # The DAG's `retries` were lowered and a sibling was cleared: only the task's own number tells.
        ("submitted", RetryState(2, 1, 0), OTHER, "regenerate", "fail", RESUME),
        ("submitted", CLEARED, NOW, "reuse", "fail", RESUME),
        ("submitted", CLEARED, OTHER, "reuse", "fail", SUBMIT),
        ("submitted", CLEARED, NOW, "regenerate", "fail", SUBMIT),
        ("delivered", FIRST, NOW, "regenerate", "fail", RESUME),
        ("delivered", CLEARED, NOW, "reuse", "fail", RESUME),
        ("delivered", CLEARED, OTHER, "reuse", "fail", SUBMIT),
        ("delivered", CLEARED, NOW, "regenerate", "fail", SUBMIT),
        # Refunded, and worth another try: one new job per attempt.
        ("failed", FIRST, NOW, "reuse", "fail", SUBMIT),
        ("failed", CLEARED, NOW, "reuse", "fail", SUBMIT),
        # Ended for good: only a clear pays again.
        ("ended", FIRST, NOW, "regenerate", "resubmit", FAIL),
        ("ended", FIRST, OTHER, "reuse", "fail", FAIL),
        ("ended", CLEARED, NOW, "reuse", "fail", SUBMIT),
    ],
)
def test_the_decision_of_an_attempt(state, attempt, prints, on_clear, on_unknown, does):
    """Whether an attempt may pay is one table of state, clear, fingerprint and the two options."""
    before = None if state is None else record(state)

    def decided():
        return decide(before, attempt, prints, on_clear=on_clear, on_unknown=on_unknown)

    if does == UNKNOWN:
        with pytest.raises(errors.SubmissionUnknownError, match="ABCD2345"):
            decided()
    elif does == FAIL:
        with pytest.raises(errors.NotRetryableError, match="why"):
            decided()
    elif does == SUBMIT:
        assert decided().record is None
    else:
        found = decided()
        assert found.record.job_id == "job1"
        assert "Not paid again" in found.log_message
        if prints is OTHER:
            assert "style.prompt" in found.log_message


@pytest.mark.parametrize(("state", "does"), [(RetryState(0, 0, 3), RESUME), (RetryState(1, 1, 4), SUBMIT)])
def test_a_record_whose_clears_were_counted_otherwise(state, does):
    """Airflow was upgraded since: its number of clears is left out, and the task's own two numbers tell."""
    before = replace(record("submitted"), max_tries=3, clear_number=3, clear_counter="tries")
    decision = decide(before, state, OTHER, on_clear="reuse", on_unknown="fail")
    assert ("resume" if decision.record else "submit") == does


def test_a_clear_counts_once(store):
    """After a clear that reuses the job, that clear's own retries are no clears."""
    ledger = Ledger(store, CLEARED)
    ledger.write(record("submitted"))
    decision = decide_on(ledger, NOW)
    resumed = ledger.mark_resumed(decision.record, decision.seen)
    assert (resumed.extra_tries, resumed.clear_number) == (1, 1)
    again = decide(ledger.read(), CLEARED, OTHER, on_clear="regenerate", on_unknown="fail")
    assert again.record is not None


def test_the_record_makes_the_round_trip(store):
    """What is written is what is read, as JSON."""
    ledger = Ledger(store, FIRST)
    intent = write_intent(ledger, "ABCD2345", name="n", balance=7)
    assert ledger.read() == intent.record
    paid = intent.complete(Submission("job1", "video", 5))
    assert ledger.read() == paid
    assert (paid.state, paid.job_id, paid.credits_charged, paid.balance) == ("submitted", "job1", 5, 7)


@pytest.mark.parametrize(
    "value", ["text", 3, [], {}, {"state": "submitted"}, record("submitted").to_json() | {"state": "new"}]
)
def test_a_record_that_cannot_be_read_is_an_error(store, value):
    """Never "no record": that would pay again."""
    store.set("magic_hour.job", value)
    with pytest.raises(errors.InvalidInputError, match=r"cannot be read.*nothing was charged"):
        decide_on(Ledger(store, FIRST), NOW)


def test_a_refused_intent_leaves_no_trace(store):
    """After a definite no what was recorded before counts again."""
    ledger = Ledger(store, FIRST)
    write_intent(ledger, "K1").withdraw()
    assert ledger.read() is None
    failed = ledger.mark_ended(
        write_intent(ledger, "K2").complete(Submission("job1", "video")),
        errors.JobFailedError("x", code="unknown_error"),
    )
    assert failed.state == "failed"
    write_intent(ledger, "K3").withdraw()
    assert ledger.read() == failed


def test_a_refused_new_request_does_not_forget_the_paid_job(store):
    """Cleared with an edit that is refused, then reverted: the job paid for first is still there."""
    ledger = Ledger(store, CLEARED)
    ledger.write(record("delivered"))
    assert decide_on(ledger, OTHER).record is None
    write_intent(ledger, "K2", OTHER).withdraw()
    assert decide_on(ledger, NOW).record.job_id == "job1"


def test_an_intent_that_cannot_be_taken_back_does_not_hide_the_refusal(store, caplog):
    """A store that is away is logged; the caller continues with what the service said."""
    ledger = Ledger(store, FIRST)
    intent = write_intent(ledger)
    store.delete = None
    intent.withdraw()
    assert "could not be taken back" in caplog.text
    assert ledger.read().state == "intent"


def test_a_row_without_a_value_is_not_no_record():
    """A storage backend whose blob is missing gives None for an existing row: never a reason to pay again."""

    class Blobless(Store):
        def get(self, key, default=None):
            return None

    with pytest.raises(errors.InvalidInputError, match=r"cannot be read.*nothing was charged"):
        Ledger(Blobless(), FIRST).read()


def test_adopting_the_recorded_job_counts_as_this_attempt(store):
    """The clear that brought the adoption is used up: a plain retry after it pays nothing."""
    Ledger(store, FIRST).write(record("delivered"))
    store.set("magic_hour.adopt", "job1")
    ledger = Ledger(store, CLEARED)
    assert decide_on(ledger, NOW, on_clear="regenerate").record.job_id == "job1"
    assert decide_on(ledger, OTHER, on_clear="regenerate").record.job_id == "job1"
    assert ledger.read().history == []


def test_an_id_that_cannot_be_written_at_once_is_tried_for_two_minutes(store, clock):
    """The store may be away when the paid response comes; the id is written when it is back."""
    ledger = Ledger(store, FIRST)
    intent = write_intent(ledger)
    store.failing = 4
    assert intent.complete(Submission("job1", "video", 5)).job_id == "job1"
    assert store.get("magic_hour.job")["state"] == "submitted"
    assert clock.waits == [1, 2, 4, 8]


def test_an_id_that_cannot_be_written_at_all_is_in_the_error(store, clock):
    """After two minutes the error itself carries id, page and what to do."""
    ledger = Ledger(store, FIRST)
    intent = write_intent(ledger)
    store.failing = 1000
    with pytest.raises(errors.SubmissionUnknownError, match=r"videoId=job1.*magic_hour\.adopt") as caught:
        intent.complete(Submission("job1", "video", 5))
    assert caught.value.job_id == "job1"
    assert 60 < sum(clock.waits) <= 120
    assert store.get("magic_hour.job")["state"] == "intent"


def test_adopting_a_job_by_hand_is_done_once(store):
    """The one-shot key is consumed when the new record is written."""
    ledger = Ledger(store, FIRST)
    write_intent(ledger)
    store.set("magic_hour.adopt", "found7")
    found = decide_on(ledger, NOW)
    assert found.record.job_id == "found7"
    assert store.get("magic_hour.adopt") is None
    assert ledger.read().history[0]["key"] == "K1"
    assert decide_on(ledger, NOW).record.job_id == "found7"


def test_a_bad_id_is_not_adopted(store):
    """What is no id is refused and stays where the person can correct it."""
    store.set("magic_hour.adopt", "https://x/../y")
    with pytest.raises(errors.InvalidInputError, match="is not a Magic Hour job id"):
        decide_on(Ledger(store, FIRST), NOW)
    assert store.get("magic_hour.adopt")


def test_regenerating_by_hand_is_done_once(store):
    """The key is gone before the paid request is sent, so that a retry cannot repeat it."""
    ledger = Ledger(store, FIRST)
    ledger.write(record("delivered"))
    store.set("magic_hour.regenerate", True)
    assert decide_on(ledger, NOW).record is None
    write_intent(ledger, "K2")
    assert store.get("magic_hour.regenerate") is None
    with pytest.raises(errors.SubmissionUnknownError):
        decide_on(ledger, NOW)


def test_without_a_store_nothing_is_promised(caplog):
    """An Airflow without task state store submits, and says what that means."""
    ledger = Ledger.open(
        {"ti": type("TI", (), {"max_tries": 0})(), "task": type("T", (), {"retries": 0})(), "dag_run": object()}
    )
    assert "3.3" in caplog.text
    assert decide_on(ledger, NOW).record is None
    assert write_intent(ledger).record.state == "intent"


def test_the_fingerprint_names_fields_and_hides_values():
    """Fields are distinguished by their dotted path; no value can be read from it."""
    one = compute_fingerprint({"style": {"prompt": "a secret plan"}, "list": [1, {"b": 2, "a": 1}]}, connection="c")
    two = compute_fingerprint({"list": [1, {"a": 1, "b": 2}], "style": {"prompt": "another"}}, connection="c")
    assert find_changed_fields(one, two) == ["style.prompt"]
    assert set(one) == {"style.prompt", "list", "(connection)"}
    assert "secret" not in str(one)
    assert find_changed_fields(one, compute_fingerprint({"list": [1, {"a": 1, "b": 2}]}, connection="d")) == [
        "(connection)",
        "style.prompt",
    ]


def test_an_unreadable_file_counts_as_unchanged():
    """A file that is gone at a later attempt does not make it another request."""
    one = compute_fingerprint({"file": [10, "sum"]})
    assert find_changed_fields(one, compute_fingerprint({"file": UNREADABLE})) == []


@pytest.mark.parametrize("file", [[10, "sum"], UNREADABLE])
def test_a_file_that_only_one_request_has_is_a_change(file):
    """Whether it can be read or not: the other request has no file there."""
    with_file, without = compute_fingerprint({"a": 1, "file": file}), compute_fingerprint({"a": 1})
    assert find_changed_fields(with_file, without) == find_changed_fields(without, with_file) == ["file"]


def test_every_invariant_names_its_tests():
    """The package's page of invariants names tests that exist, at least one for each."""
    tests = {
        name
        for path in Path(__file__).parents[1].rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    invariants = re.split(r"^\d+\. ", ledger_package.__doc__, flags=re.M)[1:]
    assert len(invariants) == 8
    for text in invariants:
        named = re.findall(r"``(test_\w+)``", text)
        assert named, text
        assert set(named) <= tests


def test_history_is_bounded():
    """A task that is cleared every day does not grow its record for ever."""
    old = replace(record("failed"), history=[{"job_id": str(n)} for n in range(20)])
    assert len(old.past()) == 20
    assert old.past()[-1]["job_id"] == "job1"
