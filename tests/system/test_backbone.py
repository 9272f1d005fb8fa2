"""The whole chain on real Airflow: the demo DAG, the sensors, and what a kill -9 costs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
import sqlalchemy as sa
from PIL import Image

from helpers.samples import KEY
from helpers.system import LONG_S
from helpers.waiting import until

pytestmark = pytest.mark.system

GENERATING = ("edit_photo", "animate", "voice", "lip_sync", "subtitle")
AFTER_ANSWER, DURING_POST, TRIGGERER = (
    "worker_killed_after_the_answer",
    "worker_killed_during_the_post",
    "triggerer_killed",
)


@pytest.fixture(scope="session")
def runs(world):
    """Start everything side by side: each DAG has tools of its own, so that their counters do not mix."""
    world.sim.inject_fault("job-duration", seconds=40, tool="text-to-video")
    world.sim.inject_fault("job-duration", seconds=LONG_S, tool="face-swap")
    world.sim.inject_fault("close-after-accept", tool="ai-qr-code-generator", hold_seconds=120)
    return {
        dag: world.airflow.trigger(dag)
        for dag in (DURING_POST, AFTER_ANSWER, "product_teaser", TRIGGERER, "wrong_key", "sensors")
    }


def make(world, dag_id: str, run_id: str, states):
    """Wait until the task ``make`` of a run is in one of the states."""
    return world.airflow.wait_for_task(dag_id, run_id, "make", states)


def test_a_wrong_key_fails_at_once(world, runs):
    """One attempt, although the task has retries: nothing was created, and the log says what to fix."""
    ti = make(world, "wrong_key", runs["wrong_key"], ("failed", "success", "up_for_retry"))
    assert (ti["state"], ti["try_number"]) == ("failed", 1)
    log = world.airflow.task_log("wrong_key", runs["wrong_key"], "make", 1)
    assert "does not accept the API key" in log
    assert "mhk_live_wrong" not in log
    assert [job for job in world.sim.jobs() if job["name"].startswith("wrong_key.")] == []


def test_a_worker_killed_during_the_post(world, runs):
    """kill -9 while the accepted request's answer is under way: one create, and the retry says what is unknown."""
    dag_id, run_id = DURING_POST, runs[DURING_POST]
    (job,) = until(lambda: world.made_by("ai-qr-code-generator"))
    os.kill(world.airflow.pid_of(world.airflow.task_instance(dag_id, run_id, "make")), signal.SIGKILL)
    ti = make(world, dag_id, run_id, ("success", "failed"))
    assert (ti["state"], ti["try_number"]) == ("failed", 2)
    log = world.airflow.task_log(dag_id, run_id, "make", 2)
    key = job["name"].rpartition("#")[2]
    for words in ("It is unknown", f"#{key}", "my-library", "magic_hour.adopt", "magic_hour.regenerate", "balance"):
        assert words in log
    assert len(world.made_by("ai-qr-code-generator")) == 1


def test_a_worker_killed_after_the_answer_was_recorded(world, runs):
    """kill -9 of the task's process while it waits: the retry resumes the paid job. One create, success."""
    dag_id, run_id = AFTER_ANSWER, runs[AFTER_ANSWER]
    until(lambda: (world.airflow.xcom(dag_id, run_id, "make", "magic_hour_job") or {}).get("id"))
    os.kill(world.airflow.pid_of(world.airflow.task_instance(dag_id, run_id, "make")), signal.SIGKILL)
    ti = make(world, dag_id, run_id, ("success", "failed"))
    assert (ti["state"], ti["try_number"]) == ("success", 2)
    (job,) = world.made_by("text-to-video")
    assert world.airflow.xcom(dag_id, run_id, "make")["id"] == job["id"]
    assert job["request"]["style"]["prompt"] == "waves, attempt 1"
    assert "Not paid again" in world.airflow.task_log(dag_id, run_id, "make", 2)
    records = [json.loads(path.read_text()) for path in (world.ledger / dag_id).rglob("magic_hour.job")]
    assert [(record["state"], record["job_id"]) for record in records] == [("delivered", job["id"])]


def test_a_triggerer_killed_while_a_task_is_deferred(world, runs):
    """kill -9 of the triggerer: another one waits for the same job. One create, success."""
    dag_id, run_id = TRIGGERER, runs[TRIGGERER]
    make(world, dag_id, run_id, ("deferred",))
    world.airflow.restart("triggerer", signal.SIGKILL)
    assert make(world, dag_id, run_id, ("deferred", "success", "failed"))["state"] == "deferred"
    world.end_jobs(f"{dag_id}.")
    ti = make(world, dag_id, run_id, ("success", "failed"))
    assert (ti["state"], ti["try_number"]) == ("success", 1)
    (job,) = world.made_by("face-swap")
    assert world.airflow.xcom(dag_id, run_id, "make")["id"] == job["id"]
    assert job["request"]["assets"]["video_file_path"] == "https://example.com/a.mp4"
    log = world.airflow.task_log(dag_id, run_id, "make", 1)
    assert log.count("the request is made") == 1  # by the function, which is not called to resume


def test_a_sensor_in_every_mode(world, runs):
    """Deferred, poking and rescheduled sensors return the result of a job submitted by another task."""
    assert world.airflow.wait_for_run("sensors", runs["sensors"]) == "success"
    made = world.airflow.xcom("sensors", runs["sensors"], "submit")
    for task_id, files in (("deferred", 1), ("poke", 1), ("reschedule", 0)):
        result = world.airflow.xcom("sensors", runs["sensors"], task_id)
        assert (result["id"], result["status"], len(result["files"])) == (made["id"], "complete", files)
    log = world.airflow.task_log("sensors", runs["sensors"], "deferred", 1)
    assert "Pausing task as DEFERRED" in log
    assert len([job for job in world.sim.jobs() if job["id"] == made["id"]]) == 1


def test_the_demo_dag(world, runs):
    """Photo to subtitled clip: every file decodes, two tasks at the least were deferred, five jobs were paid for."""
    airflow, run_id = world.airflow, runs["product_teaser"]
    assert airflow.wait_for_run("product_teaser", run_id) == "success"
    logs = {task_id: airflow.task_log("product_teaser", run_id, task_id, 1) for task_id in GENERATING}
    assert [task_id for task_id in GENERATING if "DEFERRED" in logs[task_id]] == ["animate", "lip_sync", "subtitle"]
    for task_id in GENERATING:
        result = airflow.xcom("product_teaser", run_id, task_id)
        assert (result["status"], len(result["files"])) == ("complete", 1)
        decode(Path(result["file"]))
    checked = airflow.xcom("product_teaser", run_id, "check_clip")
    assert checked["path"] == airflow.xcom("product_teaser", run_id, "subtitle")["file"]
    assert checked["frames"] > 100
    ids = {airflow.xcom("product_teaser", run_id, task_id)["id"] for task_id in GENERATING}
    assert len(ids & {job["id"] for job in world.sim.jobs()}) == len(GENERATING)
    for tool in ("ai-image-editor", "ai-voice-generator", "lip-sync"):
        assert len(world.made_by(tool)) == 1
    assert world.sim.stats()["uploads"] == 1
    link = airflow.api("GET", f"/dags/product_teaser/dagRuns/{run_id}/taskInstances/subtitle/links")
    assert "https://magichour.ai/my-library?videoId=" in link["extra_links"]["Open in Magic Hour"]


def decode(path: Path) -> None:
    """Read a media file to its end."""
    if path.suffix == ".png":
        with Image.open(path) as picture:
            picture.load()
        return
    with av.open(str(path)) as media:
        assert sum(1 for _ in media.decode(media.streams[0])) > 10


def test_no_secret_is_left_anywhere(world, runs):
    """After all these runs neither key nor signature is in any log, in the database or in an XCom."""
    secrets = [KEY.encode(), b"mhk_live_wrong", b"signature=", b"X-Amz-Signature"]
    kept = {path: path.read_bytes() for path in world.airflow.home.rglob("*") if path.is_file()}
    kept |= {Path(table): rows for table, rows in tables_of(world.database)}
    assert [(path, secret) for path, data in kept.items() for secret in secrets if secret in data] == []
    assert runs["product_teaser"].encode() in kept[Path("dag_run")]


def tables_of(database: str) -> Iterator[tuple[str, bytes]]:
    """Yield each table of a database with all that is in it."""
    engine = sa.create_engine(database)
    tables = sa.MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        for name, table in tables.tables.items():
            yield name, repr([tuple(row) for row in connection.execute(sa.select(table))]).encode()
    engine.dispose()
