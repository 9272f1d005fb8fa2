"""Paths in the user's storage, and whether files can be written there."""

from __future__ import annotations

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from helpers.waiting import at_once
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.storage.paths import check_folder, open_path


def test_many_tasks_try_one_folder_at_once(tmp_path):
    """The trial file has a name of its own: mapped tasks that start together do not trip over each other."""
    assert at_once(8, lambda: [check_folder(str(tmp_path / "a" / "b")) for _ in range(20)]) == []
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("folder", ["/proc/nowhere", "nosuch://bucket/x", "s3://no_such_connection@bucket/x"])
def test_a_folder_that_cannot_be_written(folder):
    """Whatever its storage says, the person reads one sentence with the folder in it."""
    with pytest.raises(InvalidInputError, match="cannot be written"):
        check_folder(folder)


def test_a_folder_is_tried_and_left_as_it_was(place):
    """Nothing of the trial remains, and the folder can be written."""
    check_folder(place.uri)
    assert (place.names(), place.unfinished()) == ([], [])


def test_the_trial_of_a_bucket_makes_no_object(bucket):
    """Not even for a moment: listeners would wake, versions remain, and a right to delete be needed."""
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    check_folder(f"{bucket.uri}/out")
    assert "Versions" not in bucket.client.list_object_versions(Bucket=bucket.name)


def test_the_trial_makes_no_bucket(bucket):
    """A slip in a bucket's name is an error, and no new bucket on the user's account."""
    with pytest.raises(InvalidInputError, match="cannot be written"):
        check_folder(bucket.uri.replace(bucket.name, "slipped-name") + "/out")
    assert "slipped-name" not in [one["Name"] for one in bucket.client.list_buckets()["Buckets"]]


def test_a_connection_that_does_not_exist(monkeypatch):
    """It is said before any storage is asked; libraries would proceed without credentials."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("something was asked"))
    with pytest.raises(InvalidInputError, match="no Airflow connection 'no_such_connection'"):
        open_path("s3://no_such_connection@bucket/x")
    with pytest.raises(InvalidInputError, match="no Airflow connection 'no_such_connection'"):
        check_folder("s3://no_such_connection@bucket/x")


def test_a_store_that_the_user_attached_needs_no_connection():
    """Airflow's ``attach`` gives a file system a name of its own; no connection is looked for."""
    attach("memory", "attached-by-hand", fs=MemoryFileSystem())
    check_folder("memory://attached-by-hand@bucket/out")


@pytest.mark.parametrize("folder", ["/data/../etc", "..", "a/../../b", "s3://aws_test@bucket/x/..", "memory://a/../b"])
def test_a_folder_that_climbs_out(folder):
    """A template's value must not lead out of the folder that the path begins with."""
    with pytest.raises(InvalidInputError, match=r"has '\.\.' in it"):
        check_folder(folder)


def test_dots_in_names_are_names(tmp_path):
    """Only a whole ``..`` climbs."""
    check_folder(str(tmp_path / "v1..2" / "...x"))
