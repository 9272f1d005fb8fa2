"""Names of files: what is written is read back, and what cannot be read stops the reader."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.records.names import (
    MAX_KEY,
    StepName,
    check_key,
    key_of,
    name_id,
    parse_names,
    prefix_of,
    shard_of,
)

KEYS = st.from_regex(r"[a-z0-9_-][a-z0-9._~%=@+-]{0,99}", fullmatch=True)
DIGESTS = st.from_regex(r"[0-9a-f]{8,16}", fullmatch=True)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
NUMBERS = st.none() | st.integers(0, 10**9)
STEPS = st.one_of(
    *(st.builds(StepName, KEYS, st.integers(1, 999), st.just(step)) for step in ("void", "unknown")),
    st.builds(StepName, KEYS, st.integers(1, 999), st.just("claim"), nonce=DIGESTS),
    *(
        st.builds(StepName, KEYS, st.integers(1, 999), st.just(step), nonce=st.just("") | DIGESTS)
        for step in ("intent", "withdrawn")
    ),
    st.builds(
        StepName,
        *(KEYS, st.integers(1, 999), st.just("job")),
        job_id=IDS | st.just("_"),
        credits=NUMBERS,
        owner=st.just("") | DIGESTS,
        submitted_at=NUMBERS,
        fingerprint=st.just("") | DIGESTS,
    ),
    st.builds(
        StepName,
        *(KEYS, st.integers(1, 999), st.just("failed")),
        job_id=st.just("") | IDS,
        credits=NUMBERS,
        retryable=st.booleans(),
        refunded=st.booleans(),
    ),
    st.builds(StepName, KEYS, st.integers(1, 999), st.just("done"), job_id=IDS, credits=NUMBERS),
    st.builds(StepName, KEYS, st.integers(0, 999), st.just("adopt"), job_id=IDS, replaced=st.just("") | IDS),
    st.builds(StepName, KEYS, st.integers(0, 999), st.just("regenerate"), replaced=st.just("") | IDS),
)


@given(STEPS)
def test_a_name_is_read_back(name):
    """It fits on a disk, beside its staging file, and belongs to its item's folder and prefix."""
    assert StepName.parse(name.path) == name
    assert len(f".{name}.12345678.tmp".encode()) <= 255
    assert str(name).startswith(prefix_of(name.key))
    assert name.path.startswith(f"{shard_of(name.key)}/")
    assert key_of(name.path) == f"{shard_of(name.key)}/{name.key}"


@pytest.mark.parametrize("step", ["job", "done", "failed"])
def test_credits_below_nothing(step):
    """No name could hold them and be read back: they are not known."""
    name = StepName("a", 1, step, job_id="x", credits=-5)
    assert StepName.parse(name.path) == replace(name, credits=None)


@given(KEYS, KEYS)
def test_two_keys_never_meet(one, other):
    """Not even where one begins like the other, or a disk takes capitals for small letters."""
    assert (prefix_of(one).startswith(prefix_of(other))) == (one == other)
    assert one == one.lower()


@pytest.mark.parametrize("key", ["", "A", "a/b", "a!b", ".a", "a b", "ä", "a" * (MAX_KEY + 1), "a\n"])
def test_what_is_no_key(key):
    """It would be another item's file on some disk, a hidden one, or one in another folder."""
    with pytest.raises(InvalidInputError, match="no key"):
        check_key(key)


def path(name: str) -> str:
    """Return a name in the folder of the item ``a``."""
    return f"{shard_of('a')}/{name}"


@pytest.mark.parametrize(
    "name",
    [
        path("a!1!settled"),
        path("a!1!void!0123"),
        path("a!1!unknown!x"),
        path("a!1!intent!0123!0123"),
        path("a!1!job!id!5!0123456789ab!1!0123456789!more"),
        path("a!1!job!id!five!0123456789ab!1!0123456789"),
        path("a!1!job!../id!5!!!"),
        path("a!1!failed!often!kept!5!id"),
        path("a!01!unknown"),
        path("a!-1!unknown"),
        path("a!!unknown"),
        path("A!1!unknown"),
        path("a"),
        path("inner/a!1!unknown"),
        "00/a!1!unknown",
        "a!1!unknown",
        "index.json",
    ],
)
def test_a_name_of_a_later_version_stops_the_reader(name):
    """It may be a payment: to take it for nothing might pay twice."""
    with pytest.raises(InvalidInputError) as caught:
        parse_names([path("a!1!unknown"), name])
    assert "no name that this version" in str(caught.value)
    assert "nothing was charged" in str(caught.value)


@pytest.mark.parametrize(
    "name", [path("a!1!x-thumbnail!1!2"), path(".a!1!job.0123.tmp"), ".probe-1234", ".DS_Store", path("")]
)
def test_what_means_nothing_for_the_money(name):
    """Notes of later versions, staging files, probes and what operating systems leave behind are passed over."""
    assert parse_names([name]) == []


def test_an_id_that_is_too_long_is_in_the_file():
    """It would not fit into a name; what is no id at all is refused."""
    assert name_id("a" * 64) == "a" * 64
    assert name_id("a" * 65) == "_"
    assert name_id(None) == ""
    with pytest.raises(InvalidInputError):
        name_id("../account")
