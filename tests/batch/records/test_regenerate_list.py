"""New jobs of many items, asked for in one file: each once, for the state that a person saw."""

from __future__ import annotations

import pytest

from helpers.items import done, failed, intent, job, owner
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.regenerate_list import RegenerateList, new_list_name
from magic_hour_provider.batch.records.state import ItemState

KEYS = ("a", "b", "c")


@pytest.fixture
def records(place) -> ItemRecords:
    """Three items: a complete, b failed, c under way."""
    one = ItemRecords.open(place.uri, owner())
    for key in KEYS:
        declared = one.declare(key, ItemState(), intent())
        one.complete(declared, job(f"job-{key}"))
    one.deliver("a", 1, done("job-a"))
    one.fail("b", 1, failed("job-b"), refunded=True)
    return one


def test_new_jobs_of_many_items(records, place):
    """A later worker finds what is asked for; the next intent consumes it, and its withdrawal brings it back."""
    states = {key: state for key, state in records.load().items() if key in "ab"}
    records.instruct_many(states, new_list_name())
    later = ItemRecords.open(place.uri, owner(2))
    loaded = later.load()
    assert {key: [one.action for one in loaded[key].instructions] for key in KEYS} == {
        "a": ["regenerate"],
        "b": ["regenerate"],
        "c": [],
    }
    assert (loaded["b"].price, loaded["b"].credits) == (5, 0)
    declared = later.declare("a", loaded["a"], intent("BBBBBBBB"))
    assert later.read_intent("a", 2).instruction is not None
    assert later.get("a").instructions == ()
    later.withdraw(declared)
    assert later.get("a").instructions == loaded["a"].instructions
    declared = later.declare("a", later.get("a"), intent("CCCCCCCC"))
    later.complete(declared, job("job-2"))
    assert later.get("a").instructions == ()
    assert ItemRecords.open(place.uri).load()["a"].instructions == ()
    assert len(ItemRecords.open(place.uri).load()["b"].instructions) == 1


def test_what_was_failed_and_is_complete_by_now(records, place):
    """The same job's files were stored by another worker: nothing is missing, so nothing is paid for again."""
    records.instruct_many({"b": records.load()["b"]}, new_list_name())
    assert [one.action for one in records.load()["b"].instructions] == ["regenerate"]
    records.deliver("b", 1, done("job-b"))
    assert ItemRecords.open(place.uri).load()["b"].instructions == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"version": 2, "items": {"a": [1, "job-a", "done"]}}',
        b'{"version": 1, "items": 5}',
        b'{"version": 1, "items": {"a": 5, "b": ["1", "x", "failed"], "c": [1, null, "job"]}}',
    ],
)
def test_a_list_that_cannot_be_read(records, data):
    """It asks for nothing, and stops nobody."""
    records.folder.write(new_list_name(), data)
    assert all(state.instructions == () for state in records.load().values())
    assert RegenerateList.read(None).replaced == {}
