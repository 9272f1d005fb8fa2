"""The Spend tab as people use it: Debian's chromium and Airflow's own UI, with 200 runs that have paid for jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.airflow_rows import make_app, token
from helpers.browser import Visit, needs_chromium, running_chromium
from helpers.database import fill_home
from helpers.spend_rows import paid_job, put_spend, spend_dag, three_jobs
from helpers.waiting import until
from helpers.webhooks import serving
from magic_hour_provider.plugin.lazy_app import LazyApp
from magic_hour_provider.plugin.tabs import SPEND_APP

pytestmark = needs_chromium
COUNT = 200


@pytest.fixture(scope="module")
def airflow() -> Iterator[str]:
    """The address of Airflow's API server, which has the runs.

    A film of every tenth run has failed, and every third run has a limit.
    """
    fill_home()
    reported = []
    for number in range(COUNT):
        given = dict(three_jobs(number))
        if number % 10 == 9:
            film = paid_job(f"film{number}", 0, "text-to-video", status="error", charge="refunded")
            given["film", "magic_hour_job"] = film
        if number % 3 == 0:
            given = {key: job | {"max_credits_per_run": 100} for key, job in given.items()}
        reported.append(given)
    put_spend(spend_dag("spend"), reported)
    with pytest.MonkeyPatch.context() as patch:
        # Of this server's event loop, not of one that another test has used.
        patch.setitem(SPEND_APP, "app", LazyApp("magic_hour_provider.plugin.spend_tab.app:make_spend_app"))
        with serving(make_app()) as url:
            yield url


@pytest.fixture(scope="module")
def visit(airflow: str) -> Iterator[Any]:
    """Visits of the admin; none may end with an error in a script or with a policy broken."""
    visits = []
    world = SimpleNamespace(airflow=SimpleNamespace(url=airflow), token_of=token)
    with running_chromium() as browser:

        def come(**options: Any) -> Visit:
            visits.append(Visit(world, browser, **options))
            visits[-1].log_in("admin")
            return visits[-1]

        yield come
        assert [trouble for one in visits for trouble in one.troubles] == []


def test_two_hundred_runs(airflow, visit):
    """Totals, bars by keyboard, the table behind them, older runs, and a file; in the dark, and on a phone."""
    someone = visit(theme="dark")
    someone.page.goto(f"{airflow}/dags/spend")
    someone.page.get_by_role("link", name="Spend", exact=True).click()
    tab = someone.page.frame_locator("iframe[title='Spend']")
    tab.get_by_role("button", name="200 runs").click()
    until(lambda: tab.locator("tbody tr").count() == 200)
    # 180 runs of 128 credits, and 20 whose film was refunded.
    assert re.findall(r"\d[\d.,]*", tab.locator("#totals").inner_text()) == ["23,200", "116", "20", "20"]
    assert tab.locator("svg .slot").count() == 200
    assert tab.locator(".keys li").all_inner_texts()[0] == "Text to Video: 21,600"
    assert tab.locator("svg line.limit").count() == 68  # of its runs and in the legend
    tab.locator(".scroll").focus()
    someone.page.keyboard.press("End")
    said = tab.locator(".chosen-run").inner_text()
    assert re.match(r"run-0199, .*: 8 credits; .*; 1 failed; 1 refunded", said), said
    someone.page.keyboard.press("ArrowLeft")
    assert tab.locator(".chosen-run").inner_text().startswith("run-0198, ")
    assert tab.locator("tr.chosen").get_attribute("data-run") == "run-0198"
    row = tab.locator("tr[data-run=run-0198]")
    cells = re.split(r"\s*\t\s*", row.inner_text().strip())
    assert cells[2:4] + cells[5:] == ["success", "128 (over its limit)", "3", "0", "0", "100"]
    inner, outer = row.locator(".over").bounding_box(), row.bounding_box()
    assert outer["y"] <= inner["y"]
    assert inner["y"] + inner["height"] <= outer["y"] + outer["height"] + 1
    assert tab.locator("html").get_attribute("data-theme") == "dark"
    someone.keep("spend-dark")
    with someone.page.expect_download() as download:
        tab.get_by_role("link", name="CSV").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 201
    tab.get_by_role("button", name="50 runs", exact=True).click()
    until(lambda: tab.locator("tbody tr").count() == 50)
    tab.get_by_role("button", name="Older runs").click()
    until(lambda: tab.locator("tbody tr").first.get_attribute("data-run") == "run-0149")
    tab.get_by_role("button", name="Newer runs").click()
    until(lambda: tab.locator("tbody tr").first.get_attribute("data-run") == "run-0199")
    tab.get_by_role("link", name="run-0199").click()
    someone.page.wait_for_url("**/runs/run-0199/plugin/magic-hour-run-media")
    # Nothing is wider than a phone: what is, scrolls in itself, and can be reached by keyboard.
    someone = visit(width=360, height=740)
    someone.page.goto(f"{airflow}/magic-hour/spend/dags/spend/runs")
    someone.page.get_by_role("button", name="200 runs").click()
    until(lambda: someone.page.locator("tbody tr").count() == 200)
    assert someone.page.evaluate("document.documentElement.scrollWidth") <= 360
    # The newest run is in sight at first.
    scroll = someone.page.locator(".scroll")
    assert scroll.evaluate("one => one.scrollLeft + one.clientWidth >= one.scrollWidth - 1")
    scroll.focus()
    someone.page.keyboard.press("Home")
    assert someone.page.locator(".chosen-run").inner_text().startswith("run-0000, ")
    assert scroll.evaluate("one => one.scrollLeft") == 0
    assert someone.page.locator(".rows").get_attribute("tabindex") == "0"
    someone.keep("spend-narrow")
