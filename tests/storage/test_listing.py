"""Listings of small files: whole, of this moment, and an error where the storage does not answer."""

from __future__ import annotations

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from magic_hour_provider.storage.exclusive import NotExclusiveError, create_file
from magic_hour_provider.storage.files import replace_file
from magic_hour_provider.storage.listing import list_names, list_tree
from magic_hour_provider.storage.paths import open_path


def put(path, data: bytes = b"x") -> None:
    """Write a file past the name's test where the storage has none."""
    try:
        create_file(path, data)
    except NotExclusiveError:
        replace_file(path, data)


def test_names_are_listed_by_how_they_begin(place):
    """Also where there is no folder yet; what is in folders inside is no name of this one."""
    folder = open_path(place.uri)
    assert list_names(folder, "job.") == []
    for name in ("job", "job.a", "job.[b]", "other"):
        place.write(name, b"x")
    put(folder / "inner" / "job.c")
    assert sorted(list_names(folder, "job.")) == ["job.[b]", "job.a"]


def test_the_whole_tree(place):
    """Files in the folder and in its folders; none where there is no folder yet."""
    folder = open_path(place.uri)
    assert list_tree(folder) == []
    for name in ("a", "b"):
        for number in range(3):
            put(folder / name / f"k!{number}")
    put(folder / "top")
    assert sorted(list_tree(folder)) == [f"{name}/k!{number}" for name in "ab" for number in range(3)] + ["top"]


def test_more_names_than_a_page(bucket, monkeypatch):
    """S3 gives so many names at a time: all are there, and names of a neighbour whose name begins alike are not."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # a thousand, in S3
    for number in range(41):
        bucket.write(f"out/{number % 2}/{number}", b"")
    bucket.write("out2/0/1", b"")
    assert bucket.client.list_objects_v2(Bucket=bucket.name)["KeyCount"] == 10
    assert len(set(list_tree(open_path(f"{bucket.uri}/out")))) == 41
    assert len(set(list_names(open_path(f"{bucket.uri}/out/0"), ""))) == 21


def test_what_another_machine_has_written_is_seen(bucket):
    """A listing that s3fs has kept of before is not asked."""
    folder = open_path(f"{bucket.uri}/out")
    put(folder / "a" / "one")
    assert folder.fs.ls(f"{bucket.name}/out/a", detail=False)
    bucket.write("out/a/two", b"x")
    assert sorted(list_names(folder / "a", "")) == ["one", "two"]
    assert sorted(list_tree(folder)) == ["a/one", "a/two"]


def test_a_bucket_that_is_not_there(s3_server, bucket):
    """It is no empty one."""
    folder = open_path(f"s3://aws_test@{bucket.name}-not/out")
    with pytest.raises(FileNotFoundError):
        list_tree(folder)
    with pytest.raises(FileNotFoundError):
        list_names(folder / "a", "")


def test_a_folder_that_cannot_be_listed_is_an_error(monkeypatch, tmp_path):
    """fsspec's own walk would take it for an empty one."""
    folder = open_path(f"memory://{tmp_path.name}/listing")
    put(folder / "a" / "one")
    real = MemoryFileSystem.ls

    def refused(fs, path, *arguments, **options):
        if str(path).endswith("/a"):
            raise OSError("away")
        return real(fs, path, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "ls", refused)
    with pytest.raises(OSError, match="away"):
        list_tree(folder)
    with pytest.raises(OSError, match="away"):
        list_names(folder / "a", "")
