"""The S3 that other tests use is one, and nothing reaches Amazon."""

from __future__ import annotations

import pytest

from magic_hour_provider.storage.files import read_file
from magic_hour_provider.storage.paths import open_path


def test_a_bucket_behind_an_airflow_connection(bucket):
    """What is written through Airflow's paths is in the bucket, and the other way round."""
    path = open_path(f"{bucket.uri}/a b/ü.txt")
    with path.open("wb") as file:
        file.write(b"one")
    assert bucket.read("a b/ü.txt") == b"one"
    assert open_path(bucket.write("c.txt", b"two")).read_bytes() == b"two"
    assert (bucket.keys(), bucket.unfinished()) == (["a b/ü.txt", "c.txt"], [])


def test_every_test_has_a_bucket_of_its_own(bucket):
    """Nothing of another test is in it."""
    assert bucket.keys() == []


def test_what_names_no_address_stays_on_this_machine():
    """Without a connection, S3's own libraries ask a closed port of this machine, not Amazon."""
    boto3 = pytest.importorskip("boto3")
    assert boto3.client("s3").meta.endpoint_url == "http://127.0.0.1:9"


def test_an_object_is_read_in_one_stream(bucket):
    """However small the pieces, the store is asked once; the whole object comes, in pieces of a MiB at the most."""
    from magic_hour_provider.storage.s3_reader import S3Reader

    content = bytes(range(256)) * 10_000
    path = open_path(bucket.write("ä b.png", content))
    asked = []
    call = path.fs.call_s3
    path.fs.call_s3 = lambda method, **arguments: asked.append(method) or call(method, **arguments)
    try:
        with S3Reader(path.fs, path.path) as stream:
            pieces = list(iter(lambda: stream.read(2 * 1024 * 1024), b""))
    finally:
        del path.fs.call_s3
    assert (b"".join(pieces), [len(piece) for piece in pieces[:2]]) == (content, [1024 * 1024] * 2)
    assert asked == ["get_object"]
    with S3Reader(path.fs, path.path) as stream:
        assert stream.read(3) == content[:3]
    with pytest.raises(FileNotFoundError), S3Reader(path.fs, f"{path.path}.not"):
        pass


def test_a_small_file_is_one_request(bucket, monkeypatch):
    """Its length is not asked for first: an attempt of a batch reads a record of each of its items."""
    path = open_path(bucket.write("record", b"{}"))
    asked, call = [], path.fs._call_s3

    async def noted(method, *arguments, **options):
        asked.append(method)
        return await call(method, *arguments, **options)

    monkeypatch.setattr(path.fs, "_call_s3", noted)
    assert read_file(path) == b"{}"
    assert asked == ["get_object"]
