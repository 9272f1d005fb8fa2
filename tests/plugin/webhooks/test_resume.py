"""A delivery resumes the task that waits for its job, once, and no other; on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from airflow import settings
from airflow.models import trigger as trigger_module
from airflow.models.trigger import Trigger, handle_event_submit
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session
from sqlalchemy.orm import sessionmaker

from helpers.waiting import HANG_S, until
from helpers.webhook_rows import TRIGGER_CLASSPATH
from helpers.webhooks import OTHER_SECRET, SECRET, Webhooks, serving
from magic_hour_provider.plugin.webhooks.receiver import make_webhook_app
from magic_hour_provider.plugin.webhooks.resume import GRACE_S, tasks_with_job


def resumed(airflow_rows, ti):
    """Whether a task instance is scheduled again."""
    return airflow_rows.row(ti).state == "scheduled"


@pytest.mark.parametrize(
    ("type_", "status", "code"), [("video.completed", "complete", None), ("video.errored", "error", "no_source_face")]
)
def test_a_waiting_task_is_resumed(airflow_rows, webhooks, type_, status, code):
    """It gets the event that its trigger would have sent, and no link of the delivery."""
    ti = airflow_rows.task()
    error = {"code": code, "message": "no face"} if code else None
    webhooks.deliver(type_, error=error)
    until(lambda: resumed(airflow_rows, ti))
    row = airflow_rows.row(ti)
    assert (row.trigger_id, row.next_method) == (None, "execute_complete")
    assert row.next_kwargs["event"] == {"kind": "video", "id": "job1", "status": status, "error_code": code}
    assert row.next_kwargs["deadline"] > time.time()
    assert "signature" not in str(row)


def test_everything_that_waits_for_the_job_is_resumed(airflow_rows, webhooks):
    """The task that made it and two sensors; a task that waits for another job is not."""
    waiting = [airflow_rows.task("job1", task_id=name) for name in ("make", "sensor", "another_sensor")]
    other = airflow_rows.task("job2")
    webhooks.deliver()
    until(lambda: all(resumed(airflow_rows, ti) for ti in waiting))
    assert airflow_rows.row(other).state == "deferred"


@pytest.mark.parametrize(
    "task",
    [
        {"state": "success"},
        {"state": "queued"},
        {"state": "running"},
        {"state": "up_for_retry"},
        {"trigger": "airflow.providers.standard.triggers.temporal.TimeDeltaTrigger"},
        {"waits_for": "job2"},
        {"kind": "image"},
    ],
    ids=str,
)
def test_what_does_not_wait_for_the_job_is_left_alone(airflow_rows, webhooks, task):
    """Another state, a trigger that is not ours, one that waits for another job or kind: nothing is written."""
    airflow_rows.task(**task)
    before = airflow_rows.contents()
    webhooks.deliver()
    webhooks.let_time_pass()
    assert airflow_rows.contents() == before


@pytest.mark.parametrize(
    ("conn_id", "path", "secret", "is_resumed"),
    [
        ("magic_hour_default", "magic_hour_other", OTHER_SECRET, False),
        ("magic_hour_other", "magic_hour_default", SECRET, False),
        ("magic_hour_none", "magic_hour_default", SECRET, False),
        ("no_such_connection", "magic_hour_default", SECRET, False),
        ("magic_hour_other", "magic_hour_other", OTHER_SECRET, True),
        ("magic_hour_rotated", "magic_hour_default", SECRET, True),
        ("magic_hour_unlisted", "magic_hour_default", SECRET, True),
    ],
)
def test_a_task_of_another_account(airflow_rows, webhooks, caplog, conn_id, path, secret, is_resumed):
    """Who knows one account's secret resumes no task of another one, whatever job id he signs."""
    ti = airflow_rows.task(conn_id=conn_id)
    before = airflow_rows.contents()
    webhooks.deliver(path=f"/magic-hour/webhook/{path}", secret=secret)
    webhooks.let_time_pass()
    assert resumed(airflow_rows, ti) == is_resumed
    assert is_resumed or airflow_rows.contents() == before
    has = "no" if conn_id in ("magic_hour_none", "no_such_connection") else "another"
    reason = f"its connection {conn_id!r} has {has} webhook_secret"
    assert any(reason in line for line in caplog.messages) == (not is_resumed)


@pytest.mark.parametrize("type_", ["video.started", "video.paused"])
def test_a_job_that_keeps_running_resumes_nothing(airflow_rows, webhooks, type_):
    """That a job was started, or something we do not know, tells a waiting task nothing: nothing is written."""
    airflow_rows.task()
    before = airflow_rows.contents()
    webhooks.deliver(type_)
    assert airflow_rows.contents() == before


def test_a_task_that_has_just_deferred_is_left_alone_for_a_while(airflow_rows, webhooks):
    """Its supervisor may still be closing the deferral: the delivery is held for 10 s, and resumes it then."""
    ti = airflow_rows.task(deferred_at=webhooks.clock.now() - 2)
    before = airflow_rows.contents()
    webhooks.deliver()
    assert until(lambda: webhooks.clock.waits)[0] == pytest.approx(8, abs=2)
    assert airflow_rows.contents() == before
    webhooks.clock.advance(10)
    until(lambda: resumed(airflow_rows, ti))


def test_a_delivery_that_overtakes_the_task(airflow_rows, webhooks):
    """The job ends before the task has said which one it has, and before it has deferred: it is still resumed."""
    webhooks.deliver()
    until(lambda: webhooks.clock.waits)
    ti = airflow_rows.task(state="running")
    webhooks.clock.advance(11)
    until(lambda: len(webhooks.clock.waits) == 2)
    airflow_rows.defer(ti, airflow_rows.task(deferred_at=webhooks.clock.now(), task_id="like", keys=()))
    webhooks.clock.advance(10)
    assert until(lambda: webhooks.clock.waits[2:]) == [GRACE_S]
    assert airflow_rows.row(ti).state == "deferred"
    until(lambda: resumed(airflow_rows, ti))


def test_a_worker_whose_clock_is_behind(airflow_rows, webhooks):
    """The task is left alone as long as any: when it deferred is known by the API server's clock too."""
    now = time.time()
    ti = airflow_rows.task(deferred_at=now - 60, created_at=now - 2)
    webhooks.send()
    assert until(lambda: webhooks.clock.waits)[0] == pytest.approx(8, abs=2)
    webhooks.let_time_pass()
    until(lambda: resumed(airflow_rows, ti))


def test_without_a_triggerer(airflow_rows, webhooks, triggerer, database):
    """With none at work PostgreSQL's tasks are resumed all the same, some seconds later; SQLite's wait for one."""
    triggerer.end()
    ti = airflow_rows.task()
    webhooks.send()
    until(lambda: webhooks.clock.waits)

    def over():
        webhooks.clock.advance(1)
        return not webhooks.inbox._scheduled

    until(over)
    assert resumed(airflow_rows, ti) == (database == "postgresql")


def test_a_worker_whose_clock_is_ahead(airflow_rows, webhooks):
    """A deferral that seems to lie an hour ahead delays its task once, by the shortest time."""
    ti = airflow_rows.task(deferred_at=webhooks.clock.now() + 3600)
    webhooks.deliver()
    assert until(lambda: webhooks.clock.waits) == [10]
    webhooks.clock.advance(10)
    until(lambda: resumed(airflow_rows, ti))


def test_a_trigger_that_cannot_be_read_keeps_its_task(airflow_rows, webhooks):
    """A surprise is logged and left to the trigger: the answer is 2xx and nothing is written."""
    airflow_rows.task()
    with create_session(scoped=False) as session:
        session.execute(sa.update(Trigger).values(encrypted_kwargs='{"kind": 1}'))
    before = airflow_rows.contents()
    webhooks.deliver()
    assert airflow_rows.contents() == before


@pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="before 3.3 Airflow does not read them here")
def test_arguments_that_airflow_cannot_read_do_not_fail_the_task_here(airflow_rows, webhooks):
    """Airflow would fail the task; that is left to the trigger, which keeps polling."""
    ti = airflow_rows.task()
    unreadable = {"deadline": {"__classname__": "no.such.Class", "__version__": 1, "__data__": 1}}
    with create_session(scoped=False) as session:
        session.execute(sa.update(airflow_rows.ti).values(next_kwargs=unreadable))
    webhooks.deliver()
    assert until(lambda: webhooks.clock.waits) == [GRACE_S]
    webhooks.let_time_pass()
    row = airflow_rows.row(ti)
    assert (row.state, row.next_method, row.next_kwargs) == ("deferred", "execute_complete", unreadable)
    assert row.trigger_id is not None


def test_a_restart_between_the_two_checks_loses_no_task(airflow_rows, webhooks):
    """The task always has a trigger that waits for its job: here the one it was handed to, which is settling."""
    ti = airflow_rows.task()
    with create_session(scoped=False) as session:
        before = session.get(Trigger, airflow_rows.row(ti).trigger_id).kwargs
    held = threading.Event()
    webhooks.clock.async_sleep = lambda seconds: _for_ever(held)  # the process would be gone now
    webhooks.deliver()
    until(held.is_set)
    row = airflow_rows.row(ti)
    assert row.state == "deferred"
    with create_session(scoped=False) as session:
        now = session.get(Trigger, row.trigger_id)
        assert now.classpath == TRIGGER_CLASSPATH
        assert now.kwargs == before | {"deferred_at": pytest.approx(time.time(), abs=20)}


async def _for_ever(reached):
    reached.set()
    raise ConnectionError("the process is gone")


def test_doubled_deliveries_resume_a_task_once(airflow_rows, webhooks, caplog):
    """Twenty copies at once to two API servers, and started after completed: all are answered 2xx, one resumes it."""
    ti = airflow_rows.task()
    kinds = ["video.completed"] * 20 + ["video.started"] * 2
    with (
        serving(make_webhook_app()) as url,
        ThreadPoolExecutor(8) as threads,
        caplog.at_level("INFO"),
    ):
        servers = [(webhooks, "/magic-hour/webhook"), (Webhooks(url, webhooks.clock), "/webhook")]

        def send(number):
            server, path = servers[number % 2]
            return server.send(kinds[number], path=path).status_code

        answers = list(threads.map(send, range(len(kinds))))
        until(lambda: resumed(airflow_rows, ti))
        answers.append(webhooks.send().status_code)
        webhooks.let_time_pass()
    assert {answer // 100 for answer in answers} == {2}
    assert len([line for line in caplog.messages if "resumed" in line]) == 1


class Scheduler(threading.Thread):
    """Queues what is scheduled, as Airflow's scheduler does, and counts how often each task was."""

    def __init__(self, airflow_rows):
        super().__init__()
        self.queued, self._ti, self._ended, self._rounds = {}, airflow_rows.ti, threading.Event(), 0

    def run(self):
        """Queue until stopped."""
        while not self._ended.wait(0.002):
            try:
                self._queue()
            except sa.exc.OperationalError:  # SQLite, when two write at once
                continue
            self._rounds += 1

    def go_round(self):
        """Wait until it has begun a round and ended it."""
        last = self._rounds + 2  # one may be under way
        until(lambda: self._rounds >= last)

    def _queue(self):
        scheduled = sa.select(self._ti.id).where(self._ti.state == "scheduled").with_for_update(skip_locked=True)
        taken = []
        with create_session(scoped=False) as session:
            for ti in session.scalars(scheduled).all():
                state = sa.update(self._ti).where(self._ti.id == ti, self._ti.state == "scheduled")
                session.execute(state.values(state="queued").execution_options(synchronize_session=False))
                taken.append(ti)
        for ti in taken:  # by now it is committed
            self.queued[ti] = self.queued.get(ti, 0) + 1

    def end(self):
        """Stop it."""
        self._ended.set()
        self.join()


def test_a_delivery_during_the_triggers_own_completion(airflow_rows, webhooks, triggerer, caplog, database):
    """Many times a trigger's event and a delivery meet: every task is queued once, whoever was first.

    Of each three times one is the event's, one is the delivery's, and in one they come at the same moment.
    """
    times = 60 if database == "sqlite" else 201
    tasks = [airflow_rows.task(f"job{number}") for number in range(times)]
    triggers = [airflow_rows.row(ti).trigger_id for ti in tasks]
    scheduler = Scheduler(airflow_rows)

    def complete(number, *, together=None):
        event = TriggerEvent({"kind": "video", "id": f"job{number}", "status": "complete", "error_code": None})
        if together:
            together.wait()
            time.sleep(number % 30 / 1000)  # at another moment of the delivery's work each time
        if database == "sqlite":
            triggerer.events.append((triggers[number], event))
            until(lambda: (triggers[number], event) not in triggerer.events)
        else:  # as several triggerers do, at any moment
            Trigger.submit_event(triggers[number], event)

    def deliver(number):
        key = f"magic_hour_default:job{number}:video.completed"
        status = webhooks.send(job_id=f"job{number}").status_code
        until(lambda: key not in webhooks.inbox._in_progress)
        return status

    def pair(number):
        if number % 3 == 0:
            complete(number)
            return deliver(number)
        if number % 3 == 1:
            status = deliver(number)
            complete(number)
            return status
        together = threading.Barrier(2)
        other = threading.Thread(target=complete, args=(number,), kwargs={"together": together})
        other.start()
        together.wait()
        status = deliver(number)
        other.join()
        return status

    scheduler.start()
    try:
        with caplog.at_level("INFO"), ThreadPoolExecutor(1 if database == "sqlite" else 3) as threads:
            assert {status // 100 for status in threads.map(pair, range(times))} == {2}
        webhooks.let_time_pass()
        until(lambda: len(scheduler.queued) == times)
        triggerer.go_round()
        scheduler.go_round()
    finally:
        scheduler.end()
    assert set(scheduler.queued.values()) == {1}
    first = len([line for line in caplog.messages if "resumed" in line])
    assert times // 3 <= first <= 2 * times // 3


def test_a_triggerer_that_is_held_up_between_reading_and_writing(airflow_rows, webhooks, triggerer, monkeypatch):
    """The delivery waits until its round is over, and the task runs once."""
    ti = airflow_rows.task()
    trigger_id = airflow_rows.row(ti).trigger_id
    has_read, may_write = threading.Event(), threading.Event()

    def held_up(*args, **kwargs):
        has_read.set()
        assert may_write.wait(HANG_S)
        return handle_event_submit(*args, **kwargs)

    monkeypatch.setattr(trigger_module, "handle_event_submit", held_up)
    triggerer.events.append(
        (trigger_id, TriggerEvent({"kind": "video", "id": "job1", "status": "complete", "error_code": None}))
    )
    scheduler = Scheduler(airflow_rows)
    scheduler.start()
    try:
        assert has_read.wait(HANG_S)
        webhooks.deliver()
        until(lambda: len(webhooks.clock.waits) > 2)
        assert airflow_rows.row(ti).state == "deferred"
        may_write.set()
        until(lambda: scheduler.queued)
        webhooks.let_time_pass()
        scheduler.go_round()
    finally:
        may_write.set()
        scheduler.end()
    assert scheduler.queued == {ti: 1}


def test_a_busy_database_delays_the_work_and_not_the_answer(airflow_rows, webhooks):
    """While somebody else holds the task's row, the answer is 202 all the same; then the work is done."""
    ti = airflow_rows.task()
    with create_session(scoped=False) as session:
        session.execute(sa.update(airflow_rows.ti).values(pool="another"))
        assert webhooks.send().status_code == 202
        assert webhooks.inbox._in_progress
        assert webhooks.send().status_code == 202
        session.rollback()
    until(lambda: resumed(airflow_rows, ti))


def test_a_database_that_is_away(airflow_rows, webhooks, database, monkeypatch):
    """Magic Hour is asked to send the delivery again, and does: the task is resumed then."""
    ti = airflow_rows.task()
    nowhere = {"sqlite": "sqlite:////no/such/folder/airflow.db", "postgresql": "postgresql+psycopg2://a@127.0.0.1:9/a"}
    with monkeypatch.context() as patch:
        patch.setattr(settings, "NonScopedSession", sessionmaker(sa.create_engine(nowhere[database])))
        answer = webhooks.send()
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    webhooks.deliver()
    until(lambda: resumed(airflow_rows, ti))


# SQLite says the same of a missing table as of a missing file.
@pytest.mark.parametrize("airflow_database", ["postgresql"], indirect=True)
def test_a_table_that_a_later_airflow_has_not(airflow_rows, webhooks):
    """The task is left to its trigger, with a line in the log; what else the delivery is for is done."""
    airflow_rows.task()
    airflow_rows.asset("magic-hour://video/completed")
    with create_session(scoped=False) as session:
        session.execute(sa.text("ALTER TABLE xcom RENAME TO xcom_away"))
    try:
        webhooks.deliver()
    finally:
        with create_session(scoped=False) as session:
            session.execute(sa.text("ALTER TABLE xcom_away RENAME TO xcom"))
    assert len(airflow_rows.asset_events()) == 1


def test_a_job_is_found_by_an_index(airflow_rows, database):
    """Among any number of waiting tasks: the XCom key is indexed, and so is the task instance that it leads to."""
    # Of few rows a planner may read all, or take any index; the question is how it reads many.
    airflow_rows.task("job1", keys=tuple(f"magic_hour.job.job{number}" for number in range(1, 2000)))
    explain = "EXPLAIN QUERY PLAN " if database == "sqlite" else "EXPLAIN "
    with create_session(scoped=False) as session:
        if database == "postgresql":
            session.execute(sa.text("ANALYZE"))
            session.execute(sa.text("SET LOCAL enable_seqscan = off"))  # there is but one task instance
        query = tasks_with_job("job1").compile(session.get_bind(), compile_kwargs={"literal_binds": True})
        plan = " ".join(str(row) for row in session.execute(sa.text(explain + str(query))))
    assert "idx_xcom_key" in plan
    assert "SCAN" not in plan
    assert "Seq Scan" not in plan
