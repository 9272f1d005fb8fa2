"""Webhooks on real Airflow, with SQLite and with PostgreSQL: they change when tasks resume, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import httpx
import psutil
import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from helpers.samples import KEY
from helpers.system import running_world
from helpers.waiting import until
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.simulator import Simulator

pytestmark = pytest.mark.system
needs_records = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow keeps no record of an intent before 3.3")

HERE = Path(__file__).parent
TASKS = 10
KILLED, KILLED_TOOL = "worker_lost_with_the_answer", "audio-to-video"


@pytest.fixture(scope="module")
def world_on_sqlite(tmp_path_factory):
    """Another Airflow, whose metadata is in SQLite, with these tests' DAGs alone."""
    home = tmp_path_factory.mktemp("airflow-sqlite")
    (home / "dags").mkdir()
    shutil.copy(HERE / "dags" / "webhooks.py", home / "dags")
    shutil.copy(HERE.parent.parent / "dags_examples" / "archive_handmade.py", home / "dags")
    environment = {"AIRFLOW__MAGIC_HOUR__LEDGER_PATH": ""}  # what is paid is in Airflow's task state store alone
    with (
        Simulator(speed=20, api_key=KEY) as sim,
        running_world(home, sim, on_sqlite=True, environment=environment) as world,
    ):
        yield world


def start(world):
    """Send an Airflow's API server Magic Hour's webhooks, as badly as they may come, and start all runs side by side.

    :returns: the world, and by DAG the run's id.
    """
    world.sim.inject_fault("duplicate-delivery")
    world.sim.inject_fault("out-of-order-delivery", every=3)
    world.sim.inject_fault("lost-delivery", event="completed", tool="text-to-video", every=2)
    world.sim.inject_fault("wrong-signature", every=5)
    world.sim.inject_fault("close-after-accept", tool=KILLED_TOOL, hold_seconds=120)
    world.sim.inject_fault("job-duration", tool=KILLED_TOOL, seconds=8)
    world.sim.add_webhook(f"{world.airflow.url}/magic-hour/webhook")
    runs = {dag: world.airflow.trigger(dag) for dag in (KILLED, "hooked", "answer_lost")}
    until(lambda: jobs_of(world, KILLED))
    os.kill(world.airflow.pid_of(world.airflow.task_instance(KILLED, runs[KILLED], "make")), signal.SIGKILL)
    return world, runs


@pytest.fixture(scope="module")
def started(request, world):
    """Start everything on the Airflow of all tests, and where a test asks for it on the other one."""
    worlds = {"shared": start(world)}

    def started_on(name):
        if name not in worlds:
            worlds[name] = start(request.getfixturevalue("world_on_sqlite"))
        return worlds[name]

    yield started_on
    for one, _ in worlds.values():
        one.sim.clear_webhooks()
        one.sim.clear_faults()


@pytest.fixture(params=["shared", pytest.param("sqlite", marks=pytest.mark.long)])
def hooked(request, started):
    """An Airflow whose API server gets the webhooks: that of all tests, which is on PostgreSQL where there is one."""
    return started(request.param)[0]


@pytest.fixture
def runs(request, hooked, started):
    """The runs of that Airflow."""
    return started(request.node.callspec.params["hooked"])[1]


def jobs_of(world, dag_id):
    """Return the accepted jobs of a DAG, by the names that its tasks gave them."""
    return [job for job in world.sim.jobs() if (job["name"] or "").startswith(f"{dag_id}.")]


@needs_records
def test_a_worker_killed_before_it_knew_the_answer(hooked, runs):
    """kill -9 while the response is under way, and a webhook identifies the job: the retry resumes it; one create."""
    dag_id, run_id = KILLED, runs[KILLED]
    ti = hooked.airflow.wait_for_task(dag_id, run_id, "make", ("success", "failed"))
    (job,) = jobs_of(hooked, dag_id)
    assert (ti["state"], ti["try_number"]) == ("success", 2)
    assert hooked.airflow.xcom(dag_id, run_id, "make")["id"] == job["id"]
    assert "Not paid again" in hooked.airflow.task_log(dag_id, run_id, "make", 2)


@needs_records
def test_an_answer_that_was_lost(hooked, runs):
    """The attempt fails and may be tried again; by then a webhook has named the job: one create, success."""
    dag_id, run_id = "answer_lost", runs["answer_lost"]
    ti = hooked.airflow.wait_for_task(dag_id, run_id, "make", ("success", "failed"))
    (job,) = jobs_of(hooked, dag_id)
    assert (ti["state"], ti["try_number"]) == ("success", 2)
    assert hooked.airflow.xcom(dag_id, run_id, "make")["id"] == job["id"]
    first = hooked.airflow.task_log(dag_id, run_id, "make", 1)
    assert "It is unknown whether" in first and "a webhook has identified it by then" in first


def test_every_task_succeeds_once(hooked, runs):
    """Deliveries doubled, reordered, badly signed, every second one lost: each job is one create, resumed once."""
    airflow, run_id = hooked.airflow, runs["hooked"]
    airflow.wait_for_run("hooked", run_id)
    tis = {ti["task_id"]: ti for ti in airflow.task_instances("hooked", run_id)}
    made = [f"make_{number}" for number in range(TASKS)]
    assert {name: (tis[name]["state"], tis[name]["try_number"]) for name in made} == dict.fromkeys(made, ("success", 1))
    assert (tis["sensor"]["state"], tis["failing"]["state"]) == ("success", "failed")
    jobs = jobs_of(hooked, "hooked")
    assert len(jobs) == TASKS + 2
    ids = {airflow.xcom("hooked", run_id, name)["id"] for name in made}
    assert len(ids) == TASKS and ids <= {job["id"] for job in jobs}
    lines = (airflow.home / "resumed.jsonl").read_text().splitlines()
    resumed = Counter(note["task_id"] for note in map(json.loads, lines) if note["run_id"] == run_id)
    assert resumed == Counter([*made, "failing"])
    # And not by polling alone: most of those whose delivery came were resumed by it.
    log = airflow.log_of("api-server").read_text()
    assert sum(f"{job['id']} completed: resumed" in log for job in jobs) >= 3
    assert "failing" in log


def test_the_media_of_everybody_is_archived(hooked, runs):
    """A job that somebody made in the web app starts the example DAG, which stores its file; ours are left out."""
    with MagicHourClient(api_key=KEY, base_url=hooked.sim.url) as by_hand:
        made = by_hand.create("ai-image-generator", {"name": "by hand", "image_count": 1, "style": {"prompt": "x"}})
    assert len(until(lambda: list(hooked.output.rglob(f"image-{made.id}-*.png")))) == 1
    airflow = hooked.airflow
    until(lambda: {run["state"] for run in archived(airflow)} == {"success"})
    ours = {job["id"] for job in jobs_of(hooked, "hooked")}
    assert [path for path in hooked.output.rglob("video-*") if any(job in path.name for job in ours)] == []


def archived(airflow):
    """Return the runs of the example DAG."""
    return airflow.api("GET", "/dags/archive_handmade/dagRuns", limit=100)["dag_runs"]


def test_junk_leaves_the_api_server_as_it_is(hooked, runs):
    """A thousand forged requests to the real API server: refused, and its memory stays flat."""
    address = f"{hooked.airflow.url}/magic-hour/webhook"
    servers = [one for one in hooked.airflow.processes() if "api" in " ".join(one.cmdline())]

    def rss():
        return sum(psutil.Process(one.pid).memory_info().rss for one in servers if one.is_running())

    with httpx.Client(trust_env=False) as http:

        def storm(times):
            for number in range(times):
                path = f"/made_up_{number}" if number % 4 == 3 else ""
                yield http.post(f"{address}{path}", json={"type": "video.completed"}).status_code

        assert set(storm(200)) <= {401, 503}
        before = rss()
        assert set(storm(800)) <= {401, 503}
        assert rss() - before < 30 * 1024 * 1024
