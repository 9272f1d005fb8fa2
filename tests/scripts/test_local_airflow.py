"""A throw-away Airflow that hangs: a run is made once, and the error says what Airflow was doing."""

from __future__ import annotations

import json

import httpx
import pytest

from local_airflow import LocalAirflow, LocalAirflowError

TASK = {"dag_id": "shop", "dag_run_id": "r1", "task_id": "make", "map_index": -1, "try_number": 2, "max_tries": 2}
TASK |= {"start_date": "2026-01-01T00:00:00Z", "end_date": None}


class Server:
    """An API server whose first answers to a creation get lost; it has one DAG, with a run that never ends."""

    def __init__(self, lost: int) -> None:
        self.lost, self.runs, self.requests = lost, [], []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer as Airflow does."""
        path = request.url.path.removeprefix("/api/v2")
        if path == "/dags":
            return httpx.Response(200, json={"dags": [{"dag_id": "shop"}]})
        if request.method == "POST":
            self.requests.append(run_id := json.loads(request.content)["dag_run_id"])
            if run_id in self.runs:
                return httpx.Response(409, json={"detail": "it is there"})
            self.runs.append(run_id)
            if len(self.requests) <= self.lost:
                raise httpx.ReadTimeout("timed out", request=request)
            return httpx.Response(200, json={"dag_run_id": run_id})
        if path.endswith("/taskInstances"):
            return httpx.Response(200, json={"task_instances": [TASK | {"state": "running"}]})
        return httpx.Response(200, json={"state": "running"})


@pytest.fixture
def airflow_with(tmp_path):
    """Return an Airflow whose API server is in this process."""

    def made(server: Server) -> LocalAirflow:
        airflow = LocalAirflow(tmp_path / "home", dags_folder=tmp_path)
        airflow._http = httpx.Client(base_url=airflow.url, transport=httpx.MockTransport(server))
        airflow._http.headers["authorization"] = "Bearer token"
        return airflow

    return made


def test_a_run_whose_creation_was_not_answered_is_made_once(airflow_with):
    """The request is sent again with the same id, and that the run is there already is a success."""
    server = Server(lost=1)
    run_id = airflow_with(server).trigger("shop")
    assert (server.runs, server.requests) == ([run_id], [run_id, run_id])


def test_two_runs_have_ids_of_their_own(airflow_with):
    """Each call makes a run."""
    server = Server(lost=0)
    airflow = airflow_with(server)
    assert server.runs == [airflow.trigger("shop"), airflow.trigger("shop")]


def test_a_hang_says_what_airflow_was_doing(airflow_with):
    """The state of the unfinished task, the end of its log and of the processes' logs; the next bound is shorter."""
    airflow = airflow_with(Server(lost=0))
    log = airflow.home / "logs" / "dag_id=shop" / "run_id=r1" / "task_id=make" / "attempt=2.log"
    log.parent.mkdir(parents=True)
    entry = {"timestamp": "2026-01-01T00:00:01Z", "level": "info", "event": "waiting for the bus"}
    log.write_text("".join(json.dumps(entry | {"event": f"{number}"}) + "\n" for number in range(500)))
    with log.open("a") as file:
        file.write(json.dumps(entry) + "\n")
    airflow.log_of("scheduler").parent.mkdir(parents=True)
    airflow.log_of("scheduler").write_text("the scheduler is stuck\n")
    with pytest.raises(LocalAirflowError) as caught:
        airflow.wait_for_run("shop", "r1", 0.01)
    text = str(caught.value)
    for words in ("run r1 of shop did not end", "shop.make of r1: running, attempt 2 of 3", "the scheduler is stuck"):
        assert words in text
    assert "2026-01-01T00:00:01Z info waiting for the bus" in text
    assert len(text.splitlines()) < 50
    with pytest.raises(LocalAirflowError, match=r"After 0\.002 s, make did not become"):
        airflow.wait_for_task("shop", "r1", "make", ("success",), 0.01)
