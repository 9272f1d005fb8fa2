"""The state of an item, and what was spent, from names alone."""

from __future__ import annotations

import itertools

import pytest

from helpers.items import OWNER, owner
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.records.names import StepName
from magic_hour_provider.batch.records.state import (
    ItemState,
    Spent,
    charges_of,
    conflict_error,
    is_torn,
    resolve,
)
from magic_hour_provider.ledger.instruction import Instruction


def name(number: int, step: str, **fields: object) -> StepName:
    """Return a name of the one item."""
    return StepName("a", number, step, **fields)


def job(number: int, job_id: str, credits: int | None = 5, of: str = "") -> StepName:
    """Return the name of a paid job."""
    return name(number, "job", job_id=job_id, credits=credits, owner=of, submitted_at=7, fingerprint="0123456789")


INTENT, WITHDRAWN, UNKNOWN = (name(1, step) for step in ("intent", "withdrawn", "unknown"))
DONE = name(1, "done", job_id="x", credits=4)
FAILED = name(1, "failed", job_id="x", credits=0, retryable=True, refunded=True)
FINAL = name(1, "failed", job_id="x", credits=3)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ItemState()),
        ([name(1, "claim", nonce="0123")], ItemState()),
        ([name(1, "void"), name(1, "claim", nonce="0123")], ItemState(last=1)),
        ([name(1, "void"), name(1, "intent", nonce="0123")], ItemState("intent", 1, 1)),
        ([INTENT], ItemState("intent", 1, 1)),
        ([INTENT, WITHDRAWN], ItemState(last=1)),
        ([INTENT, UNKNOWN], ItemState("unknown", 1, 1)),
        ([INTENT, UNKNOWN, WITHDRAWN], ItemState(last=1)),
        ([INTENT, UNKNOWN, job(1, "x")], ItemState("job", 1, 1, "x", 5, "", 7, "0123456789")),
        ([INTENT, WITHDRAWN, job(1, "x")], ItemState("job", 1, 1, "x", 5, "", 7, "0123456789")),
        ([job(1, "x"), DONE], ItemState("done", 1, 1, "x", 4, "", 7, "0123456789")),
        ([job(1, "x"), DONE, FINAL], ItemState("done", 1, 1, "x", 4, "", 7, "0123456789")),
        ([job(1, "x"), FAILED], ItemState("failed", 1, 1, "x", 0, "", 7, "0123456789", True, True)),
        ([job(1, "x"), FINAL], ItemState("failed", 1, 1, "x", 3, "", 7, "0123456789")),
        ([job(1, "x"), FAILED, FINAL], ItemState("failed", 1, 1, "x", 3, "", 7, "0123456789")),
        ([INTENT, WITHDRAWN, name(1, "failed", refunded=True)], ItemState("failed", 1, 1, refunded=True)),
        ([job(1, "x"), FAILED, name(2, "intent"), name(2, "withdrawn")], None),
        ([job(1, "x"), name(2, "intent")], ItemState("intent", 2, 2)),
        ([job(1, "x"), job(1, "y")], ItemState("conflict", 1, 1, owner="", submitted_at=7, conflicting=("x", "y"))),
        ([INTENT, name(1, "intent", nonce="0123"), WITHDRAWN], ItemState("intent", 1, 1)),
    ],
)
def test_the_state_of_an_item(names, expected):
    """In whatever order the files are listed, what is known best of the highest number that was not withdrawn."""
    expected = expected or ItemState("failed", 1, 2, "x", 0, "", 7, "0123456789", True, True)
    for order in itertools.islice(itertools.permutations(names), 24):
        state = resolve(order)
        if expected.status == "conflict":
            state, expected = (
                ItemState(**{f: getattr(one, f) for f in ("status", "number", "last", "conflicting")})
                for one in (state, expected)
            )
        assert state == expected


def test_two_jobs_of_one_intent_are_named():
    """It cannot be said which one is meant, and nothing more is paid for."""
    error = conflict_error("a", resolve([job(1, "x"), job(1, "y")]))
    assert "x and y" in str(error)
    assert "stays charged" in str(error)
    assert not error.retryable


@pytest.mark.parametrize(
    ("names", "torn"),
    [
        ([job(1, "x"), DONE], False),
        ([DONE], True),
        ([FAILED], True),
        ([job(2, "x"), FAILED], True),
        ([name(1, "failed", refunded=True)], False),
        ([name(1, "void")], True),
        ([name(1, "void"), name(1, "intent", nonce="0123")], False),
    ],
)
def test_a_listing_that_may_have_missed_something(names, torn):
    """A job without its own file, or a void number without an intent, may be what another worker is writing."""
    assert is_torn(names) == torn


def test_what_persons_ask_for():
    """It counts in the place of the job that it names, and of that state alone; to resume a job comes first."""
    asked = [name(1, "regenerate", replaced="x"), name(1, "adopt", replaced="x", job_id="y")]
    assert resolve([job(1, "x"), *asked]).instruction == Instruction("adopt", "y", "x")
    assert resolve([job(1, "x"), asked[0]]).instruction == Instruction("regenerate", None, "x")
    # The job of the lost response was recorded meanwhile, or a new one was declared.
    late = name(1, "regenerate")
    assert resolve([INTENT, UNKNOWN, late]).instruction == Instruction("regenerate")
    assert resolve([INTENT, UNKNOWN, late, job(1, "x")]).instruction is None
    assert resolve([INTENT, UNKNOWN, late, name(2, "intent")]).instruction is None
    assert resolve([INTENT, UNKNOWN, late, name(2, "intent"), name(2, "withdrawn")]).instruction is not None
    assert resolve([name(0, "adopt", job_id="y")]).instruction == Instruction("adopt", "y")
    two = resolve([job(1, "x"), *(name(1, "adopt", replaced="x", job_id=one) for one in "yz")])
    with pytest.raises(InvalidInputError, match="job y, and to resume job z"):
        _ = two.instruction


def test_what_was_spent():
    """Each job once, as it was settled, to whoever paid; also those that a later one has replaced."""
    mine, other = OWNER.digest, owner(2).digest
    names = [
        *(job(1, "a", 5, mine), name(1, "failed", job_id="a", credits=0, refunded=True)),
        *(job(2, "b", 5, mine), name(2, "done", job_id="b", credits=7)),
        *(name(3, "intent"), name(3, "unknown"), job(3, "c", 2, other)),  # late
        *(name(4, "intent"), job(4, "c", 2, mine)),  # adopted before that
        *(job(5, "d", None, mine), job(6, "e", 1)),
    ]
    spent: dict[str, Spent] = {}
    for charged in charges_of(names):
        spent[charged.owner] = spent.get(charged.owner, Spent()).plus(charged.credits)
    assert spent == {mine: Spent(7, 3, 1), other: Spent(2, 1, 0), "": Spent(1, 1, 0)}
