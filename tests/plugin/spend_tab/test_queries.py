"""Pages of runs: what is read of them, how much at the most, and what is counted."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.utils.session import create_session

from helpers.airflow_rows import put_mapped, put_record, put_run
from helpers.spend_rows import REQUEST, name_run, paid_job, put_spend, spend_dag, three_jobs
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.plugin.spend_tab import queries
from magic_hour_provider.plugin.spend_tab.page import describe_spend, write_csv
from magic_hour_provider.plugin.spend_tab.queries import load_spend
from magic_hour_provider.plugin.state_store import get_state_store_model
from magic_hour_provider.sensors.job import MagicHourJobSensor

has_records = pytest.mark.skipif(get_state_store_model() is None, reason="Airflow before 3.3 has no records")


def read(before=None, count=1000, dag_id="spend"):
    """Return a page of runs."""
    with create_session(scoped=False) as session:
        return load_spend(session, dag_id, before, count)


def test_pages_put_together_are_all_runs(airflow_tables):
    """The newest first, each run once, and another DAG's in none."""
    put_spend(spend_dag("spend"), [three_jobs(number) for number in range(25)])
    put_spend(spend_dag("other"), [three_jobs(number) for number in range(3)])
    seen, before = [], None
    while True:
        page = read(before, 10)
        seen += [run.run_id for run in page.runs]
        before = page.older
        if before is None:
            break
    assert seen == [name_run(number) for number in reversed(range(25))]
    assert {run.credits for run in read().runs} == {128}
    assert read().runs[0].tools == {"ai-image-generator": 5, "text-to-video": 120, "ai-voice-generator": 3}
    assert read(dag_id="nothing").runs == []


def test_the_work_of_a_page_is_bounded(airflow_tables, monkeypatch):
    """Runs that do not fit are on the next page; a single run with more is counted in part, and says so."""
    monkeypatch.setattr(queries, "MAX_VALUES", 40)
    put_spend(spend_dag("spend"), [three_jobs(number) for number in range(30)])
    seen, before = [], None
    while True:
        page = read(before, 1000)
        assert 0 < len(page.runs) <= 14
        assert not any(run.is_partial for run in page.runs)
        assert {run.credits for run in page.runs} == {128}
        seen += [run.run_id for run in page.runs]
        if (before := page.older) is None:
            break
    assert seen == [name_run(number) for number in reversed(range(30))]
    with DAG("wide", schedule=None) as dag:
        MagicHourOperator.partial(task_id="make", tool="ai-image-generator").expand(request=[REQUEST] * 60)
    put_run(dag)
    put_mapped("wide", "make", "success", [{"magic_hour_job": paid_job(f"job{number}")} for number in range(60)])
    (run,) = read(dag_id="wide").runs
    assert (run.is_partial, run.jobs, run.credits) == (True, 40, 200)
    monkeypatch.undo()
    (run,) = read(dag_id="wide").runs
    assert (run.is_partial, run.jobs, run.credits) == (False, 60, 300)


def test_what_counts_as_spent(airflow_tables):
    """Failed jobs are refunded, a lost response is unknown, a refusal is nothing, a batch counts itself."""
    lost = {"tool": "text-to-video", "request": REQUEST, "status": "unknown", "charge": "unknown"}
    refused = {"tool": "text-to-video", "request": REQUEST, "status": "failed", "charge": "none"}
    batch = {"tool": "ai-image-editor", "items": 9, "complete": 6, "failed": 2, "unknown": 1, "active": 0}
    reported = [
        {
            ("picture", "magic_hour_job"): paid_job("a", 5),
            ("film", "magic_hour_job"): paid_job("b", 120, "text-to-video", status="error", charge="refunded"),
            ("sound", "magic_hour_job"): paid_job("c", -3, status="canceled"),
        },
        {("picture", "magic_hour_job"): lost, ("film", "magic_hour_job"): refused},
        {("picture", "magic_hour_batch"): batch | {"credits_charged": 60, "max_credits": 50}},
        {("picture", "magic_hour_job"): paid_job("d", None), ("film", "magic_hour_job"): paid_job("d")},
        {("picture", "magic_hour_job"): paid_job("e", 7, status="gone", charge="kept")},
        {("picture", "magic_hour_job"): paid_job("f", 7), ("picture", "magic_hour.refunded.g"): {"tool": "animation"}},
    ]
    put_spend(spend_dag("spend"), reported)
    found = [
        (run.credits, run.jobs, run.failed, run.refunded, run.unknown, run.unreadable, run.limit)
        for run in reversed(read().runs)
    ]
    assert found == [
        (5, 3, 2, 2, 0, 0, None),
        (0, 1, 0, 0, 1, 0, None),
        (60, 9, 2, 0, 1, 0, 50),
        (5, 1, 0, 0, 0, 0, None),
        (7, 1, 1, 0, 0, 0, None),
        (7, 2, 1, 1, 0, 0, None),
    ]
    totals = describe_spend(read(), 0.0)["totals"]
    assert (totals["credits"], totals["average"], totals["paying"], totals["refunded"]) == (84, 14, 6, 3)


def test_limits(airflow_tables):
    """The limit of a run is that of all its tasks, or the sum of their own ones where each has one."""
    reported = [
        {("picture", "magic_hour_job"): paid_job("a", max_credits=10), ("film", "magic_hour_job"): paid_job("b")},
        {
            ("picture", "magic_hour_job"): paid_job("c", max_credits=10),
            ("film", "magic_hour_job"): paid_job("d", max_credits=30),
        },
        {
            ("picture", "magic_hour_job"): paid_job("e", max_credits=10, max_credits_per_run=500),
            ("film", "magic_hour_job"): paid_job("f"),
        },
    ]
    put_spend(spend_dag("spend"), reported)
    assert [run.limit for run in reversed(read().runs)] == [None, 40, 500]


@has_records
def test_what_earlier_attempts_have_paid(airflow_tables):
    """The record of a task knows the jobs before its last one, and the one of a task whose XComs are gone."""
    refunded = {"state": "ended", "tool": "text-to-video", "job_id": "old2", "credits_charged": 120}
    history = [
        {"state": "delivered", "tool": "text-to-video", "key": "K", "job_id": "old1", "credits_charged": 100},
        refunded | {"reason": "It failed. Magic Hour refunds the job."},
    ]
    put_spend(spend_dag("spend"), [three_jobs(0), three_jobs(1), {("film", "magic_hour_job"): "s3://elsewhere/x"}])
    put_record("spend", "film", {"job_id": "film0", "credits_charged": 1, "history": history}, run_id=name_run(0))
    put_record("spend", "picture", {"job_id": "picture0", "credits_charged": 9}, run_id=name_run(0))  # not read
    put_record("spend", "film", {"job_id": "mine", "credits_charged": 77, "tool": "animation"}, run_id=name_run(2))
    last, same, first = read().runs
    assert (first.credits, first.jobs, first.failed, first.refunded) == (228, 5, 1, 1)
    history[0]["earlier"] = {"paid": 40, "reserved": 0, "is_known": True}
    put_record("spend", "film", {"job_id": "film0", "credits_charged": 1, "history": history}, run_id=name_run(0))
    assert read().runs[-1].credits == 268
    assert same.credits == 128
    assert (last.tools, last.unreadable) == ({"animation": 77}, 0)


def test_a_total_that_a_task_reports(airflow_tables):
    """Where no record names the jobs of earlier attempts, the task's own total tells their credits."""

    def report(paid):
        return {("picture", "magic_hour_job"): paid_job("a", 5, run_credits=paid), ("film", "magic_hour_job"): lost}

    lost = {"tool": "animation", "request": REQUEST, "charge": "unknown", "run_credits": {"paid": 30, "reserved": 8}}
    totals = [{"paid": 5, "reserved": 0}, {"paid": 25}, {"paid": 1}, {"paid": "5"}, [25], "25", {"x": "y" * 300}]
    put_spend(spend_dag("spend"), [report(total) for total in totals])
    assert [run.credits - 30 for run in reversed(read().runs)] == [5, 25, 5, 5, 5, 5, 5]


@has_records
def test_a_job_that_ended_while_nobody_reported_it(airflow_tables):
    """An attempt was killed before it could report the refund, which the record has."""
    put_spend(spend_dag("spend"), [{("film", "magic_hour_job"): paid_job("a", 120, status="rendering")}])
    put_record("spend", "film", {"job_id": "b", "history": [{"state": "failed", "job_id": "a"}]}, run_id=name_run(0))
    (run,) = read().runs
    assert (run.credits, run.jobs, run.failed, run.refunded, run.unknown) == (0, 2, 1, 1, 1)


def test_a_task_that_only_waits_has_paid_nothing(airflow_tables):
    """A sensor and a download report a job that another DAG has paid for, also where they fail."""
    with DAG("waits", schedule=None) as dag:
        for task_id in ("picture", "film", "sound"):
            MagicHourJobSensor(task_id=task_id, job="https://magichour.ai/my-library?imageId=a")
    reported = {
        ("picture", "magic_hour_job"): paid_job("a", 5, request={}),
        ("film", "magic_hour_job"): paid_job("b", 5, request={}, status="error", charge="refunded"),
        ("sound", "magic_hour_job"): paid_job("c", 5),
    }
    put_spend(dag, [reported])
    (run,) = read(dag_id="waits").runs
    assert (run.credits, run.jobs, run.failed) == (0, 0, 0)
    put_spend(spend_dag("spend"), [{("picture", "magic_hour_job"): paid_job("a", 5, request={})}])
    (run,) = read().runs
    assert (run.credits, run.jobs) == (0, 0)


ODD = [
    None,
    True,
    7,
    "text",
    json.dumps(paid_job("x")),
    [paid_job("x")],
    {},
    {"tool": None, "id": "x"},
    {"tool": {"a": 1}, "id": ["x"], "credits_charged": {"b": 2}, "request": 5},
    paid_job("x", "many"),
    paid_job("x", -5),
    paid_job("x", 10**400),
    paid_job("x", 1e308),
    paid_job("x" * 10_000, 5, "t" * 10_000),
    paid_job("x", 5, "=cmd|' /C calc'!A0"),
    paid_job("x", 5, "half \ud800"),
    paid_job("../x", 5),
]


@pytest.mark.parametrize("key", ["magic_hour_job", "magic_hour_batch"])
def test_a_broken_value_is_one_broken_row(airflow_tables, key):
    """Whatever anybody has written, the other runs and the other tasks of its own run are counted."""
    odd = [value for value in ODD if airflow_tables == "sqlite" or "\\ud800" not in json.dumps(value)]
    put_spend(spend_dag("spend"), [{**three_jobs(n), ("picture", key): value} for n, value in enumerate(odd)])
    page = read()
    assert len(page.runs) == len(odd)
    for run, value in zip(reversed(page.runs), odd, strict=True):
        assert (run.tools["text-to-video"], run.tools["ai-voice-generator"]) == (120, 3), value
        assert run.credits - 123 in ((0, 5) if key == "magic_hour_job" else (5, 10)), value
    assert [run.unreadable for run in reversed(page.runs)][:8] == [1] * 8
    text = json.dumps(describe_spend(page, 0.0), allow_nan=False)
    assert len(text) < 20_000
    lines = write_csv(page).encode().decode().splitlines()
    assert len(lines) == len(odd) + 1
    assert not [cell for line in lines for cell in line.split(",") if cell.lstrip('"').startswith(("=", "+", "@"))]


def test_a_value_that_is_no_json(airflow_tables):
    """SQLite would refuse a query over all values because of one; PostgreSQL does not store it."""
    if airflow_tables == "postgresql":
        pytest.skip("PostgreSQL does not store it")
    ids = put_spend(spend_dag("spend"), [three_jobs(number) for number in range(2)])
    with create_session(scoped=False) as session:
        session.execute(
            sa.update(XComModel)
            .where(XComModel.dag_run_id == ids[0], XComModel.task_id == "picture")
            .values(value=sa.literal_column("'{'")),
            execution_options={"synchronize_session": False},
        )
    last, broken = read().runs
    assert (last.credits, last.unreadable) == (128, 0)
    assert (broken.credits, broken.unreadable) == (123, 1)


@has_records
def test_a_record_that_is_none(airflow_tables):
    """It is one broken value of its run."""
    odd = ["{", "[]", "null", "5", '{"history": 5}', "[" * 5000, '{"state": "x"}', '{"history": [null]}' * 9]
    ids = put_spend(spend_dag("spend"), [three_jobs(number) for number in range(len(odd) + 1)])
    model = get_state_store_model()
    with create_session() as session:
        where = {"dag_id": "spend", "task_id": "film", "map_index": -1, "key": "magic_hour.job"}
        for number, text in enumerate(odd):
            session.add(model(run_id=name_run(number), dag_run_id=ids[number], value=text, **where))
    last, *broken = read().runs
    assert (last.credits, last.unreadable) == (128, 0)
    assert [(run.credits, run.unreadable) for run in broken] == [(128, 1)] * len(odd)


def test_the_database_reads_what_is_shown(airflow_tables):
    """XComs are found by the runs' ids in an index: no plan reads the whole table, which all DAGs share."""
    put_spend(spend_dag("other"), [three_jobs(number) for number in range(300)])
    put_spend(spend_dag("spend"), [three_jobs(number) for number in range(300)])
    statements = []

    def keep(connection, cursor, statement, parameters, context, many):
        if "FROM xcom" in statement or "task_state_store" in statement:
            statements.append((statement, parameters))

    from airflow import settings

    if airflow_tables == "postgresql":
        with create_session() as session:
            session.execute(sa.text("ANALYZE"))
    sa.event.listen(settings.engine, "before_cursor_execute", keep)
    try:
        assert len(read(count=20).runs) == 20
    finally:
        sa.event.remove(settings.engine, "before_cursor_execute", keep)
    assert statements
    explain = "EXPLAIN QUERY PLAN " if airflow_tables == "sqlite" else "EXPLAIN "
    with create_session(scoped=False) as session:
        for statement, parameters in statements:
            rows = session.connection().exec_driver_sql(explain + statement, parameters).all()
            plan = "\n".join(str(row) for row in rows)
            assert "Seq Scan on xcom" not in plan, plan
            assert "SCAN xcom" not in plan, plan
            assert "SCAN task_state_store" not in plan, plan
            assert ("idx_xcom" in plan) or ("xcom_pkey" in plan) or ("sqlite_autoindex_xcom" in plan), plan


def test_runs_are_named_by_when_they_were_made(airflow_tables):
    """A run that is made late for an early day stands where its credits were spent."""
    ids = put_spend(spend_dag("spend"), [three_jobs(number) for number in range(3)])
    with create_session() as session:
        session.execute(sa.update(DagRun).where(DagRun.id == ids[2]).values(run_after=sa.func.current_timestamp()))
    assert [run.run_id for run in read().runs] == [name_run(number) for number in (2, 1, 0)]
