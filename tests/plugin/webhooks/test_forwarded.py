"""An old delivery is accepted from a running task of this Airflow, and from nobody else."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from airflow.sdk import AssetAlias
from airflow.sdk.execution_time.context import set_current_context
from airflow.utils.session import create_session

from helpers.attempts import TaskInstance
from helpers.waiting import HANG_S, until
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
from magic_hour_provider.plugin.webhooks.database import DATABASE_UNAVAILABLE
from magic_hour_provider.plugin.webhooks.requests import proofs as module
from magic_hour_provider.xcoms import forward_xcom

URI = "magic-hour://video/completed"
HOUR = 3600
DAY = 24 * HOUR


class Sender:
    """A task that forwards deliveries, by the rows that Airflow's execution API writes for it."""

    def __init__(self, rows, webhooks):
        self.rows, self.webhooks = rows, webhooks

    def signed(self, age_s=HOUR, secret=SECRET, **payload):
        """Return the body and the headers of a delivery that was signed so long ago."""
        body = self.webhooks.body("video.completed", "job1", **payload)
        return body, sign(body, secret, int(self.webhooks.clock.now() - age_s))

    def announce(self, body, headers, state="running", age_s=0.0):
        """Push the XCom of a task in this state; return the headers with its proof."""
        proof = secrets.token_urlsafe(32)
        key = forward_xcom(digest_proof(proof, body, headers))
        self.rows.task(task_id=f"forward_{proof}", state=state, keys=(key,))
        at = datetime.fromtimestamp(self.webhooks.clock.now() - age_s, UTC)
        with create_session(scoped=False) as session:
            session.execute(sa.update(self.rows.xcom).where(self.rows.xcom.key == key).values(timestamp=at))
        return headers | {PROOF_HEADER: proof}

    def send(self, body, headers, path="/magic-hour/webhook"):
        """Send it; return the status, when the work is done: a busy machine answers before that."""
        status = self.webhooks.post(body, headers, path).status_code
        until(lambda: not self.webhooks.inbox._in_progress)
        return status


@pytest.fixture
def sender(airflow_rows, webhooks):
    """The task."""
    return Sender(airflow_rows, webhooks)


@pytest.mark.parametrize("age_s", [HOUR, 3 * DAY, MAX_AGE_S - 60], ids=["an hour", "days", "two weeks"])
def test_a_running_task_forwards_an_old_delivery(sender, airflow_rows, webhooks, age_s):
    """It resumes the task that waits, which it does once, and makes its asset event."""
    waiting = airflow_rows.task()
    airflow_rows.asset(URI)
    body, headers = sender.signed(age_s)
    assert sender.send(body, sender.announce(body, headers)) in (200, 202)
    webhooks.let_time_pass()
    row = airflow_rows.row(waiting)
    assert (row.state, row.next_kwargs["event"]["id"]) == ("scheduled", "job1")
    assert [extra["id"] for extra in airflow_rows.asset_events()] == ["job1"]


def test_each_delivery_is_used_once(sender, airflow_rows, webhooks):
    """Sent by Magic Hour, by a queue twice, and again after days: one event, and what has resumed is left alone."""
    waiting = airflow_rows.task()
    airflow_rows.asset(URI)
    body, headers = sender.signed(0)
    assert sender.send(body, headers) in (200, 202)
    webhooks.let_time_pass()
    assert airflow_rows.row(waiting).state == "scheduled"
    after = airflow_rows.row(waiting)
    for later in (0, 60, 3 * DAY, 9 * DAY):
        webhooks.clock.advance(later)
        assert sender.send(body, sender.announce(body, headers)) in (200, 202)
        webhooks.let_time_pass()
    assert len(airflow_rows.asset_events()) == 1
    assert airflow_rows.row(waiting) == after


def test_one_that_came_long_before_the_queue_gave_it(sender, airflow_rows, webhooks):
    """Its event is as old as its signature, and is found all the same."""
    airflow_rows.asset(URI)
    body, headers = sender.signed(10 * DAY)
    assert sender.send(body, sender.announce(body, headers)) in (200, 202)
    webhooks.let_time_pass()
    events = airflow_rows.events
    with create_session(scoped=False) as session:
        session.execute(sa.update(events).values(timestamp=datetime.fromtimestamp(time.time() - 10 * DAY, UTC)))
    assert sender.send(body, sender.announce(body, headers)) in (200, 202)
    assert len(airflow_rows.asset_events()) == 1


@pytest.mark.parametrize("as_text", [True, False])
def test_a_task_and_the_route_together(airflow_rows, webhooks, monkeypatch, as_text):
    """What ``forward`` pushes and sends is what the route expects, of a message that was an hour in a queue."""
    airflow_rows.asset(URI)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{webhooks.http.base_url}/execution/")
    body = webhooks.body("video.completed", "job1", name="Wellen über Kiel")
    headers = {name.title(): value for name, value in sign(body, SECRET, int(time.time()) - HOUR).items()}

    class Pushing(TaskInstance):
        """Its XComs are written as Airflow's execution API writes them."""

        def xcom_push(self, key, value):
            airflow_rows.task(task_id="hand_over", state="running", keys=(key,), said=value)

    ti = Pushing("hand_over")
    with set_current_context(ti.context(SimpleNamespace(outlets=[AssetAlias("deliveries")]))):
        result = forward(body.decode() if as_text else body, headers, "magic_hour_default")
    assert result["status"] == "accepted"
    until(lambda: not webhooks.inbox._in_progress)
    assert [extra["name"] for extra in airflow_rows.asset_events()] == ["Wellen über Kiel"]


REFUSED = ["nobody", "a made-up proof", "no proof", "another proof", "too old", "from the future", "another secret"]


@pytest.mark.parametrize("how", [*REFUSED, "another body", "a later timestamp", "a task that has ended", "long ago"])
def test_everybody_else_is_refused(sender, airflow_rows, webhooks, how):
    """401 in the same words, and nothing changes: who has recorded a delivery needs a running task to use it again."""
    airflow_rows.task()
    airflow_rows.asset(URI)
    ages = {"too old": MAX_AGE_S + 60, "from the future": -400}
    body, headers = sender.signed(ages.get(how, HOUR), OTHER_SECRET if how == "another secret" else SECRET)
    proven = sender.announce(
        body,
        headers,
        state="success" if how == "a task that has ended" else "running",
        age_s=module.PROOF_LIFE_S + 60 if how == "long ago" else 0.0,
    )
    forged = {
        "nobody": headers,
        "a made-up proof": headers | {PROOF_HEADER: secrets.token_urlsafe(32)},
        "no proof": headers | {PROOF_HEADER: "x"},
        "another proof": headers | {PROOF_HEADER: sender.announce(body + b" ", headers)[PROOF_HEADER]},
        "a later timestamp": proven | {TIMESTAMP_HEADER: str(int(headers[TIMESTAMP_HEADER]) + 1)},
    }.get(how, proven)
    before = airflow_rows.contents()
    answer = webhooks.post(body + b" " if how == "another body" else body, forged)
    assert (answer.status_code, answer.json()["detail"]) == (401, "The signature or its timestamp is not valid.")
    assert airflow_rows.contents() == before


def test_the_xcom_does_not_tell_the_proof(sender, airflow_rows):
    """Its key is a hash: who may read XComs cannot send the delivery."""
    body, headers = sender.signed()
    sender.announce(body, headers)
    with create_session(scoped=False) as session:
        keys = session.scalars(sa.select(airflow_rows.xcom.key)).all()
    (digest,) = [key.removeprefix("magic_hour.forward.") for key in keys]
    assert sender.send(body, headers | {PROOF_HEADER: digest}) == 401


def test_a_fresh_delivery_needs_no_proof(sender, airflow_rows, webhooks):
    """A wrong one changes nothing about that."""
    body, headers = sender.signed(0)
    assert sender.send(body, headers | {PROOF_HEADER: "x" * 43}) in (200, 202)


def test_other_limits_hold_for_tasks_too(sender, webhooks):
    """A connection that is not listed, and a body that is too large, are what they are for everybody."""
    body, headers = sender.signed(prompt="x" * 1024 * 1024)
    assert sender.send(body, sender.announce(body, headers)) == 413
    body, headers = sender.signed()
    assert sender.send(body, sender.announce(body, headers), "/magic-hour/webhook/magic_hour_unlisted") == 503
    assert sender.send(body, sender.announce(body, headers), "/magic-hour/webhook/magic_hour_other") == 401


def test_who_has_no_delivery_costs_no_query(sender, webhooks, monkeypatch):
    """The database is asked only for what Magic Hour has signed."""
    asked = []
    webhooks.receiver._proofs._find = lambda digest, now: asked.append(digest) or False
    body, headers = sender.signed()
    proof = {PROOF_HEADER: secrets.token_urlsafe(32)}
    assert sender.send(body, headers | proof | {SIGNATURE_HEADER: "0" * 64}) == 401
    assert sender.send(body, sign(body, SECRET, int(webhooks.clock.now() - 2 * MAX_AGE_S)) | proof) == 401
    assert asked == []
    assert sender.send(body, headers | proof) == 401
    assert len(asked) == 1


def test_a_database_that_does_not_answer(sender, webhooks, monkeypatch):
    """503, so that it comes again: unavailable, or silent for longer than a response may take."""

    def away(*_):
        raise DATABASE_UNAVAILABLE[0]("SELECT 1", {}, ConnectionError("gone"))

    body, headers = sender.signed()
    proven = sender.announce(body, headers)
    webhooks.receiver._proofs._find = away
    assert sender.send(body, proven) == 503
    free = threading.Event()
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.05)
    webhooks.receiver._proofs._find = lambda *_: free.wait(HANG_S)
    try:
        assert sender.send(body, proven) == 503
    finally:
        free.set()


def test_no_more_than_so_many_questions_wait(sender, webhooks, monkeypatch):
    """One more is refused at once with 503; when there is room again it is answered."""
    monkeypatch.setattr(module, "_MAX_WAITING", 3)
    free, statuses = threading.Event(), Counter()
    webhooks.receiver._proofs._find = lambda *_: free.wait(HANG_S) and False
    body, headers = sender.signed()
    proven = headers | {PROOF_HEADER: secrets.token_urlsafe(32)}
    threads = [
        threading.Thread(target=lambda: statuses.update([sender.send(body, proven)]), daemon=True) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    while webhooks.receiver._proofs._waiting < 3:
        time.sleep(0.005)
    assert sender.send(body, proven) == 503
    free.set()
    for thread in threads:
        thread.join(HANG_S)
    assert statuses == {401: 3}
    assert sender.send(body, proven) == 401
    assert webhooks.receiver._proofs._waiting == 0


def test_an_airflow_that_has_changed(sender, webhooks, caplog):
    """What cannot be found out is not accepted, and the log says why."""

    def changed(*_):
        raise AttributeError("no such column")

    body, headers = sender.signed()
    webhooks.receiver._proofs._find = changed
    assert sender.send(body, headers | {PROOF_HEADER: secrets.token_urlsafe(32)}) == 401
    assert any("an old delivery is not accepted" in line for line in caplog.messages)


def test_a_tasks_name_matters(sender, airflow_rows, webhooks):
    """An announcement counts only while its own task instance runs, not another one of that run."""
    body, headers = sender.signed()
    proven = sender.announce(body, headers, state="success")
    airflow_rows.task(task_id="another", state="running", keys=())
    assert sender.send(body, proven) == 401
