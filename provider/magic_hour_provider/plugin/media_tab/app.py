"""The Media tab's web application in Airflow's API server. Every route needs the right to read the DAG's XComs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.utils.session import create_session
from anyio import to_thread
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from starlette.responses import JSONResponse, Response

from magic_hour_provider.plugin.media_tab.file_response import respond_with_file
from magic_hour_provider.plugin.media_tab.pages import MAX_PAGE, PAGE, run_page, task_page
from magic_hour_provider.plugin.media_tab.queries import is_run_active, load_tasks
from magic_hour_provider.plugin.media_tab.roots import FileLocation, FileNotShownError, get_media_roots, locate_file
from magic_hour_provider.plugin.media_tab.task_details import TaskSnapshot

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_PAGE_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
_RUN = "/dags/{dag_id}/runs/{run_id}"
_TASK = _RUN + "/tasks/{task_id}/{map_index}"


def make_media_app() -> FastAPI:
    """Return the application, to be mounted at ``/magic-hour/media``."""
    # Airflow does not authenticate what plugins mount. A dependency of the application is one of each of its routes,
    # of the static files too: who may not read the DAG's XComs gets nothing at all.
    allowed = Depends(requires_access_dag("GET", DagAccessEntity.XCOM))
    app = FastAPI(title="Magic Hour media", dependencies=[allowed], openapi_url=None)
    app.add_api_route(_RUN, _static_page("run.html"), methods=["GET"])
    app.add_api_route(_TASK, _static_page("task.html"), methods=["GET"])
    app.add_api_route(_RUN + "/details", _run_details, methods=["GET"])
    app.add_api_route(_TASK + "/details", _task_details, methods=["GET"])
    app.add_api_route(_TASK + "/files/{index}", _file, methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/dags/{dag_id}/static/{name}", _static_file, methods=["GET"])
    return app


def _static(name: str) -> Response:
    path = next((path for path in _STATIC.iterdir() if path.name == name and path.suffix in _TYPES), None)
    if path is None:
        raise HTTPException(404, "There is no such file.")
    return Response(path.read_bytes(), headers=_PAGE_HEADERS | {"content-type": _TYPES[path.suffix]})


def _static_page(name: str) -> Any:
    def page() -> Response:
        return _static(name)

    return page


def _static_file(name: str) -> Response:
    return _static(name)


def _parse_map_index(map_index: str) -> int:
    """Return a map index; Airflow's UI leaves ``{MAP_INDEX}`` as it is where a task is not mapped."""
    if map_index == "{MAP_INDEX}":
        return -1
    try:
        return int(map_index)
    except ValueError:
        raise HTTPException(404, "There is no such task instance.") from None


def _read(
    dag_id: str, run_id: str, task_id: str | None = None, map_index: int | None = None
) -> tuple[list[TaskSnapshot], bool]:
    """Return the task instances that run our operators, and whether their run is active."""
    with create_session(scoped=False) as session:
        found = load_tasks(session, dag_id, run_id, task_id, map_index)
        live = is_run_active(session, dag_id, run_id)
    if found is None:
        raise HTTPException(404, "There is no such run or task instance.")
    return found, live


def _json(content: Any) -> Response:
    return JSONResponse(content, headers=_PAGE_HEADERS | {"cache-control": "no-store"})


def _task_details(dag_id: str, run_id: str, task_id: str, map_index: str) -> Response:
    found, live = _read(dag_id, run_id, task_id, _parse_map_index(map_index))
    return _json(task_page(found[0] if found else None, get_media_roots(), time.time(), live=live))


def _run_details(
    dag_id: str,
    run_id: str,
    kind: str | None = None,
    stage: str | None = None,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
) -> Response:
    found, live = _read(dag_id, run_id)
    chosen: dict[str, Any] = {"kind": kind or None, "stage": stage or None, "offset": offset, "limit": limit}
    return _json(run_page(found, get_media_roots(), time.time(), live=live, **chosen))


def _find_file(dag_id: str, run_id: str, task_id: str, map_index: int, index: int) -> FileLocation:
    found, _ = _read(dag_id, run_id, task_id, map_index)
    media = found[0].media if found else []
    if not 0 <= index < len(media):
        raise HTTPException(404, "This task instance has no such file.")
    return locate_file(media[index][0], get_media_roots())


async def _file(
    request: Request, dag_id: str, run_id: str, task_id: str, map_index: str, index: int, download: bool = False
) -> Response:
    try:
        location = await to_thread.run_sync(_find_file, dag_id, run_id, task_id, _parse_map_index(map_index), index)
        return await respond_with_file(request, location, download=download)
    except FileNotShownError as error:
        return JSONResponse({"detail": str(error)}, error.status, headers=_PAGE_HEADERS)
