"""The application behind the Spend tab: who gets in, what it responds, and what its page is made of."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

from helpers.airflow_rows import token
from helpers.spend_rows import paid_job, put_spend, spend_dag, three_jobs
from magic_hour_provider.plugin import tabs
from magic_hour_provider.plugin.spend_tab import app as spend_app
from magic_hour_provider.plugin.web import app as web_app
from magic_hour_provider.plugin.web import load_cache

STATIC = Path(spend_app.__file__).parent / "static"
SHARED = Path(web_app.__file__).parent / "static"
PAGE = "/magic-hour/spend/dags/spend/runs"


@pytest.fixture
def get(api, monkeypatch) -> Any:
    """Ask as the admin, or with other headers."""
    monkeypatch.setattr(load_cache, "_KEPT_S", 0)  # tests ask for what they have just written
    monkeypatch.setattr(load_cache, "_TIMES_LOADING", 0)
    admin = {"authorization": f"Bearer {token()}"}
    return lambda path, headers=admin, **query: api.get(path, headers=headers, params=query)


def test_every_route_asks_who_it_is(api, get, monkeypatch):
    """Nobody: 401; a user without a role: 403; one whom the auth manager refuses this DAG's XComs: 403. All routes."""
    put_spend(spend_dag("spend"), [three_jobs(0)])
    get(PAGE)  # loads the application, which itself says which routes there are
    routes = [route.path.format(dag_id="spend", name="spend.css") for route in tabs.SPEND_APP["app"]._app.routes]
    assert len(routes) == 4
    asked = []

    def refuse(*, method, access_entity=None, details=None, user):
        asked.append((method, access_entity, details.id, user.username))
        return False

    for url in (f"/magic-hour/spend{route}" for route in routes):
        assert get(url, headers={}).status_code == 401, url
        assert get(url, headers={"authorization": f"Bearer {token('stranger', '')}"}).status_code == 403, url
        assert get(url).status_code == 200, url
        with monkeypatch.context() as patch:
            patch.setattr(get_auth_manager(), "is_authorized_dag", refuse)
            answer = get(url)
        assert (answer.status_code, b"credits" in answer.content) == (403, False), url
        assert api.post(url, headers={"authorization": f"Bearer {token()}"}).status_code == 405, url
    assert asked == [("GET", DagAccessEntity.XCOM, "spend", "admin")] * 4


def test_pages_of_runs(get):
    """Each page says where the next begins; its sums are of its own runs."""
    put_spend(spend_dag("spend"), [three_jobs(number) for number in range(5)])
    first = get(f"{PAGE}/details", count=3).json()
    assert [run["run_id"] for run in first["runs"]] == ["run-0004", "run-0003", "run-0002"]
    assert (first["totals"]["credits"], first["totals"]["average"], first["live"]) == (384, 128, False)
    assert [one["title"] for one in first["tools"]] == ["Text to Video", "AI Image Generator", "AI Voice Generator"]
    last = get(f"{PAGE}/details", count=3, before=first["older"]).json()
    assert ([run["run_id"] for run in last["runs"]], last["older"]) == (["run-0001", "run-0000"], None)


@pytest.mark.parametrize(
    "query", [{"count": 0}, {"count": 1001}, {"before": -1}, {"before": 2**31}, {"before": "x"}, {"count": "all"}]
)
def test_numbers_that_are_none_of_ours(get, query):
    """They are refused before anything is read."""
    assert get(f"{PAGE}/details", **query).status_code == 422


def test_another_dag_is_not_reached(get):
    """The DAG whose XComs one may read is the DAG whose runs are read."""
    put_spend(spend_dag("spend"), [three_jobs(0)])
    for name in ("other", "~", "%00", "spe%25"):
        answer = get(f"/magic-hour/spend/dags/{name}/runs/details")
        assert answer.status_code in (200, 404)
        assert "run-0000" not in answer.text


def test_the_csv(get):
    """A row for each run and a column for each tool; what a spreadsheet would run as a formula is text."""
    evil = "=HYPERLINK(1)"
    reported = [three_jobs(0), {("film", "magic_hour_job"): paid_job("x", 7, evil)}]
    put_spend(spend_dag("spend"), reported)
    answer = get(f"{PAGE}/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''spend-spend.csv"
    assert answer.headers["x-content-type-options"] == "nosniff"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    shown = [(row["run_id"], row["credits"], row["jobs"]) for row in rows]
    assert shown == [("run-0001", "7", "1"), ("run-0000", "128", "3")]
    assert rows[1]["credits of text-to-video"] == "120"
    assert f"credits of {evil}" in rows[0]
    assert not re.search(r"(?:^|,)\"?[=+@-]", answer.text, re.M)


def test_the_page_has_no_script_and_no_style_of_its_own(get):
    """The policy forbids them, and the page does without; every file that it and its scripts name is served."""
    answer = get(PAGE)
    assert re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:", answer.text) == []
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    names = set(re.findall(r'(?:src|href)="static/([^"]+)"', answer.text))
    for path in (*STATIC.glob("*.js"), *SHARED.glob("*.js")):
        names |= set(re.findall(r'from "\./([^"]+)"', path.read_text()))
    assert {"spend.css", "style.css", "chart.js", "common.js", "theme.js"} <= names
    for name in names:
        assert get(f"/magic-hour/spend/dags/spend/static/{name}").status_code == 200, name
