"""A task forwards a delivery: what it says of each answer of the API server, and what its own outlet gets."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.execution_time.context import set_current_context

from helpers.attempts import TaskInstance
from helpers.certificates import server_context, write_certificate
from helpers.clocks import MovableTime
from helpers.webhooks import OTHER_SECRET, SECRET
from magic_hour_provider.api.webhooks import (
    MAX_AGE_S,
    PROOF_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    digest_proof,
    forward,
    sign,
)
from magic_hour_provider.clock import SimulatedClock, override
from magic_hour_provider.deliveries import api_server
from magic_hour_provider.deliveries.api_server import get_api_server_url

ALIAS = AssetAlias("deliveries")
CONN_ID = "magic_hour_default"
LINK = "https://videos.example.com/a.mp4?signature=secret"
DONE, BUSY, GONE = (200, {"detail": "Done."}), (503, {"detail": "Busy: send it again."}), (404, {"detail": "Not Found"})


class Route:
    """Stands in for the API server: gives its answers in turn, the last one again and again.

    An answer is a status with a JSON body or a text, or ``None``: the connection closes without one.
    """

    def __init__(self) -> None:
        self.answers, self.requests = [DONE], []
        route = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = route.answers[min(len(route.requests), len(route.answers) - 1)]
                route.requests.append((self.path, headers, body))
                if answer is None:
                    return
                status, content = answer
                data = (content if isinstance(content, str) else json.dumps(content)).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def route():
    """The API server."""
    one = Route()
    thread = threading.Thread(target=one.server.serve_forever, args=(0.01,))
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()


@pytest.fixture
def clock():
    """A time that only waiting moves."""
    with override(one := SimulatedClock(MovableTime())):
        yield one


class Task:
    """The task that forwards: its XComs, and what its outlets get."""

    def __init__(self, clock):
        self.ti, self.clock = TaskInstance("hand_over"), clock

    def delivery(self, type_="video.completed", age_s=0.0, secret=SECRET, **payload):
        """Return the body and the headers of a delivery that was signed so long ago."""
        job = {"id": "job1", "name": "waves", "credits_charged": 30, "downloads": [{"url": LINK}]}
        body = json.dumps({"type": type_, "payload": job | payload}).encode()
        return body, sign(body, secret, int(self.clock.now() - age_s))

    def forward(self, body, headers, outlets=(ALIAS,), **options):
        """Forward it from the task's code."""
        context = self.ti.context(type("Operator", (), {"outlets": list(outlets)})())
        with set_current_context(context):
            return forward(body, headers, CONN_ID, **options)

    def events(self):
        """Return the asset events of the task's outlet."""
        return [(event.dest_asset_key.uri, event.extra) for event in self.ti.outlet_events[ALIAS].asset_alias_events]


@pytest.fixture
def task(clock, route, monkeypatch):
    """A task of an Airflow whose API server is the route's, with a secret in its connection."""
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{route.url}/execution/")
    connection = {"conn_type": "magic_hour", "password": "mhk_live_x", "extra": {"webhook_secret": SECRET}}
    monkeypatch.setenv("AIRFLOW_CONN_MAGIC_HOUR_DEFAULT", json.dumps(connection))
    return Task(clock)


@pytest.mark.parametrize("age_s", [0, 3600, MAX_AGE_S - 60], ids=["now", "an hour", "two weeks"])
@pytest.mark.parametrize("answer", [DONE, (202, {"detail": "Accepted."})], ids=["200", "202"])
def test_a_delivery_is_accepted(task, route, answer, age_s):
    """It goes to the connection's address, to the last byte, with the proof whose hash the task has pushed before."""
    route.answers = [answer]
    body, headers = task.delivery(age_s=age_s)
    result = task.forward(body, headers)
    assert (result["status"], result["type"], result["id"]) == ("accepted", "video.completed", "job1")
    assert not result["event_emitted"] and task.events() == []
    ((path, sent, arrived),) = route.requests
    assert (path, arrived) == ("/magic-hour/webhook/magic_hour_default", body)
    assert {name: sent[name] for name in headers} == headers
    assert task.ti.xcoms == {
        f"magic_hour.forward.{digest_proof(sent[PROOF_HEADER], arrived, sent)}": {
            "id": "job1",
            "type": "video.completed",
        }
    }
    assert "authorization" not in sent


def test_only_what_signs_it_is_sent_along(task, route):
    """Not the gateway's other headers, such as cookies and keys; names in any case; the body as text too."""
    body, headers = task.delivery()
    others = {"Cookie": "a=b", "X-Api-Key": "key", "Host": "example.com", "Content-Length": "1"}
    shouted = {name.title(): value for name, value in headers.items()}
    assert task.forward(body.decode(), others | shouted)["status"] == "accepted"
    ((_, sent, arrived),) = route.requests
    assert arrived == body
    assert not {"cookie", "x-api-key"} & sent.keys() and sent["host"] != "example.com"


def test_each_one_has_a_proof_of_its_own(task, route):
    """Whoever has seen one cannot send another delivery with it."""
    for number in range(2):
        task.forward(*task.delivery(id=f"job{number}"))
    first, second = (headers[PROOF_HEADER] for _, headers, _ in route.requests)
    assert first != second
    assert len(task.ti.xcoms) == 2
    assert not any(proof in json.dumps(task.ti.xcoms) for proof in (first, second))


NOT_ACCEPTED = {
    "no plugin": (GONE, "HTTP 404 (Not Found), which is not this package's route", 1),
    "only a page is there": ((405, {"detail": "Method Not Allowed"}), "HTTP 405", 1),
    "somebody else's page": ((200, "<html>Log in</html>"), "HTTP 200, which is not this package's route", 1),
    "a redirect": ((302, ""), "HTTP 302", 1),
    "another secret there": ((401, {"detail": "The signature or its timestamp is not valid."}), "HTTP 401", 1),
    "too large": ((413, {"detail": "A delivery is at most 1 MiB."}), "at most 1 MiB", 1),
    "not configured": ((503, {"detail": "No webhook secret is configured for this address."}), "No webhook secret", 3),
    "busy all the time": (BUSY, "HTTP 503 (Busy: send it again.)", 3),
}


@pytest.mark.parametrize("case", NOT_ACCEPTED)
def test_the_route_does_not_accept_it(task, route, clock, caplog, case):
    """The result says why, polling finds the end, and the asset event goes out through the task's own outlet."""
    answer, why, times = NOT_ACCEPTED[case]
    route.answers = [answer]
    result = task.forward(*task.delivery())
    assert (result["status"], result["id"], result["event_emitted"]) == ("left to polling", "job1", True)
    assert why in result["message"] and "finds its end by polling" in result["message"]
    assert "has the asset event magic-hour://video/completed" in result["message"]
    assert result["message"] in caplog.messages
    assert len(route.requests) == times
    assert sum(clock.waits) <= 10
    ((uri, extra),) = task.events()
    assert uri == "magic-hour://video/completed"
    assert extra == {
        "id": "job1",
        "type": "video.completed",
        "kind": "video",
        "name": "waves",
        "credits_charged": 30,
        "library_url": "https://magichour.ai/my-library?videoId=job1",
        "conn_id": CONN_ID,
    }
    assert "secret" not in json.dumps([extra, task.ti.xcoms])


def test_a_server_that_is_away(task, route, clock, monkeypatch):
    """Nobody listens there: three tries, ten seconds between them, and the event goes out."""
    with socket.socket() as taken:  # bound, and not listening: each connection is refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__API_SERVER_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/")
        result = task.forward(*task.delivery())
    assert result["status"] == "left to polling" and result["event_emitted"]
    assert "it cannot be reached (ConnectError" in result["message"]
    assert clock.waits == [2.0, 8.0]
    assert route.requests == []


def test_a_server_that_comes_back(task, route):
    """Busy once, and a proxy's error once: the third try is accepted, and the outlet gets nothing."""
    route.answers = [BUSY, (502, "<html>"), DONE]
    assert task.forward(*task.delivery())["status"] == "accepted"
    assert (len(route.requests), task.events()) == (3, [])
    assert len({headers[PROOF_HEADER] for _, headers, _ in route.requests}) == 1


@pytest.mark.parametrize("answers", [[None], [(500, "")], [(504, "<html>")], [None, BUSY], [(502, ""), GONE]], ids=str)
def test_nobody_knows_whether_it_arrived(task, route, answers):
    """The task fails and may be retried, and makes no event, which might be the second one."""
    route.answers = answers
    with pytest.raises(AirflowException, match=r"not known whether that has it.*Retry this task") as failure:
        task.forward(*task.delivery())
    assert not isinstance(failure.value, AirflowFailException)
    assert task.events() == []
    route.answers = [DONE]
    assert task.forward(*task.delivery())["status"] == "accepted"


@pytest.mark.parametrize("later", ["busy", "away"])
def test_a_retry_that_does_not_reach_the_server_either(task, route, later, monkeypatch):
    """The first try may have been accepted, so that there is no event that may be the second one; once more may do."""
    task.ti.next_attempt()
    route.answers = [(502, "<html>")]
    with pytest.raises(AirflowException, match="not known whether that has it"):
        task.forward(*task.delivery())
    task.ti.next_attempt()
    route.answers = [BUSY]
    with monkeypatch.context() as patch, socket.socket() as taken:
        if later == "away":
            taken.bind(("127.0.0.1", 0))
            patch.setenv("AIRFLOW__MAGIC_HOUR__API_SERVER_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(AirflowException, match="now or by an earlier try") as failure:
            task.forward(*task.delivery())
    assert not isinstance(failure.value, AirflowFailException)
    assert task.events() == []
    route.answers = [GONE]
    assert task.forward(*task.delivery())["event_emitted"]


def test_a_server_that_never_answers(task, route, monkeypatch):
    """It is given up after a bounded time; as it may have read the delivery, the task fails."""
    monkeypatch.setattr(api_server, "_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__API_SERVER_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(AirflowException, match="no response came"):
            task.forward(*task.delivery())


FORGED = {
    "another secret": {"secret": OTHER_SECRET},
    "too old": {"age_s": MAX_AGE_S + 60},
    "from the future": {"age_s": -400},
}


@pytest.mark.parametrize("how", [*FORGED, "unsigned", "another body"])
def test_a_forged_delivery(task, route, how, caplog):
    """It is refused before anything is sent, pushed or emitted: the gateway is open to everybody."""
    body, headers = task.delivery(**FORGED.get(how, {}))
    headers = {} if how == "unsigned" else headers
    result = task.forward(body + b" " if how == "another body" else body, headers)
    assert (result["status"], result["id"], result["event_emitted"]) == ("refused", None, False)
    assert "A delivery was refused, and nothing was done" in result["message"]
    assert result["message"] in caplog.messages
    assert (route.requests, task.ti.xcoms, task.events()) == ([], {}, [])


@pytest.mark.parametrize(
    ("late_s", "status"), [(0, "accepted"), (299, "accepted"), (301, "refused"), (-301, "refused")]
)
def test_when_the_gateway_received_it(task, route, clock, late_s, status):
    """It may wait in the queue, and not on its way to it: so nobody can send a recorded one to the gateway again."""
    body, headers = task.delivery(age_s=7 * 86_400)
    result = task.forward(body, headers, received_at=int(headers[TIMESTAMP_HEADER]) + late_s)
    assert result["status"] == status
    assert len(route.requests) == (status == "accepted")


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"type": "video.completed"}'])
def test_something_else_that_magic_hour_signs(task, route, clock, body):
    """It is ignored, and the run stays green."""
    result = task.forward(body, sign(body, SECRET, int(clock.now())))
    assert result["status"] == "ignored" and "no delivery of Magic Hour" in result["message"]
    assert (route.requests, task.events()) == ([], [])


def test_what_is_no_event_of_an_asset(task, route):
    """A job that has started: the outlet gets nothing."""
    route.answers = [GONE]
    result = task.forward(*task.delivery("video.started"))
    assert (result["status"], result["event_emitted"]) == ("left to polling", False)
    assert "It is no event of an asset" in result["message"]
    assert task.events() == []


@pytest.mark.parametrize("outlets", [(), (Asset("x-media://a"),)])
def test_a_task_without_an_alias(task, route, outlets):
    """The message says that there is no event, and why."""
    route.answers = [GONE]
    result = task.forward(*task.delivery(), outlets=outlets)
    assert (result["status"], result["event_emitted"]) == ("left to polling", False)
    assert "no AssetAlias is among this task's outlets" in result["message"]


def test_a_connection_without_a_secret(task, route, monkeypatch):
    """It fails for good: no retry can tell who sent the delivery."""
    monkeypatch.setenv("AIRFLOW_CONN_MAGIC_HOUR_DEFAULT", json.dumps({"conn_type": "magic_hour", "password": "mhk_x"}))
    with pytest.raises(AirflowFailException, match="has no webhook_secret here"):
        task.forward(*task.delivery())
    assert route.requests == []


def test_outside_of_a_task(task, route):
    """It fails for good, and says where it belongs."""
    with pytest.raises(AirflowFailException, match=r"only by the code of a running task.*in a @task"):
        forward(*task.delivery(), CONN_ID)
    assert route.requests == []


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({"CORE__EXECUTION_API_SERVER_URL": "http://api:8080/execution/"}, "http://api:8080"),
        ({"CORE__EXECUTION_API_SERVER_URL": "https://x.example.com/team/execution"}, "https://x.example.com/team"),
        ({"CORE__EXECUTION_API_SERVER_URL": "", "API__BASE_URL": "http://api:8080/team/"}, "http://api:8080/team"),
        ({"CORE__EXECUTION_API_SERVER_URL": "", "API__BASE_URL": "/team"}, "http://localhost:8080/team"),
        ({"CORE__EXECUTION_API_SERVER_URL": "", "API__BASE_URL": ""}, "http://localhost:8080"),
        (
            {"CORE__EXECUTION_API_SERVER_URL": "http://a/execution/", "MAGIC_HOUR__API_SERVER_URL": "http://b:1/"},
            "http://b:1",
        ),
    ],
)
def test_the_address(monkeypatch, settings, address):
    """It is where workers reach the execution API, unless the setting names another."""
    for name, value in settings.items():
        monkeypatch.setenv(f"AIRFLOW__{name}", value)
    assert get_api_server_url() == address


def test_an_address_that_is_none(task, monkeypatch):
    """It is as if the server were away, and the message names the setting."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__API_SERVER_URL", "airflow-api-server:8080")
    result = task.forward(*task.delivery())
    assert result["status"] == "left to polling" and "[magic_hour] api_server_url" in result["message"]


@pytest.mark.parametrize("is_trusted", [True, False])
def test_the_certificate_of_the_api_server(task, route, monkeypatch, tmp_path, is_trusted):
    """That with which Airflow's own client trusts it counts; a server that it does not trust is sent nothing."""
    certificate = write_certificate(tmp_path / "own.pem")
    route.server.socket = server_context(certificate).wrap_socket(route.server.socket, server_side=True)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{route.url.replace('http', 'https')}/execution/")
    if is_trusted:
        monkeypatch.setenv("AIRFLOW__API__SSL_CERT", str(certificate))
    result = task.forward(*task.delivery())
    assert result["status"] == ("accepted" if is_trusted else "left to polling")
    assert len(route.requests) == is_trusted
    assert ("cannot be reached" in result["message"]) is not is_trusted


def test_the_module_is_of_use_without_airflow():
    """Only a call of forward() needs it."""
    script = """
import sys
sys.modules["airflow"] = None
from magic_hour_provider.api.webhooks import SIGNATURE_HEADER, forward, sign, verify
try:
    forward(b"", {}, "magic_hour_default")
except ModuleNotFoundError as error:
    print("without Airflow:", error.name)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("without Airflow: airflow")


def test_the_names_of_the_headers_differ():
    """Ours is none of Magic Hour's."""
    assert len({PROOF_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER}) == 3
