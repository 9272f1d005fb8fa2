"""The Media tab's web application in Airflow's API server. Every route needs the right to read the DAG's XComs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.utils.session import create_session
from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from starlette.responses import JSONResponse, Response

from magic_hour_provider.plugin.media_tab.database.queries import is_run_active, load_tasks
from magic_hour_provider.plugin.media_tab.files.reader import MediaStorage
from magic_hour_provider.plugin.media_tab.files.response import ViewerLeftError, respond_with_file, while_connected
from magic_hour_provider.plugin.media_tab.files.roots import FileNotShownError
from magic_hour_provider.plugin.media_tab.pages import MAX_PAGE, PAGE, run_page, select_tiles, task_page
from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot

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
_DATABASE_READS = 4  # at the same time


def make_media_app() -> FastAPI:
    """Return the application, to be mounted at ``/magic-hour/media``."""
    # Airflow does not authenticate what plugins mount. A dependency of the application is one of each of its routes,
    # of the static files too: who may not read the DAG's XComs gets nothing at all.
    allowed = Depends(requires_access_dag("GET", DagAccessEntity.XCOM))
    app = FastAPI(title="Magic Hour media", dependencies=[allowed], openapi_url=None)
    tab = app.state.media_tab = MediaTab()
    app.add_api_route(_RUN, _static_page("run.html"), methods=["GET"])
    app.add_api_route(_TASK, _static_page("task.html"), methods=["GET"])
    app.add_api_route(_RUN + "/details", tab.respond_with_run, methods=["GET"])
    app.add_api_route(_TASK + "/details", tab.respond_with_task, methods=["GET"])
    app.add_api_route(_TASK + "/files/{index}", tab.respond_with_file, methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/dags/{dag_id}/static/{name}", _static_file, methods=["GET"])
    return app


class MediaTab:
    """The routes that read Airflow's database and the storage. Neither is waited for in the server's own threads."""

    def __init__(self) -> None:
        self._storage = MediaStorage()
        self._database = CapacityLimiter(_DATABASE_READS)

    async def respond_with_task(self, dag_id: str, run_id: str, task_id: str, map_index: str) -> Response:
        """Return what the page of a task instance shows."""
        tasks, live = await self._read(dag_id, run_id, task_id, _parse_map_index(map_index))
        task = tasks[0] if tasks else None
        problems = await self._find_problems([uri for uri, _ in task.media] if task else [])
        return await self._json(lambda: task_page(task, problems, time.time(), live=live))

    async def respond_with_run(
        self,
        dag_id: str,
        run_id: str,
        kind: str | None = None,
        stage: str | None = None,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
    ) -> Response:
        """Return a part of a run's contact sheet."""
        tasks, live = await self._read(dag_id, run_id)
        chosen = select_tiles(tasks, kind=kind or None, stage=stage or None, offset=offset, limit=limit)
        uris = [task.media[index][0] for task, index, _ in chosen.tiles if index is not None]
        problems = await self._find_problems(uris)
        return await self._json(lambda: run_page(tasks, chosen, problems, time.time(), live=live))

    async def respond_with_file(
        self,
        request: Request,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: str,
        index: int,
        download: bool = False,
    ) -> Response:
        """Return a stored file, or a part of it."""

        async def respond() -> Response:
            tasks, _ = await self._read(dag_id, run_id, task_id, _parse_map_index(map_index))
            media = tasks[0].media if tasks else []
            if not 0 <= index < len(media):
                raise HTTPException(404, "This task instance has no such file.")
            location = await self._storage.locate(media[index][0])
            return await respond_with_file(request, self._storage, location, download=download)

        try:
            return await while_connected(request, respond())
        except FileNotShownError as error:
            headers = _PAGE_HEADERS | ({"retry-after": "5"} if error.status == 503 else {})
            return JSONResponse({"detail": str(error)}, error.status, headers=headers)
        except ViewerLeftError:
            return Response(status_code=499)  # to nobody

    async def _read(
        self, dag_id: str, run_id: str, task_id: str | None = None, map_index: int | None = None
    ) -> tuple[list[TaskSnapshot], bool]:
        return await to_thread.run_sync(_read, dag_id, run_id, task_id, map_index, limiter=self._database)

    async def _find_problems(self, uris: Sequence[str]) -> dict[str, str | None]:
        return dict(zip(uris, await self._storage.find_problems(uris), strict=True))

    async def _json(self, make: Callable[[], dict[str, Any]]) -> Response:
        headers = _PAGE_HEADERS | {"cache-control": "no-store"}
        return await to_thread.run_sync(lambda: JSONResponse(make(), headers=headers), limiter=self._database)


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
