"""Webhooks through a queue on real Airflow: gateway, SQS, asset watcher, a task that forwards, and the task resumes.

These tests come last: they end polling for as long as this Airflow runs.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time

import httpx
import pytest

from helpers.queues import gateway, handler
from helpers.waiting import until
from local_airflow import LocalAirflowError
from magic_hour_provider.api.webhooks import TIMESTAMP_HEADER, sign
from magic_hour_provider.simulator.webhooks.registration import DEFAULT_SECRET

pytestmark = pytest.mark.system

HOUR = 3600
FORWARDING = "webhooks_from_queue"


@pytest.fixture(scope="module")
def put(queue):
    """What writes into it, behind the gateway: the guide's function."""
    with pytest.MonkeyPatch.context() as patch:
        yield handler(queue, patch)


def runs(world, dag_id):
    """Return a DAG's runs, the oldest first."""
    return world.airflow.api("GET", f"/dags/{dag_id}/dagRuns", limit=100, order_by="id")["dag_runs"]


def results(world):
    """Return what became of each delivery that the queue gave, once all runs for them have ended."""
    states = {run["state"] for run in runs(world, FORWARDING)}
    if not states or not states <= {"success", "failed"}:
        return []
    ids = [run["dag_run_id"] for run in runs(world, FORWARDING)]
    return [one for run_id in ids for one in world.airflow.xcom(FORWARDING, run_id, "hand_over") or []]


def events(world, kind):
    """Return the extras of the asset events for completed jobs of a kind."""

    def read():
        # Airflow cannot show an event while a run that it has started is queued (seen on 3.3.2).
        with contextlib.suppress(LocalAirflowError):
            return world.airflow.api("GET", "/assets/events", limit=100, order_by="timestamp")
        return None

    found = until(read)["asset_events"]
    return [one["extra"] for one in found if one["uri"].rstrip("/") == f"magic-hour://{kind}/completed"]


@pytest.fixture(scope="module")
def delivered(world, put):
    """One job, of which Airflow hears only through a queue in which each delivery lay for an hour: no poll may be sent.

    :returns: the job, its task's run, and the request for its end as the gateway had it.
    """
    requests, paid = [], accepted(world)

    def keep(event, context):
        requests.append(event)
        return put(event, context)

    world.sim.inject_fault("status", endpoint="get-job", status=429, retry_after=10 * HOUR)
    world.sim.inject_fault("expired-timestamp", seconds=HOUR, count=None)
    with gateway(keep, lambda headers: float(headers[TIMESTAMP_HEADER])) as address:
        world.sim.add_webhook(address, events=["video.completed"])
        run_id = world.airflow.trigger("queued")
        until(lambda: world.jobs_of("queued") and not [one for one in pending(world) if one == "get-job"])
        (job,) = world.jobs_of("queued")
        world.airflow.wait_for_task("queued", run_id, "make", ("deferred",))
        world.end_jobs("queued.", deliver=True)
        until(lambda: requests)
        world.airflow.wait_for_run("queued", run_id)
    world.sim.clear_webhooks()
    assert accepted(world) == paid + 1
    return job, run_id, requests[0]


def accepted(world):
    """Count the paid requests that were accepted."""
    return world.sim.stats()["creates"]["accepted"]


def pending(world):
    """Return the endpoints of the faults that nobody has met yet."""
    return [fault["endpoint"] for fault in world.sim.pending_faults()]


def test_a_deferred_task_is_resumed(world, delivered):
    """By the delivery and not by polling, in its first attempt, for one create; there is one event of it."""
    job, run_id, request = delivered
    ti = world.airflow.task_instance("queued", run_id, "make")
    assert (ti["state"], ti["try_number"]) == ("success", 1)
    assert world.airflow.xcom("queued", run_id, "make")["id"] == job["id"]
    log = world.airflow.log_of("api-server").read_text()
    assert log.count(f"{job['id']} completed: resumed queued.make") == 1
    assert [one["status"] for one in until(lambda: results(world))] == ["accepted"]
    assert [extra["id"] for extra in events(world, "video")] == [job["id"]]
    assert time.time() - float(request["headers"][TIMESTAMP_HEADER]) > HOUR - 60


def test_a_dag_runs_on_the_new_video(world, delivered):
    """Once, whatever the queue gave."""
    job = delivered[0]
    until(lambda: runs(world, "on_video") and runs(world, "on_video")[0]["state"] == "success")
    assert [world.airflow.xcom("on_video", run["dag_run_id"], "note") for run in runs(world, "on_video")] == [
        [job["id"]]
    ]


def test_the_queue_gives_it_again(world, delivered, put):
    """It is accepted once more, and nothing comes of it: one event, one run, one create."""
    job, _, request = delivered
    before, paid = until(lambda: results(world)), accepted(world)
    put(request, None)
    after = until(lambda: (now := results(world)) and len(now) > len(before) and now)
    assert [one["status"] for one in after] == ["accepted", "accepted"]
    assert [extra["id"] for extra in events(world, "video")] == [job["id"]]
    assert len(runs(world, "on_video")) == 1
    assert accepted(world) == paid


def test_an_outsider_who_has_recorded_it(world, delivered, put):
    """It is refused at the route, with a proof of nobody's too, and by the task where it comes through the gateway."""
    _, _, request = delivered
    event = request | {"requestContext": {"timeEpoch": round(time.time() * 1000)}}
    body, headers = recorded(request)
    for proof in ({}, {"x-magic-hour-task-proof": "x" * 43}):
        answer = httpx.post(f"{world.airflow.url}/magic-hour/webhook", content=body, headers=headers | proof)
        assert answer.status_code == 401
    before = until(lambda: results(world))
    put(event, None)
    after = until(lambda: (now := results(world)) and len(now) > len(before) and now)
    assert after[-1]["status"] == "refused"
    assert len(events(world, "video")) == 1


def test_where_the_route_does_not_accept_it(world):
    """The task says so and succeeds, and its own outlet has the event, on which a DAG runs."""
    job = {"id": "by-hand", "name": "a lighthouse", "credits_charged": 5}
    body = json.dumps({"type": "image.completed", "payload": job}).encode()
    headers = sign(body, DEFAULT_SECRET, int(time.time()) - HOUR)
    run_id = world.airflow.trigger("not_listed", {"body": body.decode(), "headers": headers})
    assert world.airflow.wait_for_run("not_listed", run_id) == "success"
    result = world.airflow.xcom("not_listed", run_id, "hand_over")
    assert (result["status"], result["event_emitted"]) == ("left to polling", True)
    assert "No webhook secret is configured" in result["message"]
    assert result["message"] in world.airflow.task_log("not_listed", run_id, "hand_over", 1)
    (extra,) = until(lambda: events(world, "image"))
    assert extra["id"] == "by-hand"
    until(lambda: runs(world, "on_image") and runs(world, "on_image")[0]["state"] == "success")
    (run,) = runs(world, "on_image")
    assert world.airflow.xcom("on_image", run["dag_run_id"], "note") == ["by-hand"]


def recorded(request):
    """Return the body and the signed headers of a request that somebody has recorded."""
    names = ("magic-hour-event-signature", TIMESTAMP_HEADER)
    headers = {name: request["headers"][name] for name in names} | {"content-type": "application/json"}
    return base64.b64decode(request["body"]), headers
