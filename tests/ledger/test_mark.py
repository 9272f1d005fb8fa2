"""The mark of an attempt, and what Airflow says of the attempt before it."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from magic_hour_provider.ledger.places.mark import AttemptMark, EarlierXComs

OWN = AttemptMark("id2", 1, 0)


@pytest.mark.parametrize("value", [None, "text", 3, [], {}, {"id": "x"}])
def test_what_is_no_mark_counts_as_none(value):
    """A person's word, or half of one."""
    assert AttemptMark.read(value) is None


def test_a_mark_of_a_newer_version_is_read():
    """What it has besides is left out."""
    assert AttemptMark.read(OWN.to_json() | {"more": 1}) == OWN


@pytest.mark.parametrize(
    ("own", "before", "is_other"),
    [
        (OWN, None, True),
        (OWN, AttemptMark("id1", 1, 0), True),
        (OWN, AttemptMark("id1", 4, 2), True),
        (OWN, OWN, False),
        (AttemptMark("", 1, 0), AttemptMark("", 1, 0), True),
        (AttemptMark("id3", 2, 0), None, False),
        (AttemptMark("id3", 2, 0), AttemptMark("id1", 1, 0), False),
        (AttemptMark("id3", 2, 0), AttemptMark("id2", 1, 0, refused=True), True),
    ],
)
def test_whose_record_an_attempt_finds(own, before, is_other):
    """A first attempt's is another run's, unless the same try began before; so is what a first attempt has refused."""
    assert own.finds_deleted_run(before) is is_other


@pytest.mark.parametrize("ti", [SimpleNamespace(), SimpleNamespace(_ti_context_from_server=None), Mock()])
def test_an_airflow_that_names_no_keys(ti):
    """Nothing is known then, which is not the same as nothing pushed."""
    assert EarlierXComs.of(ti) == EarlierXComs(is_known=False)


def test_the_keys_that_airflow_names():
    """Ours count, and Airflow's own of a result."""
    keys = ["any_other", "magic_hour.intent.AB", "magic_hour.job.j1", "magic_hour.job.j2"]
    ti = SimpleNamespace(_ti_context_from_server=SimpleNamespace(xcom_keys_to_clear=keys))
    assert EarlierXComs.of(ti) == EarlierXComs(("AB",), ("j1", "j2"), is_known=True)
    keys.append("magic_hour_job")  # also of an attempt that knew nothing of those before it
    assert not EarlierXComs.of(ti).knew_unpaid
    keys += ["magic_hour.unpaid", "return_value"]
    earlier = EarlierXComs.of(ti)
    assert earlier.knew_unpaid
    assert earlier.has_succeeded
    keys.remove("magic_hour.unpaid")
    keys.append("magic_hour.refunded.j1")
    earlier = EarlierXComs.of(ti)
    assert (earlier.tags, earlier.job_ids, earlier.refunded) == (("AB",), ("j2",), ("j1",))
    assert earlier.knew_unpaid
