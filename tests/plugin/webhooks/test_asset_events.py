"""A delivery becomes an event of an asset that some DAG knows, once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from airflow.utils.session import create_session

from helpers.webhooks import Webhooks, serving
from magic_hour_provider.api.models import JobReference
from magic_hour_provider.ledger.tag import make_job_name
from magic_hour_provider.plugin.webhooks.receiver import make_webhook_app
from magic_hour_provider.triggers.batch import MagicHourBatchTrigger
from magic_hour_provider.xcoms import BATCH_XCOM

URI = "magic-hour://video/completed"


def test_an_event_for_a_dag_that_asked_for_it(airflow_rows, webhooks):
    """It says which job it is, no signed link; the DAG is queued, and operators take the event as their job."""
    airflow_rows.asset(URI)
    webhooks.deliver(name="waves", credits_charged=30)
    (extra,) = airflow_rows.asset_events()
    assert extra == {
        "id": "job1",
        "type": "video.completed",
        "kind": "video",
        "name": "waves",
        "credits_charged": 30,
        "library_url": "https://magichour.ai/my-library?videoId=job1",
        "conn_id": "magic_hour_default",
    }
    assert "signature" not in json.dumps(extra)
    assert airflow_rows.queued() == ["archive"]
    assert JobReference.parse(extra) == JobReference("video", "job1", "video")


def test_a_job_of_a_batch(airflow_rows, webhooks):
    """It is accepted and makes its event; the batch itself has no row for each item, so its polls find the end."""
    airflow_rows.asset(URI)
    batch = MagicHourBatchTrigger.__module__ + "." + MagicHourBatchTrigger.__qualname__
    airflow_rows.task(task_id="campaign", trigger=batch, keys=(BATCH_XCOM,))
    before = airflow_rows.contents()
    name = make_job_name("shoe-1", "teaser.campaign manual", "ABCDEFGH", "all")
    webhooks.deliver(name=name)
    assert [extra["id"] for extra in airflow_rows.asset_events()] == ["job1"]
    after = airflow_rows.contents()
    assert all(after[table] == before[table] for table in ("task_instance", "trigger", "xcom"))


@pytest.mark.parametrize(
    ("type_", "uris", "events"),
    [
        ("video.completed", [], 0),
        ("video.completed", ["magic-hour://image/completed", "magic-hour://video/errored"], 0),
        ("video.started", ["magic-hour://video/started", URI], 0),
        ("video.errored", ["magic-hour://video/errored", URI], 1),
        ("audio.completed", ["magic-hour://audio/completed"], 1),
    ],
)
def test_only_the_asset_of_its_kind_and_end(airflow_rows, webhooks, type_, uris, events):
    """Nothing is written for an asset that nobody knows, for another kind or end, or for a start."""
    for number, uri in enumerate(uris):
        airflow_rows.asset(uri, f"dag{number}")
    webhooks.deliver(type_, error={"code": "x", "message": "y"})
    assert [extra["type"] for extra in airflow_rows.asset_events()] == [type_] * events


def test_an_asset_that_no_dag_has_any_more(airflow_rows, webhooks):
    """Airflow keeps its row, and no event is made."""
    airflow_rows.asset(URI, active=False)
    webhooks.deliver()
    assert airflow_rows.asset_events() == []


def test_doubled_deliveries_make_one_event(airflow_rows, webhooks):
    """Twelve copies at once to two API servers, and one later: one event; another job or end has its own."""
    airflow_rows.asset(URI)
    airflow_rows.asset("magic-hour://video/errored", "mourn")
    with serving(make_webhook_app()) as url, ThreadPoolExecutor(6) as threads:
        other = Webhooks(url, webhooks.clock)
        both = [(webhooks, "/magic-hour/webhook"), (other, "/webhook")] * 6
        answers = list(threads.map(lambda where: where[0].send(path=where[1]).status_code // 100, both))
    assert set(answers) == {2}
    webhooks.deliver()
    webhooks.deliver(job_id="job11")
    webhooks.deliver("video.errored")
    ends = [(extra["id"], extra["type"].partition(".")[2]) for extra in airflow_rows.asset_events()]
    assert ends == [("job1", "completed"), ("job11", "completed"), ("job1", "errored")]


def test_only_recent_events_are_compared(airflow_rows, webhooks):
    """Magic Hour repeats for a day; comparing older events would cost more and more."""
    airflow_rows.asset(URI)
    webhooks.deliver()
    webhooks.let_time_pass()
    with create_session(scoped=False) as session:
        session.execute(sa.update(airflow_rows.events).values(timestamp=datetime.now(UTC) - timedelta(hours=26)))
    webhooks.deliver()
    assert len(airflow_rows.asset_events()) == 2
