"""The files that rows give: each is asked for once, and one that cannot be read stops the batch."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from airflow.sdk import Asset, ObjectStoragePath
from fsspec.implementations.local import LocalFileSystem

from helpers.rows import LINK, bodies, keys, reading
from helpers.waiting import HANG_S
from magic_hour_provider.api.errors import Charge, InvalidInputError, TransferError
from magic_hour_provider.batch.rows.formats import reading as opening
from magic_hour_provider.inputs import sources

FIELD = "assets.image_file_paths.0"


@pytest.fixture
def photos(tmp_path):
    """Three pictures, two of which are the same."""
    for name, data in (("a", b"one"), ("b", b"two"), ("copy of a", b"one")):
        (tmp_path / f"{name}.png").write_bytes(data)
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """Count what local storage is asked for, by name, and the threads that ask."""
    counts: Counter[str] = Counter()
    info, opened = LocalFileSystem.info, LocalFileSystem.open

    def count_info(self, path, **more):
        counts[f"info {path.rpartition('/')[2]}"] += 1
        return info(self, path, **more)

    def count_open(self, path, *arguments, **more):
        counts[f"open {path.rpartition('/')[2]}"] += 1
        return opened(self, path, *arguments, **more)

    monkeypatch.setattr(LocalFileSystem, "info", count_info)
    monkeypatch.setattr(LocalFileSystem, "open", count_open)
    return counts


def test_a_file_that_rows_share_is_asked_for_once(photos, asked):
    """However many rows give it; without ids its content is read once."""
    rows = [{FIELD: str(photos / "a.png"), "name": str(number)} for number in range(50)]
    with reading(rows) as items:
        assert (asked["info a.png"], asked["open a.png"]) == (1, 1)
        assert len({items.fingerprint(item)["assets.image_file_paths"] for item in items}) == 1
        assert (asked["info a.png"], asked["open a.png"]) == (1, 1)


def test_what_a_resuming_worker_asks_for(photos, asked):
    """Files that were checked before are not asked for where items have ids, until a fingerprint needs one."""
    rows = [{FIELD: str(photos / "a.png"), "sku": 1}, {FIELD: str(photos / "gone.png"), "sku": 2}]
    with reading(rows, item_id="sku", is_first=False) as items:
        assert not asked
        first, second = items
        assert items.fingerprint(first)
        assert items.fingerprint(first)
        assert (asked["info a.png"], asked["open a.png"]) == (1, 1)
        with pytest.raises(InvalidInputError, match=r"gone\.png' cannot be read"):
            items.fingerprint(second)
    without_ids = [{FIELD: row[FIELD]} for row in rows]
    assert len(keys(without_ids[:1], is_first=False)) == 1
    with pytest.raises(InvalidInputError, match=r"row 2: .*gone\.png' cannot be read"):
        keys(without_ids, is_first=False)


def test_content_is_identity(photos):
    """The same picture under two names is one item; another one under the same name is another item."""
    rows = [{FIELD: str(photos / f"{name}.png")} for name in ("a", "b", "copy of a")]
    with reading(rows) as items:
        before = [item.key for item in items]
        assert (len(items), items.duplicates) == (2, 1)
        assert [body["assets"]["image_file_paths"] for body in bodies(items)] == [[row[FIELD]] for row in rows[:2]]
    (photos / "a.png").write_bytes(b"new")
    after = keys(rows)
    assert len(after) == 3
    assert after[1] == before[1]
    assert after[2] == before[0]


def test_every_kind_of_input(photos, place):
    """What the operator takes works in a row: each counts as what it is, and arrives as it was given."""
    place.write("c.png", b"three")
    values = [
        str(photos / "a.png"),
        photos / "b.png",
        f"{place.uri}/c.png",
        LINK,
        "api-assets/id/x.png",
        {"kind": "image", "id": "j1", "tool": "x"},
        {"kind": "image", "id": "j1", "index": 1},
        {"file_path": "api-assets/id/y.png", "sha256": "ab", "size": 1},
        "https://magichour.ai/my-library?imageId=j9",
    ]
    same = [
        {"uri": str(photos / "a.png"), "index": 0},
        Asset(f"file://{photos}/b.png"),
        ObjectStoragePath(f"{place.uri}/c.png"),
        f" {LINK}\n",
    ]
    with reading([{FIELD: value} for value in [*values, *same]]) as items:
        assert (len(items), items.duplicates) == (len(values), len(same))
        sent = [body["assets"]["image_file_paths"][0] for body in bodies(items)]
        assert sent == [str(value) if value is values[1] else value for value in values]
        assert [items.prepare(item).inputs[0].value for item in items] == sent


def test_files_that_cannot_be_read(photos):
    """Each row that gives one is bad, in the order of the rows, beside those that are bad without it."""
    (photos / "empty.png").touch()
    (photos / "folder.png").mkdir()
    names = ["gone", "a", "empty", "gone", "folder"]
    rows = [{FIELD: str(photos / f"{name}.png"), "sku": number} for number, name in enumerate(names)]
    rows.insert(2, {"sku": "x", "nam": 1})
    for item_id in ("sku", None):
        given = [{name: row[name] for name in row if item_id or name != "sku"} for row in rows]
        with pytest.raises(InvalidInputError) as caught:
            keys(given, item_id=item_id)
        lines = caught.value.message.splitlines()
        assert lines[0] == "5 of 6 rows of requests cannot work:"
        said = [(1, "FileNotFoundError"), (3, "`nam`"), (4, "it is empty"), (5, "FileNotFound"), (6, "it is a folder")]
        for line, (number, words) in zip(lines[1:], said, strict=True):
            assert line.startswith(f"  row {number}: ")
            assert words in line


def test_a_storage_that_does_not_answer(photos, monkeypatch):
    """A retry may help, so that the error says; what cannot ever work counts more; no identity is made of it."""
    answer = LocalFileSystem.info

    def fail(self, path, **more):
        if "away" in path:
            raise OSError("the network is away")
        return answer(self, path, **more)

    monkeypatch.setattr(LocalFileSystem, "info", fail)
    rows = [{FIELD: str(photos / "a.png")}, {FIELD: "/x/away.png"}]
    with pytest.raises(TransferError, match=r"row 2: .* \(OSError: the network is away") as caught:
        keys(rows)
    assert caught.value.charge is Charge.NONE
    with pytest.raises(InvalidInputError, match="2 of 3 rows"):
        keys([*rows, {FIELD: str(photos / "gone.png")}])


def test_a_storage_that_is_gone_is_not_asked_ten_thousand_times(monkeypatch):
    """After some files none of which can be had, the others are not asked for; the error says "at least"."""
    asked = []

    def fail(self, path, **more):
        asked.append(path)
        raise OSError("the network is away")

    monkeypatch.setattr(LocalFileSystem, "info", fail)
    with pytest.raises(TransferError, match=r"^At least 128 of 2,000 rows of requests cannot work:") as caught:
        keys([{FIELD: f"/x/{number}.png"} for number in range(2000)])
    assert len(asked) == 128
    assert "and 108 more. No job was created" in str(caught.value)


def test_files_are_asked_for_side_by_side(photos, monkeypatch):
    """Eight at a time: each waits for the others, so that one after the other would never end."""
    together = threading.Barrier(8, timeout=HANG_S)
    read = sources._read_info
    monkeypatch.setattr(sources, "_read_info", lambda path: (together.wait(), read(path))[1])
    names = [f"{number}.png" for number in range(16)]
    for name in names:
        (photos / name).write_bytes(name.encode())
    assert len(keys([{FIELD: str(photos / name)} for name in names])) == 16


def test_etags_of_an_object_store(bucket):
    """Its own checksum is the identity, and no file is read for it."""
    uris = [bucket.write(f"{number}.png", f"{number // 2}".encode()) for number in range(4)]
    rows = [{FIELD: uri} for uri in uris]
    with reading(rows) as items:
        assert (len(items), items.duplicates) == (2, 2)
        assert items.fingerprint(next(iter(items)))
    with pytest.raises(InvalidInputError, match=r"row 5: .*FileNotFoundError"):
        keys([*rows, {FIELD: f"{bucket.uri}/gone.png"}])


def test_files_that_the_plan_does_not_take(tmp_path):
    """Every row that gives one is named, before anything is uploaded."""
    (tmp_path / "small.png").write_bytes(b"x")
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(200_000_001)
    names = ["large", "small", "large"]
    rows = [{FIELD: str(tmp_path / f"{name}.png"), "sku": number} for number, name in enumerate(names)]
    with reading(rows, item_id="sku") as items:
        for tier in ("creator", "unheard of", None):
            items.check_account(tier, None)
        with pytest.raises(InvalidInputError, match="2 of 3 rows") as caught:
            items.check_account("free", None)
    assert "row 3: The file" in caught.value.message
    assert "and the account's plan 'free' takes 200.0 MB at most" in caught.value.message


def test_rows_that_are_replaced_while_they_are_read(tmp_path, monkeypatch):
    """Half of one file and half of another would be paid for."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"name": "a"}\n')
    seen = []

    def replaced(text):
        seen.append(text)
        yield from read(text)
        path.write_text('{"name": "other"}\n')

    read, unit = opening._TEXT_FORMATS["jsonl"]
    monkeypatch.setitem(opening._TEXT_FORMATS, "jsonl", (replaced, unit))
    with pytest.raises(TransferError, match="was replaced while it was read"):
        keys(str(path))
    assert len(seen) == 1
