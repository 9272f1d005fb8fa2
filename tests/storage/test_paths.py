"""Paths in the user's storage, and whether files can be written there."""

from __future__ import annotations

import errno
import os

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, BaseHook
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach, fs, store

from helpers import s3
from helpers.attempts import TaskInstance
from helpers.places import PrivateMemory
from helpers.waiting import at_once
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.storage import paths
from magic_hour_provider.storage.folders import check_given_folder
from magic_hour_provider.storage.paths import check_folder, open_path


def test_many_tasks_try_one_folder_at_once(tmp_path):
    """The trial file has a name of its own: mapped tasks that start together do not trip over each other."""
    assert at_once(8, lambda: [check_folder(str(tmp_path / "a" / "b")) for _ in range(20)]) == []
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("/proc/nowhere", r"/proc/nowhere' cannot be written .* See to the folder, its connection"),
        (
            "nosuch://bucket/x",
            r"cannot be used: nothing that is installed opens .*nosuch://bucket/x'.* Install the Air",
        ),
        (
            "s3://no_such@bucket/x",
            r"bucket/x' cannot be used: there is no Airflow connection 'no_such'.* Make that connection",
        ),
    ],
)
def test_a_folder_that_cannot_be_written(folder, words):
    """Whatever its storage says, the person reads the folder, the reason and what to do."""
    with pytest.raises(InvalidInputError, match=words):
        check_folder(folder)


def test_a_folder_is_tried_and_left_as_it_was(place):
    """Nothing of the trial remains, and the folder can be written."""
    check_folder(place.uri)
    assert (place.names(), place.unfinished()) == ([], [])


class Limited(PrivateMemory):
    """A file system on which one thing is not allowed.

    :param forbidden: the method that does it.
    """

    def __init__(self, forbidden):
        super().__init__()
        setattr(self, forbidden, self._refuse)

    def _refuse(self, *arguments, **options):
        raise PermissionError("not allowed here")


@pytest.mark.parametrize("forbidden", ["cp_file", "rm_file", "_open", "mkdir"])
def test_what_the_delivery_cannot_do_is_found_before_anything_is_paid(airflow, forbidden):
    """A file is staged, renamed and removed by way of trial: what fails would have failed after the payment."""
    attach("memory", f"limited-{forbidden}", fs=Limited(forbidden))
    operator = airflow.operator(output_path=f"memory://limited-{forbidden}@x/out")
    with pytest.raises(AirflowFailException, match=r"cannot be written \(PermissionError: not allowed here\)"):
        airflow.attempt(operator, TaskInstance())
    assert airflow.creates() == 0


@pytest.mark.parametrize("trouble", [TimeoutError("too slow"), OSError(errno.ENOSPC, "full"), RuntimeError("503")])
def test_a_storage_that_is_in_trouble_now(airflow, trouble):
    """A retry may find it back: the attempt pays nothing, and the next one pays once."""
    store = PrivateMemory()
    attach("memory", f"troubled-{id(store)}", fs=store)
    operator, ti = airflow.operator(output_path=f"memory://troubled-{id(store)}@x/out"), TaskInstance()
    store.cp_file = lambda *_: (_ for _ in ()).throw(trouble)
    with pytest.raises(AirflowException, match=r"cannot be written.*nothing was charged.*A retry may") as caught:
        airflow.attempt(operator, ti)
    assert not isinstance(caught.value, AirflowFailException)
    assert (airflow.creates(), store.find("/")) == (0, [])
    del store.cp_file
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert airflow.creates() == 1


def test_a_folder_in_which_names_cannot_be_long(tmp_path, airflow):
    """The trial's name is as long as an output's: a path that leaves no room for it is refused for free."""
    limit = os.pathconf(tmp_path, "PC_PATH_MAX")
    folder = tmp_path
    while len(os.fsencode(folder)) < limit - 300:
        folder = folder / ("x" * 200)
    folder = folder / ("y" * (limit - 50 - len(os.fsencode(folder)) - 1))
    folder.mkdir(parents=True)
    with pytest.raises(AirflowFailException, match="cannot be written"):
        airflow.attempt(airflow.operator(output_path=str(folder)), TaskInstance())
    assert airflow.creates() == 0


def test_a_bucket_that_takes_no_parts(bucket, monkeypatch):
    """What is only refused when bytes are sent is found as well, and the upload that was begun is aborted."""
    fs = open_path(f"{bucket.uri}/out").fs
    call = fs.call_s3

    def refuse(method, *arguments, **options):
        if method == "upload_part":
            raise PermissionError("no checksum of this kind")
        return call(method, *arguments, **options)

    monkeypatch.setattr(fs, "call_s3", refuse)
    with pytest.raises(InvalidInputError, match=r"cannot be written \(PermissionError: no checksum of this kind\)"):
        check_folder(f"{bucket.uri}/out")
    assert (bucket.keys(), bucket.unfinished()) == ([], [])


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


@pytest.mark.parametrize(("scheme", "library"), [("s3", "s3fs"), ("gs", "gcsfs"), ("abfs", "adlfs")])
def test_a_package_that_is_not_installed(monkeypatch, scheme, library):
    """It is named, with its library; as on a plain install, to which a guide's bucket was given."""
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    monkeypatch.setattr(fs, "_register_filesystems", lambda: {"file": None})
    for authority in ("bucket", "some_connection@bucket"):
        with pytest.raises(InvalidInputError, match=f"apache-airflow-providers-.* and {library}"):
            check_folder(f"{scheme}://{authority}/x")


def test_a_store_that_was_opened_without_its_connection():
    """A path that a user's own code made before, as Airflow 3.2 and later open it, does not hide what is missing."""
    ObjectStoragePath("s3://no_connection_either@bucket/x").fs  # noqa: B018 (3.1 opens it only here)
    with pytest.raises(InvalidInputError, match="no Airflow connection 'no_connection_either'"):
        open_path("s3://no_connection_either@bucket/x")


def test_a_connection_is_looked_for_once(bucket, monkeypatch):
    """Not with each file of a batch."""
    monkeypatch.setattr(paths, "_CONNECTED", set())
    asked, get_connection = [], BaseHook.get_connection
    counted = staticmethod(lambda conn_id: asked.append(conn_id) or get_connection(conn_id))
    monkeypatch.setattr(paths.BaseHook, "get_connection", counted)
    open_path(f"{bucket.uri}/a")
    assert s3.CONN_ID in asked
    asked.clear()
    open_path(f"{bucket.uri}/b")
    assert asked == []


def test_a_store_that_the_user_attached_needs_no_connection():
    """Airflow's ``attach`` gives a file system a name of its own; no connection is looked for."""
    attach("memory", "attached-by-hand", fs=PrivateMemory())
    check_folder("memory://attached-by-hand@bucket/out")


@pytest.mark.parametrize("folder", ["/data/../etc", "..", "a/../../b", "s3://aws_test@bucket/x/..", "memory://a/../b"])
def test_a_folder_that_climbs_out(folder):
    """A template's value must not lead out of the folder that the path begins with."""
    with pytest.raises(InvalidInputError, match=r"has '\.\.' in it"):
        check_folder(folder)


@pytest.mark.parametrize(
    "folder",
    [
        *("s3://aws_test@bucket/x?versionId=3", "S3://bucket/x?versionId=", "s3a://bucket/a/x?versionId=3/b"),
        *("abfs://azure_test@box/x?versionid=3", "abfss://box/x?versionid=3", "az://box/x#y?versionid=3"),
    ],
)
def test_a_folder_with_a_version(airflow, folder):
    """Its storage would cut each file's name there: found while the DAG is parsed, and where a template gives it."""
    with pytest.raises(InvalidInputError, match=r"output_path .* for the version of one object"):
        check_given_folder(folder)
    operator = airflow.operator(output_path="{{ params.folder }}")
    operator.output_path = folder  # as it is rendered
    with pytest.raises(AirflowFailException, match=r"the version of one object.* nothing was charged"):
        airflow.attempt(operator, TaskInstance())
    assert airflow.creates() == 0


@pytest.mark.parametrize(
    "folder",
    [
        *("s3://bucket/{{ x.split('?versionId=')[0] }}", "{{ x }}?versionId=3", "/data/x?versionId=3"),
        *("s3://bucket/x?versionid=3", "s3://bucket/versionId=3", "gs://bucket/x#3", "gs://bucket/x?generation=3"),
    ],
)
def test_a_folder_that_has_no_version(folder):
    """What a template makes of it is not known yet, and elsewhere these are names."""
    check_given_folder(folder)


def test_an_input_may_have_a_version(bucket):
    """It is that version of the object which is read."""
    path = open_path(f"{bucket.uri}/in.png?versionId=3")
    assert path.path.endswith("/in.png?versionId=3")


@pytest.mark.parametrize(("library", "mark"), [("s3fs", "?versionId="), ("adlfs", "?versionid="), ("gcsfs", "")])
def test_where_libraries_cut_a_path(library, mark):
    """The two that cut do so for any value; that of Google, which is not refused, leaves each file its name."""
    module = pytest.importorskip(library)
    if library == "gcsfs":
        for folder in ("x#3", "x?generation=3"):
            assert module.GCSFileSystem._split_path(f"box/{folder}/a.png", version_aware=True)[1] == f"{folder}/a.png"
        return
    system = {"s3fs": "S3FileSystem", "adlfs": "AzureBlobFileSystem"}[library]
    with_options = {"anon": True} | ({"account_name": "x"} if library == "adlfs" else {})
    fs = getattr(module, system)(**with_options, skip_instance_cache=True)
    assert fs.split_path(f"box/x{mark}3/a.png")[1] == "x"


@pytest.mark.parametrize("folder", ["{}/50%?", "{}/a#", "{}/x?#y"])
def test_a_folder_that_airflow_reads_as_another_one(place, folder):
    """Airflow's paths drop an empty query and fragment: the files would be in another folder than the one named."""
    with pytest.raises(InvalidInputError, match=r"cannot be used: Airflow reads it as"):
        check_folder(folder.format(place.uri))
    assert place.names() == []


def test_dots_in_names_are_names(tmp_path):
    """Only a whole ``..`` climbs."""
    check_folder(str(tmp_path / "v1..2" / "...x"))


@pytest.mark.parametrize("uri", ["file:{}/x", "file://{}/x", "{}//x", "memory:///a/b", "memory://a/b;c"])
def test_the_ways_to_write_a_path(tmp_path, uri):
    """What only is written in another way is no other folder."""
    check_folder(uri.format(tmp_path))
