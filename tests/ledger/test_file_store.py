"""The ledger as files: what only it can meet. What both ledgers share is tested with both."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from helpers.attempts import TaskInstance
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.ledger.decision import RetryState
from magic_hour_provider.ledger.file_store import FileStore, folder_name, open_file_store
from magic_hour_provider.ledger.record import KEY, Record, RecordError

VIDEO = {"style": {"prompt": "waves"}, "end_seconds": 3}


class ObjectStore(MemoryFileSystem):
    """An object store that keeps a listing, as fsspec's do, and believes it until it is invalidated."""

    cachable = False
    store: dict = {}
    pseudo_dirs: list = [""]

    def __init__(self) -> None:
        super().__init__()
        self.listing: set[str] | None = None
        self.trouble: Exception | None = None

    def cat_file(self, path, **kwargs):
        """Read an object."""
        if self.trouble:
            raise self.trouble
        if self.listing is not None and path not in self.listing:
            raise FileNotFoundError(path)
        return super().cat_file(path, **kwargs)

    def invalidate_cache(self, path=None):
        """Forget the listing."""
        self.listing = None


@pytest.fixture
def older(airflow, monkeypatch, tmp_path):
    """An Airflow without task state store; returns the folder of its ledger."""
    monkeypatch.setattr(TaskInstance, "ledger_path", str(tmp_path / "ledger"))
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    return tmp_path / "ledger"


OBJECTS = ObjectStore()


@pytest.fixture
def objects(airflow, older):
    """An object store, empty, that the ledger is in."""
    attach("memory", "objects", fs=OBJECTS)
    OBJECTS.store.clear()
    OBJECTS.listing = OBJECTS.trouble = None
    airflow.setting("ledger_path", "memory://objects@bucket/ledger")
    return OBJECTS


def file_of(ti: TaskInstance, key: str) -> Path:
    """Return the file of a key, of a ledger on this machine."""
    return Path(ti.store.folder) / key


IDENTITIES = [
    ("teaser", "manual__2026-11-23T00:00:00+00:00", "make", -1),
    ("teaser", "manual__2026-11-23T00:00:00+00:00", "make", 0),
    ("teaser", "manual__2026-11-23T00:00:00+00:00", "make.0", -1),
    ("teaser", "manual__2026-11-23T00:00:00+00:00", "Make", -1),
    ("teaser", "manual__2026-11-23T00:00:00-00:00", "make", -1),
    ("teaser", "manual__2026-11-23T00:00:00/00:00", "make", -1),
    ("..", "../../etc", "..", -1),
    ("видео", "новый запуск", "сделать", 3),
    ("видео", "новый запусκ", "сделать", 3),
    ("d" * 250, "r" * 250, "t" * 250, 99999),
    ("d" * 250, "r" * 251, "t" * 250, 99999),
]


def test_every_task_instance_has_a_folder_of_its_own():
    """Also where letter case, slashes, other scripts, dots or long names would let two share one."""
    names = [folder_name(*identity) for identity in IDENTITIES]
    assert len({name.lower() for name in names}) == len(IDENTITIES)
    for name in names:
        parts = name.split("/")
        assert len(parts) == 2
        assert all(0 < len(part) <= 255 and part.isascii() and not part.startswith(".") for part in parts)
    assert names[0].startswith("teaser/make--manual__2026-11-23T00-00-00+00-00-")


def test_the_try_number_is_in_no_name(airflow, older):
    """All attempts share the folder, whatever else Airflow numbers again."""
    ti = TaskInstance()
    before = open_file_store(ti, "", "").folder
    ti.next_attempt()
    ti.clear()
    assert open_file_store(ti, "", "").folder == before == ti.store.folder


@pytest.mark.parametrize("path", ["s3://b/{{ ds }}", "/x/{% if a %}", "relative/folder", "file://a/b"])
def test_a_ledger_path_that_cannot_work(airflow, older, path):
    """What differs between tasks, attempts or workers is refused before anything is sent."""
    airflow.setting("ledger_path", path)
    with pytest.raises(AirflowFailException, match=r"ledger_path.*nothing was charged"):
        airflow.attempt(airflow.operator(), TaskInstance())
    assert airflow.creates() == 0


@pytest.mark.parametrize(
    ("template", "kept"),
    [
        ("/out/{{ dag.dag_id }}/{{ run_id }}", True),
        ("/out/{{ ti.xcom_pull('now') }}/{{ dag.start_date }}", True),
        ("/out/{{ params.start_date }}/{{ dag_run.conf.hostname }}/{{ var.value.now }}/{{ task.start_date }}", True),
        ("/out/{{ params.form.format(macros.datetime.now()) }}", False),
        ("/out/{{ params['plan'].start_date }}/{{ var.json.get('a', 'b').pid }}", True),
        ("/out/{{ ti.xcom_pull('plan').start_date }}/{{ my_macro(start_date=ds, now=ts) }}", True),
        ("/out/{# {{ ti.try_number }} #}/{% raw %}{{ ti.try_number }}{% endraw %}/{{ ds }}", True),
        ("/out/{{ var.value.get('a', macros.datetime.now()) }}", False),
        ("/out/{{ ti['try_number'] }}", False),
        ("/out/{{ ti | attr('try_number') }}", False),
        ("/out/{{ macros.time.strftime('%H') }}", False),
        ("/out/{{ dag_run.clear_number }}", False),
        ("/out/{{ ti.start_date == 1 }}", False),
        ("/out/now/random", True),
        (None, True),
        ("/out/{{ macros.datetime.now() }}", False),
        ("/out/{{ ti.try_number }}", False),
        ("/out/{{ macros.uuid.uuid4() }}", False),
        ("/out/{% set x = macros.time.time() %}{{ x }}", False),
        ("/out/{{ dag_run.start_date }}", False),
    ],
)
def test_the_record_is_kept_under_output_path_only_where_a_retry_finds_it(caplog, template, kept):
    """A template that differs between attempts would hide the record: a warning says so, and nothing is promised."""
    store = open_file_store(TaskInstance(), "/out/rendered", template)
    assert (store is not None) is kept
    if kept:
        assert store.folder.startswith("/out/rendered/.magic-hour-ledger/teaser/make--")
    else:
        assert "differs from attempt to attempt" in caplog.text


@pytest.mark.parametrize("made_of", [str, PurePosixPath, Path, ObjectStoragePath])
def test_a_path_object_is_its_text(airflow, caplog, made_of):
    """It promises no more than the text: the log says that no retry would find a record under it. One create."""
    operator = airflow.operator(output_path=made_of(f"{airflow.output}/out/{{{{ ti.try_number }}}}"))
    assert operator.output_template == f"{airflow.output}/out/{{{{ ti.try_number }}}}"
    ti = TaskInstance()
    ti.store = None
    assert airflow.attempt(operator, ti)["status"] == "complete"
    assert "differs from attempt to attempt" in caplog.text
    assert not list(airflow.output.rglob(".magic-hour-ledger"))
    assert airflow.creates() == 1


def test_the_record_under_output_path(airflow):
    """Without ``ledger_path`` the record is in a hidden folder beside the files; a retry pays nothing."""
    ti, operator = TaskInstance(), airflow.operator("text-to-video", VIDEO)
    ti.store = None
    ti.next_attempt()
    assert isinstance(airflow.start(operator, ti), TaskDeferred)
    assert airflow.attempt(operator, ti)["status"] == "complete"
    (path,) = (airflow.output / "out" / ".magic-hour-ledger").rglob("magic_hour.job*")
    assert json.loads(path.read_text())["state"] == "delivered"
    assert airflow.creates() == 1


def test_the_record_is_in_every_place(airflow, tmp_path):
    """Where Airflow has a task state store, ``ledger_path`` is the second place: one record, and one create."""
    airflow.setting("ledger_path", str(tmp_path / "ledger"))
    ti = TaskInstance()
    airflow.attempt(airflow.operator(), ti)
    assert open_file_store(ti, "", None).get(KEY) == ti.record
    assert ti.record["state"] == "delivered"
    assert airflow.creates() == 1


# -- storage that fails: never "no record" ---------------------------------------------------------------------------


def test_a_half_record_is_not_no_record(airflow, older):
    """A file that holds no whole record stops the attempt, for good, before anything is paid."""
    ti, operator = TaskInstance(), airflow.operator()
    airflow.attempt(operator, ti)
    whole = file_of(ti, KEY).read_bytes()
    for broken in (whole[:-20], b"", b"\xff\xfe\x00", b"null"):
        file_of(ti, KEY).write_bytes(broken)
        with pytest.raises(AirflowFailException, match=r"magic_hour\.job.*cannot be read.*nothing was charged"):
            airflow.attempt(operator, ti)
    assert airflow.creates() == 1


def test_a_ledger_that_cannot_be_read(airflow, older):
    """A file in the folder's place: a retryable error that names it, and nothing is paid."""
    older.write_text("in the way")
    with pytest.raises(
        AirflowException, match=r"cannot be read now \(NotADirectoryError.*nothing was charged"
    ) as caught:
        airflow.attempt(airflow.operator(), TaskInstance())
    assert not isinstance(caught.value, AirflowFailException)
    assert airflow.creates() == 0


def test_a_ledger_that_cannot_be_written(airflow, older):
    """The intent is written before the paid request: where it cannot be, nothing is paid and nothing is left over."""
    ti = TaskInstance()
    folder = Path(ti.store.folder)
    folder.parent.mkdir(parents=True)
    folder.symlink_to("/proc/nowhere")
    with pytest.raises(AirflowException, match=r"cannot be written now.*nothing was charged"):
        airflow.attempt(airflow.operator(), ti)
    assert airflow.creates() == 0


@pytest.mark.parametrize("path", ["nosuch://bucket/x", "s3://nosuchconnection@bucket/x"])
def test_a_storage_that_is_not_there(airflow, older, path):
    """An unknown protocol or connection stops the attempt unpaid."""
    airflow.setting("ledger_path", path)
    with pytest.raises(AirflowException, match=r"cannot be read now.*nothing was charged"):
        airflow.attempt(airflow.operator(), TaskInstance())
    assert airflow.creates() == 0


@pytest.mark.parametrize("trouble", [PermissionError("403"), TimeoutError("slow"), RuntimeError("a library's own")])
def test_an_object_store_in_trouble(airflow, objects, trouble):
    """Whatever the storage library raises, it is not "no record": the retry finds the paid job."""
    ti, operator = TaskInstance(), airflow.operator()
    first = airflow.attempt(operator, ti)
    objects.trouble = trouble
    with pytest.raises(AirflowException, match=r"cannot be read now.*nothing was charged"):
        airflow.attempt(operator, ti)
    objects.trouble = None
    assert airflow.attempt(operator, ti) == first
    assert airflow.creates() == 1


def test_a_stale_listing_hides_no_record(airflow, objects):
    """fsspec's file systems believe their listings: they are invalidated before the record is read."""
    ti, operator = TaskInstance(), airflow.operator()
    first = airflow.attempt(operator, ti)
    objects.listing = set()
    assert airflow.attempt(operator, ti) == first
    assert airflow.creates() == 1


# -- whole files -----------------------------------------------------------------------------------------------------


def test_a_reader_never_sees_half_a_record(tmp_path):
    """While one process writes again and again, another reads the old record or the new one."""
    store = FileStore(str(tmp_path / "ti"))
    values = [{"state": "intent", "n": n, "filler": "x" * 200_000} for n in range(40)]
    store.set(KEY, values[0])
    writer = threading.Thread(target=lambda: [store.set(KEY, value) for value in values])
    writer.start()
    seen = []
    while writer.is_alive():
        seen.append(FileStore(store.folder).get(KEY))
    writer.join()
    assert all(value in values for value in seen)
    assert store.get(KEY) == values[-1]
    assert [path.name for path in Path(store.folder).iterdir()] == [KEY]


def test_leftovers_of_a_killed_writer_are_cleaned(tmp_path):
    """Old temporary files go with the next write; one that somebody may be writing now stays."""
    store = FileStore(str(tmp_path))
    old, new = tmp_path / f".{KEY}.AAAA.tmp", tmp_path / f".{KEY}.BBBB.tmp"
    old.write_text("{")
    new.write_text("{")
    os.utime(old, (time.time() - 7200,) * 2)
    assert store.get(KEY) is None
    store.set(KEY, {})
    assert not old.exists()
    assert new.exists()


def test_a_write_that_fails_keeps_what_was_there(tmp_path):
    """The error says so, and no temporary file is left."""
    store = FileStore(str(tmp_path))
    (tmp_path / KEY / "inner").mkdir(parents=True)
    with pytest.raises(RecordError, match="cannot be written now"):
        store.set(KEY, {})
    assert [path.name for path in tmp_path.iterdir()] == [KEY]


# -- by hand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{}\n", '"{}"', "\ufeff{}\r\n", " '{}' "])
def test_adopting_with_a_file(airflow, older, form):
    """The message names the file; the id may stand in it as people write it."""
    airflow.sim.inject_fault("close-after-accept")
    ti, operator = TaskInstance(), airflow.operator()
    with pytest.raises(AirflowFailException) as caught:
        airflow.attempt(operator, ti)
    path = file_of(ti, "magic_hour.adopt")
    assert f"into the file '{path}'; for" in str(caught.value)
    assert f"put true into the file '{file_of(ti, 'magic_hour.regenerate')}'" in str(caught.value)
    job_id = airflow.sim.jobs()[0]["id"]
    path.write_text(form.format(job_id), encoding="utf-8")
    ti.clear()
    assert airflow.attempt(operator, ti)["id"] == job_id
    assert not path.exists()
    assert airflow.creates() == 1


@pytest.mark.parametrize("word", ["true", "True\n", '"true"'])
def test_regenerating_with_a_file(airflow, older, word):
    """One new job, once."""
    ti, operator = TaskInstance(), airflow.operator()
    airflow.attempt(operator, ti)
    file_of(ti, "magic_hour.regenerate").write_text(word)
    again = airflow.attempt(operator, ti)
    assert airflow.attempt(operator, ti) == again
    assert airflow.creates() == 2


@pytest.mark.parametrize("key", ["magic_hour.adopt", "magic_hour.regenerate"])
def test_an_empty_file_asks_for_nothing(airflow, older, key):
    """It may be half an upload: nothing is guessed."""
    ti, operator = TaskInstance(), airflow.operator()
    airflow.attempt(operator, ti)
    file_of(ti, key).write_text("\n")
    with pytest.raises(AirflowFailException, match=rf"nothing in the file .*{key}.*stays charged"):
        airflow.attempt(operator, ti)
    assert airflow.creates() == 1


def test_an_unreadable_record_names_its_file(tmp_path):
    """The person is sent to the file, not to a store that this Airflow does not have."""
    store = FileStore(str(tmp_path))
    with pytest.raises(InvalidInputError, match=rf"^The file '{tmp_path}/magic_hour\.job', which says"):
        Record.read({}, store.describe_location(KEY))


def test_a_clear_while_the_run_continues():
    """Airflow 3.1 leaves the run's number as it is then; there the task's own number tells."""
    run = SimpleNamespace(clear_number=0)

    def attempt(max_tries: int, retries: int) -> RetryState:
        ti, task = SimpleNamespace(max_tries=max_tries), SimpleNamespace(retries=retries)
        return RetryState.of({"ti": ti, "task": task, "dag_run": run})

    first = attempt(2, retries=2)
    record = Record("submitted", "t", "video", "", {}, first.extra_tries, first.clear_number, first.max_tries)
    assert attempt(3, retries=2).clears(record) is not AIRFLOW_V_3_2_PLUS
    assert not attempt(2, retries=0).clears(record)  # the DAG's retries were lowered
