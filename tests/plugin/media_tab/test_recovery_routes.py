"""The recovery's routes: who may use them, from where, what they answer, and what the audit log says of it."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.models.log import Log
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS
from airflow.sdk import DAG
from airflow.utils.session import create_session

from helpers.airflow_rows import put_run, token
from helpers.attempts import TaskInstance
from helpers.ending import Triggerer
from helpers.recovery import DAG_ID, REQUEST, RUN_ID, Recovered, hide_places
from helpers.samples import KEY
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.ledger.instruction import name_record
from magic_hour_provider.operators.files import MagicHourUploadOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.plugin.media_tab.recovery import routes

ADDRESS = f"/magic-hour/media/dags/{DAG_ID}/runs/{RUN_ID}/tasks/make/-1/recovery"


class Form:
    """The form of one task, as a person uses it."""

    def __init__(self, api, task):
        self.api, self.task = api, task
        self.headers = {"authorization": f"Bearer {token()}"}

    def get(self, address=ADDRESS, **headers):
        """Ask what is possible."""
        return self.api.get(address, headers=self.headers | headers)

    def offer(self):
        """Return what is possible."""
        answer = self.get()
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, action="regenerate", *, address=ADDRESS, headers=None, body=None, **fields):
        """Give an instruction."""
        if body is None:
            if "replaces" not in fields:
                fields["replaces"] = name_record(self.task.record)
            body = json.dumps({"action": action, **fields})
        sent = {"content-type": "application/json"} | (self.headers if headers is None else headers)
        return self.api.post(address, content=body, headers={name: one for name, one in sent.items() if one})

    @property
    def is_untouched(self):
        """Whether the task has failed, with nothing written."""
        return (self.task.row().state, self.task.instructions()) == ("failed", {})


@pytest.fixture
def form(api, airflow, monkeypatch, tmp_path):
    """The form of a task whose paid request's response was lost."""
    if not AIRFLOW_V_3_3_PLUS:
        airflow.setting("ledger_path", str(tmp_path / "ledger"))
        monkeypatch.setattr(TaskInstance, "ledger_path", str(tmp_path / "ledger"))
    with create_session() as session:
        session.execute(sa.delete(Log))
    task = Recovered(airflow, "store" if AIRFLOW_V_3_3_PLUS else "files")
    yield Form(api, task)
    api.cookies.clear()


def lines():
    """Return the audit log's lines of ours, the oldest first."""
    columns = (Log.event, Log.owner, Log.dag_id, Log.run_id, Log.task_id, Log.map_index, Log.extra)
    with create_session() as session:
        query = sa.select(*columns).where(Log.event.startswith("magic_hour")).order_by(Log.id)
        return [(*row[:-1], json.loads(row[-1])) for row in session.execute(query)]


def test_what_is_shown_of_a_lost_response(form):
    """All that helps to search for the job in the library."""
    job_id = form.task.lose()
    offer, record = form.offer(), form.task.record
    assert offer["lost"].pop("written_at") > 0
    assert offer == {
        "possible": True,
        "refusal": None,
        "replaces": f"#{record.tag}",
        "lost": {
            "name": record.name,
            "tag": record.tag,
            "tool": "ai-image-generator",
            "title": "AI Image Generator",
            "kind": "image",
            "library_url": "https://magichour.ai/my-library",
        },
        "job": None,
        "price": None,
    }
    answer = form.post("adopt", job=f"https://magichour.ai/my-library?imageId={job_id}", confirmed_tag=None)
    assert answer.status_code == 200, answer.text
    assert job_id in answer.json()["message"]
    assert "pays nothing" in answer.json()["message"]
    assert form.task.is_cleared
    assert form.offer()["possible"] is False
    assert form.offer()["refusal"]
    assert form.task.attempt()["id"] == job_id
    assert form.task.creates() == 1


def test_what_is_shown_of_a_job(form):
    """The job, and what the last one cost; a new one is paid for once."""
    made = form.task.attempt()
    offer = form.offer()
    assert (offer["possible"], offer["lost"], offer["price"]) == (True, None, made["credits_charged"])
    assert offer["job"] == {
        "id": made["id"],
        "library_url": made["library_url"],
        "status": "complete",
        "credits": made["credits_charged"],
    }
    assert form.post().status_code == 200
    assert form.task.attempt()["id"] != made["id"]
    assert form.task.creates() == 2


def test_the_price_of_a_job_whose_trigger_has_ended_the_task(form, monkeypatch):
    """It is the one in the end, though the record is that of before: one create."""
    triggerer = Triggerer(form.task.airflow, monkeypatch)
    triggerer.ti = form.task.ti
    price = triggerer.settle_at_less(triggerer.operator())
    form.task.put("success")
    offer = form.offer()
    assert (offer["price"], offer["job"]["credits"], offer["job"]["status"]) == (price, price, "complete")
    assert form.task.creates() == 1


def test_nothing_to_recover(form):
    """A task that has not paid yet, one that fails before it pays, and one that makes no jobs."""
    nothing = {"possible": False, "refusal": None, "lost": None, "job": None, "price": None}
    assert {**form.offer(), "replaces": None} == nothing | {"replaces": None}
    form.task.airflow.disconnect()
    assert isinstance(form.task.attempt(), Exception)
    assert {**form.offer(), "replaces": None} == nothing | {"replaces": None}
    with DAG("kinds", schedule=None) as dag:
        MagicHourUploadOperator(task_id="upload", source="x.png")
    put_run(dag, RUN_ID)
    address = ADDRESS.replace(DAG_ID, "kinds").replace("make", "upload")
    assert form.get(address).json() == nothing | {"replaces": None}
    assert form.post(address=address, replaces="nothing").status_code == 409


def test_the_headers_are_those_of_the_other_routes(form):
    """Also of errors: nothing is cached, and no type is guessed."""
    form.task.lose()
    for answer in (form.get(), form.post("odd"), form.post(headers=form.headers | {"origin": "https://evil.example"})):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


# Rights


def test_reading_rights_are_not_enough(form):
    """A viewer gets neither the form nor anything done; the rest of the tab they do get."""
    form.task.lose()
    form.headers = {"authorization": f"Bearer {token('viewer', 'viewer')}"}
    assert form.api.get(ADDRESS.removesuffix("/recovery"), headers=form.headers).status_code == 200
    assert form.get().status_code == 403
    assert form.post().status_code == 403
    assert form.is_untouched
    assert lines() == []


def test_the_right_is_the_one_of_clearing(form, monkeypatch):
    """It is asked for the DAG in the path; nobody gets a 401."""
    form.task.lose()
    assert form.post(headers={}).status_code in (401, 403)
    asked = []

    def decide(*, method, access_entity=None, details=None, user):
        asked.append((method, access_entity, details.id))
        return method == "GET"

    monkeypatch.setattr(get_auth_manager(), "is_authorized_dag", decide)
    for answer in (form.get(), form.post()):
        assert answer.status_code == 403
    assert asked == [
        ("GET", DagAccessEntity.XCOM, DAG_ID), ("PUT", DagAccessEntity.TASK_INSTANCE, DAG_ID)
    ] * 2  # fmt: skip
    assert form.is_untouched


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_record_that_is_not_reached(form, airflow, monkeypatch, is_lost):
    """The form names the job or the tag that the task has reported, says what to do, and follows nothing."""
    job_id = form.task.lose() if is_lost else form.task.attempt()["id"]
    tag = form.task.record.tag
    hide_places(airflow, monkeypatch)
    offer = form.offer()
    assert (offer["possible"], offer["replaces"]) == (False, "nothing")
    assert "can neither be known nor changed here" in offer["refusal"]
    assert "Set [magic_hour] ledger_path" in offer["refusal"]
    if is_lost:
        assert (offer["lost"]["tag"], offer["job"]) == (tag, None)
    else:
        assert (offer["lost"], offer["job"]["id"], offer["job"]["status"]) == (None, job_id, "complete")
    for action in ("adopt", "regenerate"):
        answer = form.post(action, job=job_id, replaces="nothing")
        assert (answer.status_code, answer.json()["detail"]) == (409, offer["refusal"])
    assert form.task.instructions() == {}
    assert not form.task.is_cleared
    assert form.task.creates() == 1


@pytest.fixture
def only_a(monkeypatch):
    """Somebody who may clear the tasks of one DAG, ``mine``."""
    with DAG("mine", schedule=None) as dag:
        MagicHourOperator(task_id="own", tool="ai-image-generator", request=REQUEST)
    put_run(dag, "mine_1")

    def decide(*, method, access_entity=None, details=None, user):
        return details is not None and details.id == "mine"

    monkeypatch.setattr(get_auth_manager(), "is_authorized_dag", decide)


@pytest.mark.parametrize(
    ("path", "query", "fields", "status"),
    [
        (f"dags/{DAG_ID}/runs/{RUN_ID}/tasks/make/-1", "", {}, 403),
        (f"dags/{DAG_ID}/runs/{RUN_ID}/tasks/make/-1", "?dag_id=mine", {}, 403),
        (f"dags/~/runs/{RUN_ID}/tasks/make/-1", "?dag_id=mine", {}, 403),
        (f"dags/mine/runs/{RUN_ID}/tasks/make/-1", "", {}, 404),
        ("dags/mine/runs/mine_1/tasks/make/-1", "", {}, 404),
        ("dags/mine/runs/mine_1/tasks/own/5", "", {}, 404),
        ("dags/mine/runs/mine_1/tasks/own/-1", f"?dag_id={DAG_ID}&run_id={RUN_ID}&task_id=make", {}, 409),
        ("dags/mine/runs/mine_1/tasks/own/-1", "", {"dag_id": DAG_ID, "run_id": RUN_ID, "task_id": "make"}, 422),
        (f"dags/mine/runs/..%2f..%2f{DAG_ID}%2fruns%2f{RUN_ID}/tasks/make/-1", "", {}, 404),
        (f"dags/mine/runs/{'x' * 300}/tasks/make/-1", "", {}, 404),
        ("dags/mine/runs/mine_1/tasks/own/x", "", {}, 404),
        ("dags/mine/runs/mine_1%00/tasks/own/-1", "", {}, 404),
    ],
)
def test_a_right_to_another_dag(form, only_a, path, query, fields, status):
    """The path alone says which task; every id in it is of its DAG; nothing of the body or the query counts."""
    form.task.lose()
    before = form.task.record
    answer = form.post(address=f"/magic-hour/media/{path}/recovery{query}", **fields)
    assert answer.status_code == status, answer.text
    assert form.is_untouched
    assert form.task.record == before
    assert [line for line in lines() if line[2] != "mine"] == []
    assert form.task.creates() == 1


# From where

OWN = "http://testserver"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "same-origin", "origin": OWN}, 200),
        ({"origin": OWN}, 200),
        ({"origin": "https://testserver:443", "host": "testserver:443"}, 200),
        ({"origin": "https://airflow.example"}, 200),  # [api] base_url
        ({"authorization": None}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": OWN}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": OWN}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://testserver.evil.example"}, 403),
        ({"origin": "http://testserver:8081"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({}, 403),
    ],
    ids=str,
)
def test_a_foreign_page_can_do_nothing(form, monkeypatch, headers, status):
    """The login's cookie is sent by whatever page asks; only our own page, or a token, does anything."""
    form.task.lose()
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/airflow")
    if "authorization" in headers:
        headers = form.headers
    else:
        form.api.cookies.set("_token", token())
    sent = {"content-type": "application/json"} | headers
    body = json.dumps({"action": "regenerate", "replaces": f"#{form.task.record.tag}"})
    answer = form.api.post(ADDRESS, content=body, headers=sent)
    assert answer.status_code == status, answer.text
    assert form.task.is_cleared if status == 200 else form.is_untouched
    if status == 403:
        assert lines()[0][0] == "magic_hour_recovery"
        assert lines()[0][-1]["status"] == 403
    assert form.task.creates() == 1


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", None],
)
def test_what_a_form_can_send(form, content_type):
    """No JSON, no instruction: a page needs no permission to send the others anywhere."""
    form.task.lose()
    headers = form.headers | {"content-type": content_type, "origin": OWN}
    assert form.post(headers=headers).status_code == 415
    assert form.is_untouched


# What is sent


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("{", 400),
        ("nonsense", 400),
        (b"\xff\xfe", 400),
        ("[" * 5000, 400),
        ("x" * 10_000, 400),
        ("[]", 422),
        ("null", 422),
        ("7", 422),
        ("{}", 422),
        ({"action": "delete"}, 422),
        ({"action": ["adopt"]}, 422),
        ({"action": "regenerate", "replaces": None}, 422),
        ({"action": "regenerate", "replaces": 7}, 422),
        ({"action": "regenerate", "more": 1}, 422),
        ({"action": "adopt"}, 400),
        ({"action": "adopt", "job": "  "}, 400),
        ({"action": "adopt", "job": 7}, 422),
        ({"action": "adopt", "job": "x" * 1001}, 422),
        ({"action": "adopt", "job": "a\0b"}, 422),
        ({"action": "adopt", "job": "\ud800"}, 422),
        ({"action": "adopt", "job": "../account"}, 400),
        ({"action": "adopt", "job": "missing"}, 400),
        ({"action": "adopt", "job": "https://magichour.ai/my-library?videoId=abc"}, 400),
        ({"action": "regenerate", "replaces": "#ZZZZ2222"}, 409),
    ],
    ids=lambda value: str(value)[:60],
)
def test_odd_bodies(form, body, status):
    """A sentence each, never a traceback; each use is in the audit log, with what came of it."""
    form.task.lose()
    if isinstance(body, dict):
        body = json.dumps({"replaces": f"#{form.task.record.tag}"} | body)
    answer = form.post(body=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"].rstrip().endswith((".", ")"))
    assert answer.json()["confirm_tag"] is None
    assert form.is_untouched
    [line] = lines()
    assert (line[1], line[2], line[4], line[-1]["status"]) == ("admin", DAG_ID, "make", status)
    assert form.task.creates() == 1


def test_another_tag_needs_a_second_confirmation(form):
    """The answer names it; the page asks, and sends it along."""
    form.task.lose()
    with MagicHourClient(api_key=KEY, base_url=form.task.airflow.sim.url) as client:
        other = client.create("ai-image-generator", {
            "image_count": 1, "style": {"prompt": "x"}, "name": "theirs #ZZZZ2222"
        }).id  # fmt: skip
    answer = form.post("adopt", job=other)
    assert (answer.status_code, answer.json()["confirm_tag"]) == (409, "ZZZZ2222")
    assert form.is_untouched
    assert form.post("adopt", job=other, confirmed_tag="ZZZZ2222").status_code == 200
    assert form.task.attempt()["id"] == other
    assert form.task.creates() == 2  # that one, and the lost one


# The audit log


def test_the_audit_log(form):
    """Who, when, which task, what was asked, and what came of it; no secret that somebody pastes."""
    job_id = form.task.lose()
    assert form.post("adopt", job="mhk_live_secret0123456789").status_code == 400
    assert form.post("adopt", job=job_id).status_code == 200
    where = ("admin", DAG_ID, RUN_ID, "make", -1)
    replaces = f"#{form.task.record.tag}"
    first, second = lines()
    assert first[:-1] == second[:-1] == ("magic_hour_adopt", *where)
    assert "secret" not in json.dumps(first[-1])
    assert first[-1]["status"] == 400
    outcome = second[-1].pop("outcome")
    assert outcome.startswith("The task is cleared")
    assert second[-1] == {
        "method": "POST", "map_index": -1, "action": "adopt", "job": job_id, "replaces": replaces,
        "confirmed_tag": None, "status": 200,
    }  # fmt: skip


def test_no_audit_log_no_instruction(form, monkeypatch):
    """What cannot be recorded is not done."""
    form.task.lose()

    def fail(*_, **__):
        raise sa.exc.OperationalError("INSERT", {}, Exception("gone"))

    monkeypatch.setattr(routes, "AuditLine", fail)
    answer = form.post()
    assert (answer.status_code, "database does not answer" in answer.json()["detail"]) == (503, True)
    assert form.post("odd").status_code == 503
    assert form.is_untouched


def test_a_bug_is_a_sentence(form, monkeypatch):
    """The API server's log says more; the audit log has the line."""
    form.task.lose()

    def fail(*_, **__):
        raise RuntimeError("Bearer abc")

    monkeypatch.setattr(routes, "load_situation", fail)
    answer = form.post()
    assert answer.status_code == 500
    assert "RuntimeError" in answer.json()["detail"]
    assert "abc" not in answer.text
    assert lines()[0][-1]["status"] == 500


# The races


def test_the_task_runs_meanwhile(form):
    """A sentence; also for the page, which shows it in place of the form."""
    form.task.lose()
    form.task.put("running")
    offer = form.offer()
    assert (offer["possible"], "running" in offer["refusal"]) == (False, True)
    answer = form.post()
    assert (answer.status_code, "running" in answer.json()["detail"]) == (409, True)
    assert form.task.instructions() == {}


def test_the_run_is_deleted_meanwhile(form):
    """A sentence."""
    form.task.lose()
    replaces = f"#{form.task.record.tag}"
    form.task.delete_run()
    answer = form.post(replaces=replaces)
    assert (answer.status_code, "deleted" in answer.json()["detail"]) == (404, True)


def test_too_many_at_once(form, monkeypatch):
    """The few threads of the recovery are its own, and so is the queue for them."""
    form.task.lose()
    monkeypatch.setattr(routes, "_MAX_WAITING", 0)
    for answer in (form.get(), form.post()):
        assert (answer.status_code, "Too many" in answer.json()["detail"]) == (503, True)
    assert form.is_untouched


def test_a_record_that_cannot_be_read(form):
    """The page says why there is no form."""
    form.task.lose()
    form.task.ti.store.set("magic_hour.job", {"state": "intent"})
    answer = form.get()
    assert (answer.status_code, "cannot be read" in answer.json()["detail"]) == (409, True)
