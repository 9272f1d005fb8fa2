"""A tab's web application in Airflow's API server. Every route needs the right to read the DAG's XComs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.responses import JSONResponse, Response

from magic_hour_provider.plugin.airflow_internals import DagAccessEntity, requires_access_dag

_SHARED = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
PAGE_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""Of every response but those with a stored file."""


def make_tab_app(title: str, static: Path, pages: Mapping[str, str]) -> FastAPI:
    """Return an application with a tab's pages and with what they are made of.

    :param static: the folder of the tab's own pages, scripts and styles; those that tabs share are served beside them.
    :param pages: a file of that folder by each route of a page, which has a ``{dag_id}``.
    """
    # Airflow does not authenticate what plugins mount. A dependency of the application is one of each of its routes,
    # of the static files too: who may not read the DAG's XComs gets nothing at all.
    allowed = Depends(requires_access_dag("GET", DagAccessEntity.XCOM))
    app = FastAPI(title=title, dependencies=[Depends(_check_ids), allowed], openapi_url=None)
    for route, name in pages.items():
        app.add_api_route(route, _page(static, name), methods=["GET"])

    def static_file(name: str) -> Response:
        return _read_static((static, _SHARED), name)

    app.add_api_route("/dags/{dag_id}/static/{name}", static_file, methods=["GET"])
    return app


def respond_with_json(content: dict[str, Any]) -> Response:
    """Return a response that is stored nowhere."""
    return JSONResponse(content, headers=PAGE_HEADERS | {"cache-control": "no-store"})


def _page(static: Path, name: str) -> Callable[[], Response]:
    def page() -> Response:
        return _read_static((static,), name)

    return page


def _read_static(folders: tuple[Path, ...], name: str) -> Response:
    files = (path for folder in folders for path in folder.iterdir())
    path = next((path for path in files if path.name == name and path.suffix in _TYPES), None)
    if path is None:
        raise HTTPException(404, "There is no such file.")
    return Response(path.read_bytes(), headers=PAGE_HEADERS | {"content-type": _TYPES[path.suffix]})


def _check_ids(request: Request) -> None:
    # The first of all checks, as PostgreSQL fails queries with it, also those for who may read a DAG.
    if any("\0" in str(value) for value in request.path_params.values()):
        raise HTTPException(404, "There is no such page.")
