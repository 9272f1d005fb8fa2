"""The Spend tab's web application in Airflow's API server. Every route needs the right to read the DAG's XComs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Query
from starlette.responses import Response

from magic_hour_provider.plugin.airflow_internals import create_session
from magic_hour_provider.plugin.spend_tab.page import describe_spend, write_csv
from magic_hour_provider.plugin.spend_tab.queries import MAX_RUNS, SpendPage, load_spend
from magic_hour_provider.plugin.web.app import PAGE_HEADERS, make_tab_app, respond_with_json
from magic_hour_provider.plugin.web.load_cache import LoadCache

_T = TypeVar("_T")

_STATIC = Path(__file__).parent / "static"
_PAGE = "/dags/{dag_id}/runs"
_RUNS = 50  # of a page, where nobody asks for another number
_MAX_ROW_ID = 2**31 - 1  # a larger one is none that the database takes
_THREADS = 2  # for building pages

_Before = Annotated[int | None, Query(ge=0, le=_MAX_ROW_ID)]
_Count = Annotated[int, Query(ge=1, le=MAX_RUNS)]


def make_spend_app() -> FastAPI:
    """Return the application, to be mounted at ``/magic-hour/spend``."""
    app = make_tab_app("Magic Hour spend", _STATIC, {_PAGE: "spend.html"})
    tab = SpendTab()
    app.add_api_route(_PAGE + "/details", tab.respond_with_details, methods=["GET"])
    app.add_api_route(_PAGE + "/csv", tab.respond_with_csv, methods=["GET"])
    return app


class SpendTab:
    """The routes that read Airflow's database. It is not waited for in the server's own threads."""

    def __init__(self) -> None:
        self._pages = LoadCache(_load_page)
        self._threads = CapacityLimiter(_THREADS)

    async def respond_with_details(self, dag_id: str, before: _Before = None, count: _Count = _RUNS) -> Response:
        """Return what some runs have paid for, with its sums."""
        page = await self._pages.get(dag_id, before, count)
        return await self._in_thread(lambda: respond_with_json(describe_spend(page, time.time())))

    async def respond_with_csv(self, dag_id: str, before: _Before = None, count: _Count = _RUNS) -> Response:
        """Return the same runs as a file for spreadsheets."""
        page = await self._pages.get(dag_id, before, count)
        text = await self._in_thread(lambda: write_csv(page))
        name = quote(f"spend-{dag_id}.csv".encode(errors="replace"), safe="")
        headers = {"cache-control": "no-store", "content-disposition": f"attachment; filename*=utf-8''{name}"}
        return Response(text, headers=PAGE_HEADERS | headers, media_type="text/csv")

    async def _in_thread(self, function: Callable[[], _T]) -> _T:
        return await to_thread.run_sync(function, limiter=self._threads)


def _load_page(dag_id: str, before: int | None, count: int) -> SpendPage:
    with create_session(scoped=False) as session:
        return load_spend(session, dag_id, before, count)
