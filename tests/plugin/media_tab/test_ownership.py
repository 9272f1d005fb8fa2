"""A forged XCom shows no file of another DAG: a file belongs to the task whose job its name carries."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from airflow.api_fastapi.app import get_auth_manager
from airflow.models.xcom import XComModel
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS
from airflow.sdk import DAG
from airflow.utils.session import create_session

from helpers.airflow_rows import forget_tasks, put_record, put_run, put_task
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.plugin.media_tab.database.ownership import find_job_ids
from magic_hour_provider.xcoms import submitted_xcom

PNG = b"\x89PNG\r\n\x1a\n"
PICTURE = {"image_count": 1, "style": {"prompt": "a lighthouse"}}
with_records = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow before 3.3 has no task state store")
THEIRS = "cm6secretsecretsecretsecret"


@pytest.fixture
def secret(api, tab):
    """A picture that a task of another DAG has made, below the same root."""
    with DAG("secret", schedule=None) as dag:
        MagicHourOperator(task_id="make", tool="ai-image-generator", request=PICTURE)
    put_run(dag)
    path = tab.files / f"ai-image-generator-{THEIRS}-1.png"
    path.write_bytes(PNG)
    job = {"id": THEIRS, "kind": "image", "tool": "ai-image-generator", "request": {}}
    xcoms = {"magic_hour_job": job, "return_value": job | {"files": [str(path)]}, submitted_xcom(THEIRS): {}}
    put_task("secret", "make", "success", xcoms)
    yield path
    forget_tasks("secret")


def may_read_only(monkeypatch, dag_id):
    """Let everybody read the XComs of one DAG alone."""
    manager = get_auth_manager()
    monkeypatch.setattr(manager, "is_authorized_dag", lambda *, details=None, **_: details.id == dag_id)


def forge(tab, path, **more):
    """Write XComs as somebody who may write those of the DAG ``campaign`` would, to see a file of another one."""
    result = {"id": THEIRS, "kind": "image", "tool": "ai-image-generator", "media": [{"uri": str(path)}]} | more
    tab.put("make", "success", return_value=result, magic_hour_job=result)


@pytest.mark.parametrize("job_id", [THEIRS, f"generator-{THEIRS}", f"image-generator-{THEIRS}"])
def test_a_file_of_another_dag(tab, secret, monkeypatch, job_id):
    """Whoever may read only the DAG with the forged XCom gets no byte of it; whoever may read both does."""
    forge(tab, secret, id=job_id)
    assert tab.file().content == PNG
    may_read_only(monkeypatch, "campaign")
    answer = tab.file()
    assert (answer.status_code, PNG in answer.content) == (403, False)
    assert "another DAG" in answer.json()["detail"]


@pytest.mark.parametrize("job_id", ["abc123", "", None, "1", "png", "secret", "../x", THEIRS[:-1], THEIRS[4:], ["x"]])
def test_a_file_of_a_job_that_is_not_the_tasks(tab, secret, monkeypatch, job_id):
    """Its name carries another job's id: it is not shown, also to those who may read every DAG."""
    forge(tab, secret, id=job_id)
    answer = tab.file()
    assert (answer.status_code, PNG in answer.content) == (403, False)
    assert "no id of a job" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["salaries.png", "salaries-2026.png", "abc123.png", "abc123-1.png", "x-abc123.png"])
def test_a_file_that_no_job_has_made(tab, name):
    """Other files below a root are none of a task's, whatever its XComs say."""
    (tab.files / name).write_bytes(PNG)
    tab.put("make", "success", return_value=tab.result(str(tab.files / name)))
    assert tab.file().status_code == 403


@with_records
@pytest.mark.parametrize("job_id", [THEIRS, f"generator-{THEIRS}"])
def test_a_file_of_another_dag_whose_task_was_cleared(tab, secret, monkeypatch, job_id):
    """It reports its job anew, later than the forged XCom: its record says that it had the job before."""
    at = datetime(2026, 11, 25, tzinfo=UTC)
    put_record("secret", "make", {"job_id": THEIRS, "submitted_at": at.timestamp()})
    forge(tab, secret, id=job_id)
    put_record("campaign", "make", {"job_id": job_id, "submitted_at": 1.0})
    with create_session() as session:
        where = {"key": submitted_xcom(job_id), "dag_id": "campaign"}
        session.query(XComModel).filter_by(**where).update({"timestamp": at.replace(day=26)})
    may_read_only(monkeypatch, "campaign")
    answer = tab.file()
    assert (answer.status_code, PNG in answer.content) == (403, False)


def test_a_job_that_two_dags_handle(tab, secret, monkeypatch):
    """The DAG that reported a job first owns it: its viewers see its files, also after another DAG waited for it."""
    put_task("campaign", "theirs", "success", {submitted_xcom("shared"): {}})
    put_task("secret", "make", "success", {submitted_xcom("shared"): {}})
    path = tab.files / "ai-image-generator-shared-1.png"
    path.write_bytes(PNG)
    tab.put("make", "success", return_value=tab.result(str(path), id="shared"))
    may_read_only(monkeypatch, "campaign")
    assert tab.file().content == PNG


@with_records
@pytest.mark.parametrize(
    ("record", "status"),
    [
        ({"job_id": "abc123"}, 200),
        ({"job_id": "other", "history": [{"job_id": "abc123"}]}, 200),
        ({"job_id": "other"}, 403),
        ({"job_id": "other", "history": 5}, 403),
        ({"job_id": ["abc123"], "history": [["abc123"], None]}, 403),
        ({"state": "intent"}, 403),
        ("unreadable", 200),
        ({"__airflow_state_ref__": "s3://elsewhere"}, 200),
    ],
    ids=str,
)
def test_a_task_with_a_record(tab, record, status):
    """What was paid for is known by the record, which no XCom changes; what cannot be read says nothing."""
    put_record("campaign", "make", record)
    tab.put("make", "success", return_value=tab.result("a-abc123-1.png"))
    assert tab.file().status_code == status


@with_records
def test_xcoms_in_object_storage(tab):
    """An XCom backend keeps every value elsewhere: files are shown by the record, as many as the job has made."""
    names = ["a-abc123-1.png", "ai-image-generator-abc123-2.png"]
    (tab.files / names[1]).write_bytes(PNG)
    files = [{"uri": str(tab.files / name), "size": 9, "sha256": "0" * 64} for name in names]
    put_record("campaign", "make", {"state": "delivered", "job_id": "abc123", "credits_charged": 7, "files": files})
    elsewhere = "s3://xcoms/campaign/run/make/5c6f.json"
    tab.put("make", "success", magic_hour_job=elsewhere, return_value=elsewhere, files=elsewhere, media=elsewhere)
    page = tab.details()
    assert [file["name"] for file in page["files"]] == names
    assert (page["job"]["id"], page["job"]["credits"], page["empty_reason"]) == ("abc123", 7, None)
    assert [tab.file(index).status_code for index in (0, 1, 2)] == [200, 200, 404]
    sheet = tab.details(None)
    assert [tile["file"]["name"] for tile in sheet["tiles"] if tile["task_id"] == "make"] == names
    assert (sheet["totals"]["files"], sheet["totals"]["credits"]) == (2, 7)


@pytest.mark.parametrize("folder", ["s3://xcoms", "file:///xcoms", "/xcoms"])
def test_xcoms_in_object_storage_without_a_record(tab, folder):
    """Before Airflow 3.3, and of a sensor or a download: the page says what it does not know, and nothing untrue."""
    elsewhere = f"{folder}/campaign/run/make/5c6f.json"
    tab.put("make", "success", magic_hour_job=elsewhere, return_value=elsewhere)
    assert "an XCom backend keeps its XComs" in tab.details()["empty_reason"]
    (tile,) = [tile for tile in tab.details(None)["tiles"] if tile["task_id"] == "make"]
    assert "an XCom backend keeps its XComs" in tile["message"]
    tab.put("make", "failed", magic_hour_job=elsewhere)
    error = tab.details()["error"]
    assert error["message"].startswith("What its operator reported is kept by an XCom backend")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ai-image-generator-abc-1.png", "abc"),
        ("image-abc-12.mp4", "abc"),
        ("my-tool-x-abc-1", "abc"),
        ("ai-image-generator-abc-1.png.html", None),
        ("ai-image-generator-abc-.png", None),
        ("ai-image-generator-xabc-1.png", None),
        ("-abc-1.png", None),
        ("abc-1.png", None),
        ("x-abc-1-2.png", None),
        ("", None),
    ],
)
def test_the_id_in_a_name(name, found):
    """It stands between the tool and the file's number, whole."""
    assert ("abc" in find_job_ids(name)) == (found is not None)


def test_many_hyphens_in_a_name():
    """As long as a name can be, it is read in no time, and what can be no id is left out."""
    assert len(find_job_ids(f"{'-' * 250}a-1.png")) == 1
    assert len(find_job_ids(f"{'a-' * 126}1.png")) <= 128


def test_a_name_of_a_megabyte():
    """A user may write it into an XCom: only its end is searched."""
    begun = time.process_time()
    assert find_job_ids(f"{'a-' * 524_288}abc-1.png") == [f"{'a-' * n}abc" for n in range(62, -1, -1)]
    assert time.process_time() - begun < 0.2
