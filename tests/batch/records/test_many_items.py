"""Thousands of items: their state is a listing, in bounded memory. benchmarks/batch.py says how long it takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from helpers.items import OWNER
from helpers.places import Place
from magic_hour_provider.batch.records import folder
from magic_hour_provider.batch.records.names import StepName
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.batch.records.state import Spent

ITEMS = 10_000
PAGES = 1_000  # items of an object store, whose listings have a thousand names each


def names(items: int = ITEMS) -> Iterator[str]:
    """Yield the names of three steps of each item."""
    for number in range(items):
        key, job_id = f"sku-{number:06d}", f"clx7uu86w0a5qp55yxz{number:06d}"
        yield StepName(key, 1, "intent").path
        paid = {"owner": OWNER.digest, "submitted_at": 1_800_000_000 + number, "fingerprint": f"{number:010x}"}
        yield StepName(key, 1, "job", job_id=job_id, credits=5, **paid).path
        yield StepName(key, 1, "done", job_id=job_id, credits=4).path


@pytest.fixture(params=["local", "s3"])
def many(request, tmp_path, monkeypatch) -> tuple[ItemRecords, int]:
    """The records of all of them, and how many there are."""

    def refused(*_):
        raise AssertionError("a file is read")

    monkeypatch.setattr(folder, "read_file", refused)
    if request.param == "local":
        root = tmp_path / folder.BATCH_FOLDER
        for number in range(256):
            (root / f"{number:02x}").mkdir(parents=True)
        for name in names():
            (root / name).touch()
        return ItemRecords.open(Place.local(tmp_path).uri, OWNER), ITEMS
    from moto.s3.models import s3_backends

    bucket = request.getfixturevalue("bucket")
    backend = s3_backends["123456789012"]["aws"]
    for name in names(PAGES):
        backend.put_object(bucket.name, f"out/{folder.BATCH_FOLDER}/{name}", b"")
    request.addfinalizer(lambda: backend.buckets[bucket.name].keys.clear())
    return ItemRecords.open(f"{bucket.uri}/out", OWNER), PAGES


def test_no_file_is_read(many):
    """Their names tell all."""
    records, items = many
    states = records.load()
    assert len(states) == items
    assert {(one.status, one.credits, one.number) for one in states.values()} == {("done", 4, 1)}
    assert records.spent(OWNER) == Spent(4 * items, items)
    assert records.get("sku-000007") == states["sku-000007"]


def test_the_memory_of_ten_thousand_states(monkeypatch, tmp_path):
    """Less than a KiB for each item is kept."""
    paths = list(names())
    monkeypatch.setattr(folder, "list_tree", lambda _: list(paths))
    records = ItemRecords.open(str(tmp_path), OWNER)
    tracemalloc.start()
    try:
        states = records.load()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < len(states) * 1024
