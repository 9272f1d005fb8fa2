"""Two places of one ledger: what is in either counts, an intent is in both, and two different jobs are an error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from helpers.stores import Store
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.ledger.file_store import FileStore
from magic_hour_provider.ledger.places.several import Places
from magic_hour_provider.ledger.record import KEY, Record, RecordError

INTENT = Record("intent", "t", "image", "TAG1", {})
SUBMITTED = replace(INTENT, state="submitted", job_id="job1")
DELIVERED = replace(SUBMITTED, state="delivered")
RESUMED = replace(SUBMITTED, clear_number=1, max_tries=1)
NEXT = Record("intent", "t", "image", "TAG2", {}, history=DELIVERED.past())
ADOPTED = Record("submitted", "t", "image", "", {}, job_id="job9", history=INTENT.past())


class Away(Store):
    """A store that does not answer."""

    def get(self, key: str, default: Any = None) -> Any:
        """Fail."""
        raise ConnectionError("away")

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        """Fail."""
        raise ConnectionError("away")


@pytest.fixture
def files(tmp_path):
    """The second place."""
    return FileStore(str(tmp_path))


def put(airflow: Store, files: FileStore, one: Record | None, other: Record | None) -> Places:
    """Return both places with what each holds."""
    for store, record in ((airflow, one), (files, other)):
        if record is not None:
            store.set(KEY, record.to_json())
    return Places(airflow, files)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (None, INTENT),
        (None, DELIVERED),
        (INTENT, SUBMITTED),
        (SUBMITTED, DELIVERED),
        (SUBMITTED, RESUMED),
        (DELIVERED, replace(RESUMED, state="delivered")),
        (DELIVERED, NEXT),
        (INTENT, ADOPTED),
    ],
)
def test_the_place_that_knows_most_counts(files, less, more):
    """Whichever of the two it is."""
    assert put(Store(), files, less, more).read() == (more, less is not None)
    files.delete(KEY)
    assert put(Store(), files, more, less).read() == (more, True)


def test_two_different_jobs_are_an_error(files):
    """The message names both, and where; nothing is sent."""
    places = put(Store(), files, SUBMITTED, replace(SUBMITTED, tag="TAG3", job_id="job3"))
    with pytest.raises(InvalidInputError, match=r"task's state.*job job1, the file .*job job3\. Nothing was sent"):
        places.read()


def test_a_place_that_is_away(files):
    """Before anything is paid it is an error; what is known of a paid job is written to the other one."""
    files.set(KEY, INTENT.to_json())
    places = Places(Away(), files)
    with pytest.raises(RecordError, match="cannot be read now"):
        places.read()
    assert places.read(tolerant=True) == (INTENT, False)
    assert len(places.set(KEY, SUBMITTED.to_json())) == 1
    assert files.get(KEY) == SUBMITTED.to_json()
    with pytest.raises(RecordError, match="cannot be written now"):
        Places(Away()).set(KEY, SUBMITTED.to_json())


@pytest.mark.parametrize("before", [None, DELIVERED])
def test_an_intent_is_in_every_place_or_in_none(files, before):
    """Where the second place cannot be written, the first is as before."""
    airflow = Store()
    places = put(airflow, files, before, before)
    places.read()
    files.set(f"{KEY}.claim", {})
    if before is None:
        files.set(KEY, INTENT.to_json())  # another attempt, meanwhile
    with pytest.raises(RecordError, match="another one wrote"):
        places.declare(NEXT)
    assert airflow.get(KEY) == (None if before is None else before.to_json())
