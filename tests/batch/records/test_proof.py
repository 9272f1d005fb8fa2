"""What a storage must show before anything is paid for."""

from __future__ import annotations

import pytest

from helpers.items import OWNER, intent
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.records import folder
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.ledger.record import RecordError
from magic_hour_provider.storage.exclusive import NotExclusiveError


def test_each_storage_is_proved(place):
    """Disks and the large clouds refuse a taken name, others do not; each tells its time, and no probe stays."""
    records = ItemRecords.open(place.uri, OWNER)
    proof = records.prove()
    assert proof.is_exclusive == (place.taken == "refused")
    assert proof.now() is not None
    assert records.folder.list_all() == []
    assert records.load() == {}


def test_a_storage_that_overwrites(bucket, monkeypatch):
    """Its protocol would say that it refuses a taken name; the probe shows that it does not: claims are written."""
    real = folder.create_file
    monkeypatch.setattr(folder, "create_file", lambda path, data: folder.replace_file(path, data))
    records = ItemRecords.open(f"{bucket.uri}/out", OWNER)
    assert not records.prove().is_exclusive
    monkeypatch.setattr(folder, "create_file", real)
    records.declare("a", records.get("a"), intent())
    assert sorted(key.split("!")[2] for key in bucket.keys()) == ["claim", "intent"]  # noqa: SIM118 (its own method)


def test_a_storage_that_says_no_and_overwrites_all_the_same(tmp_path, monkeypatch):
    """The second one was refused, and yet it is what is there."""

    def create(path, data):
        there = path.exists()
        folder.replace_file(path, data)
        if there:
            raise FileExistsError

    monkeypatch.setattr(folder, "create_file", create)
    assert not ItemRecords.open(str(tmp_path), OWNER).prove().is_exclusive


def test_a_storage_that_begins_to_refuse(tmp_path, monkeypatch):
    """The first one was written, and of the second one it cannot say."""
    real, calls = folder.create_file, []

    def create(path, data):
        calls.append(path)
        if len(calls) > 1:
            raise NotExclusiveError
        real(path, data)

    monkeypatch.setattr(folder, "create_file", create)
    assert not ItemRecords.open(str(tmp_path), OWNER).prove().is_exclusive


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_a_listing_that_shows_it_later_is_refused(tmp_path, monkeypatch, kind):
    """A retry would not find what was paid for; nothing is declared there."""
    monkeypatch.setattr(folder, "list_names", lambda *_: [])
    records = ItemRecords.open(str(tmp_path) if kind == "local" else f"memory://{tmp_path.name}/late", OWNER)
    with pytest.raises(InvalidInputError, match=r"does not show what was just written.*might pay again"):
        records.declare("a", records.get("a"), intent())
    monkeypatch.undo()
    assert records.folder.list_all() == []


def test_a_storage_that_forgets_is_refused(tmp_path, monkeypatch):
    """What was just written cannot be read back."""
    monkeypatch.setattr(folder, "read_file", lambda _: b"")
    with pytest.raises(InvalidInputError, match="cannot be read back"):
        ItemRecords.open(str(tmp_path), OWNER).prove()


def test_a_storage_that_is_away(tmp_path, monkeypatch):
    """It may be back for a retry, which proves it again."""

    def away(*_):
        raise OSError("away")

    records = ItemRecords.open(str(tmp_path), OWNER)
    with monkeypatch.context() as patch:
        patch.setattr(folder, "list_names", away)
        with pytest.raises(RecordError, match=r"cannot be listed now \(OSError: away\)") as caught:
            records.prove()
    assert caught.value.retryable
    assert records.prove().is_exclusive


def test_who_may_not_delete_pays_all_the_same(bucket, monkeypatch):
    """The probe stays, and no reader takes it for a record."""

    def refused(*_):
        raise PermissionError("403 DeleteObject")

    monkeypatch.setattr(folder, "remove_file", refused)
    records = ItemRecords.open(f"{bucket.uri}/out", OWNER)
    assert records.prove().is_exclusive
    assert len(records.folder.list_all()) == 1
    assert records.load() == {}


@pytest.mark.parametrize("path", ["relative/folder", "s3://nobody@bucket/out", "/a/../b"])
def test_a_folder_that_cannot_be_used(path):
    """It is refused when it is opened."""
    with pytest.raises(InvalidInputError):
        ItemRecords.open(path, OWNER)
