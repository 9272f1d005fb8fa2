"""The S3 that other tests use is one, and nothing reaches Amazon."""

from __future__ import annotations

import pytest

from magic_hour_provider.media import open_path


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
