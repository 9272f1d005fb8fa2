"""The Media tab's web application in Airflow's API server. Every route needs the right to read the DAG's XComs.

Those of the recovery also need the right to clear task instances.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from starlette.responses import JSONResponse, Response

from magic_hour_provider.batch.records.owner import Owner
from magic_hour_provider.ledger.places.directions import COMMAND
from magic_hour_provider.plugin.airflow_internals import (
    DagAccessEntity,
    GetUserDep,
    create_session,
    requires_access_dag,
)
from magic_hour_provider.plugin.media_tab.batch_sheet.items import STATUSES
from magic_hour_provider.plugin.media_tab.batch_sheet.sheet import (
    MAX_PAGE_ITEMS,
    PAGE_ITEMS,
    BatchSheet,
    SheetQuery,
)
from magic_hour_provider.plugin.media_tab.database.ownership import find_other_owners
from magic_hour_provider.plugin.media_tab.database.queries import NoSuchTaskError, load_run, load_snapshots, load_task
from magic_hour_provider.plugin.media_tab.database.run_summary import RunSummary, Selection, iterate_uris
from magic_hour_provider.plugin.media_tab.files.reader import MediaStorage
from magic_hour_provider.plugin.media_tab.files.response import ViewerLeftError, respond_with_file, while_connected
from magic_hour_provider.plugin.media_tab.files.roots import FileNotShownError
from magic_hour_provider.plugin.media_tab.pages import MAX_PAGE, PAGE, run_page, task_page
from magic_hour_provider.plugin.media_tab.recovery.routes import BatchItem, RecoveryRoutes
from magic_hour_provider.plugin.media_tab.snapshot import TaskSnapshot
from magic_hour_provider.plugin.recovery.errors import RecoveryError
from magic_hour_provider.plugin.recovery.situation import TaskKey
from magic_hour_provider.plugin.web.app import PAGE_HEADERS, make_tab_app, respond_with_json
from magic_hour_provider.plugin.web.load_cache import LoadCache

_T = TypeVar("_T")

_STATIC = Path(__file__).parent / "static"
_RUN = "/dags/{dag_id}/runs/{run_id}"
_TASK = _RUN + "/tasks/{task_id}/{map_index}"
_THREADS = 4  # for the database and for building pages


def make_media_app() -> FastAPI:
    """Return the application, to be mounted at ``/magic-hour/media``."""
    app = make_tab_app("Magic Hour media", _STATIC, {_RUN: "run.html", _TASK: "task.html"})
    tab = app.state.media_tab = MediaTab()
    app.add_api_route(_RUN + "/details", tab.respond_with_run, methods=["GET"])
    app.add_api_route(_TASK + "/details", tab.respond_with_task, methods=["GET"])
    app.add_api_route(_TASK + "/files/{index}", tab.respond_with_file, methods=["GET", "HEAD"], response_model=None)
    may_clear = [Depends(requires_access_dag("PUT", DagAccessEntity.TASK_INSTANCE))]
    app.add_api_route(_TASK + "/recovery", tab.respond_with_recovery, methods=["GET"], dependencies=may_clear)
    app.add_api_route(_TASK + "/recovery", tab.recover, methods=["POST"], dependencies=may_clear)
    app.add_api_route(_TASK + "/items", tab.respond_with_items, methods=["GET"])
    regenerate = _TASK + "/regenerate"
    app.add_api_route(regenerate, tab.respond_with_items_to_regenerate, methods=["GET"], dependencies=may_clear)
    app.add_api_route(regenerate, tab.regenerate_items, methods=["POST"], dependencies=may_clear)
    item_file = _TASK + "/items/{record}/files/{index}"
    app.add_api_route(item_file, tab.respond_with_item_file, methods=["GET", "HEAD"], response_model=None)
    app.add_api_route(
        _TASK + "/items/{item}/recovery", tab.respond_with_item_recovery, methods=["GET"], dependencies=may_clear
    )
    app.add_api_route(_TASK + "/items/{item}/recovery", tab.recover_item, methods=["POST"], dependencies=may_clear)
    return app


class MediaTab:
    """The routes that read Airflow's database and the storage. Neither is waited for in the server's own threads."""

    def __init__(self) -> None:
        self._storage = MediaStorage()
        self._sheet = BatchSheet(self._storage, self._in_thread)
        self._runs = LoadCache(_load_run)
        self._threads = CapacityLimiter(_THREADS)
        self._recovery = RecoveryRoutes(PAGE_HEADERS)

    async def respond_with_task(self, dag_id: str, run_id: str, task_id: str, map_index: str) -> Response:
        """Return what the page of a task instance shows."""
        task, live = await self._load_task(dag_id, run_id, task_id, map_index)
        problems = await self._find_problems([uri for uri, _ in task.media] if task else [])
        return await self._in_thread(lambda: respond_with_json(task_page(task, problems, time.time(), live=live)))

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
        with _not_found():
            summary = await self._runs.get(dag_id, run_id)

        def select() -> tuple[Selection, dict[tuple[str, int], TaskSnapshot]]:
            selection = summary.select(kind=kind or None, stage=stage or None, offset=offset, limit=limit)
            with create_session(scoped=False) as session:
                return selection, load_snapshots(session, dag_id, run_id, {tile.task: None for tile in selection.tiles})

        with _not_found():
            selection, snapshots = await self._in_thread(select)
        problems = await self._find_problems(list(iterate_uris(selection, snapshots)))
        return await self._in_thread(
            lambda: respond_with_json(run_page(summary, selection, snapshots, problems, time.time()))
        )

    async def respond_with_recovery(self, dag_id: str, run_id: str, task_id: str, map_index: str) -> Response:
        """Return what a person who may clear the task instance can recover."""
        key = TaskKey(dag_id, run_id, task_id, _parse_map_index(map_index))
        return await self._recovery.respond_with_situation(key)

    async def recover(
        self, request: Request, dag_id: str, run_id: str, task_id: str, map_index: str, user: GetUserDep
    ) -> Response:
        """Resume a job that a person names, or make a new one."""
        key = TaskKey(dag_id, run_id, task_id, _parse_map_index(map_index))
        return await self._recovery.follow(request, key, user)

    async def respond_with_item_recovery(
        self, dag_id: str, run_id: str, task_id: str, map_index: str, item: str
    ) -> Response:
        """Return what a person who may clear the task instance can recover of one item of its batch."""
        key = TaskKey(dag_id, run_id, task_id, _parse_map_index(map_index))
        try:
            return await self._recovery.respond_with_situation(key, await self._find_item(key, item))
        except RecoveryError as error:
            return self._recovery.refuse(error)

    async def recover_item(
        self, request: Request, dag_id: str, run_id: str, task_id: str, map_index: str, item: str, user: GetUserDep
    ) -> Response:
        """Resume a job that a person names for one item of a batch, or make a new one."""
        key = TaskKey(dag_id, run_id, task_id, _parse_map_index(map_index))
        try:
            return await self._recovery.follow(request, key, user, await self._find_item(key, item))
        except RecoveryError as error:
            return self._recovery.refuse(error)

    async def respond_with_items_to_regenerate(
        self, dag_id: str, run_id: str, task_id: str, map_index: str
    ) -> Response:
        """Return of which items of a batch new jobs may be asked for."""
        key = TaskKey(dag_id, run_id, task_id, _parse_map_index(map_index))
        try:
            return await self._recovery.respond_with_items(key, await self._find_output_path(key))
        except RecoveryError as error:
            return self._recovery.refuse(error)

    async def regenerate_items(
        self, request: Request, dag_id: str, run_id: str, task_id: str, map_index: str, user: GetUserDep
    ) -> Response:
        """Make new jobs of many items of a batch, as many and at the price that a person confirms."""
        key = TaskKey(dag_id, run_id, task_id, _parse_map_index(map_index))
        try:
            return await self._recovery.follow_for_items(request, key, user, await self._find_output_path(key))
        except RecoveryError as error:
            return self._recovery.refuse(error)

    async def _find_item(self, key: TaskKey, item: str) -> BatchItem:
        return BatchItem(item, await self._find_output_path(key))

    async def _find_output_path(self, key: TaskKey) -> str:
        task, _ = await self._load_task(key.dag_id, key.run_id, key.task_id, str(key.map_index))
        try:
            output_path = await self._sheet.find_output_path(task)
        except FileNotShownError as error:
            raise RecoveryError(
                f"{error} {COMMAND} adopt and regenerate work all the same, with --item or --items.", 409
            ) from None
        if output_path is None:
            raise RecoveryError("This task has reported no batch.", 404)
        return output_path

    async def respond_with_file(
        self,
        request: Request,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: str,
        index: int,
        user: GetUserDep,
        download: bool = False,
    ) -> Response:
        """Return a stored file, or a part of it."""

        def check_owner(task: TaskSnapshot, name: str) -> None:
            with create_session(scoped=False) as session:
                others = find_other_owners(session, dag_id, task, name)
            if not all(_may_read(request, user, other) for other in others):
                raise FileNotShownError(
                    "This file is not shown: it is of a job of another DAG, which you may not read."
                )

        async def respond() -> Response:
            task, _ = await self._load_task(dag_id, run_id, task_id, map_index)
            if task is None or not 0 <= index < len(task.media):
                raise HTTPException(404, "This task instance has no such file.")
            location = await self._storage.locate(task.media[index][0])
            self._storage.check(location)  # before anything else is done for it
            await self._in_thread(lambda: check_owner(task, location.name))
            return await respond_with_file(request, self._storage, location, download=download)

        return await self._while_connected(request, respond())

    async def respond_with_items(
        self,
        request: Request,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: str,
        user: GetUserDep,
        status: str | None = None,
        problems_first: bool = False,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE_ITEMS)] = PAGE_ITEMS,
    ) -> Response:
        """Return a part of a batch's items."""
        query = SheetQuery(status if status in STATUSES else None, problems_first, offset, limit)
        owner = Owner(dag_id, run_id, task_id, _parse_map_index(map_index))

        async def respond() -> Response:
            task, live = await self._load_task(dag_id, run_id, task_id, map_index)
            live = live and task is not None and task.live
            may_read = partial(_may_read, request, user)
            page = await self._sheet.load_page(task, owner, query, may_read, live=live)
            return await self._in_thread(lambda: respond_with_json(page))

        return await self._while_connected(request, respond())

    async def respond_with_item_file(
        self,
        request: Request,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: str,
        record: str,
        index: int,
        user: GetUserDep,
        download: bool = False,
    ) -> Response:
        """Return a stored file of a batch's item, or a part of it."""
        owner = Owner(dag_id, run_id, task_id, _parse_map_index(map_index))

        async def respond() -> Response:
            task, _ = await self._load_task(dag_id, run_id, task_id, map_index)
            location = await self._sheet.locate_file(task, owner, record, index, partial(_may_read, request, user))
            return await respond_with_file(request, self._storage, location, download=download)

        return await self._while_connected(request, respond())

    async def _while_connected(self, request: Request, work: Coroutine[Any, Any, Response]) -> Response:
        """Respond with what reads the storage, which is abandoned when the viewer leaves."""
        try:
            return await while_connected(request, work)
        except FileNotShownError as error:
            headers = PAGE_HEADERS | ({"retry-after": "5"} if error.status == 503 else {})
            return JSONResponse({"detail": str(error)}, error.status, headers=headers)
        except ViewerLeftError:
            return Response(status_code=499)  # to nobody

    async def _load_task(
        self, dag_id: str, run_id: str, task_id: str, map_index: str
    ) -> tuple[TaskSnapshot | None, bool]:
        number = _parse_map_index(map_index)

        def load() -> tuple[TaskSnapshot | None, bool]:
            with create_session(scoped=False) as session:
                return load_task(session, dag_id, run_id, task_id, number)

        with _not_found():
            return await self._in_thread(load)

    async def _find_problems(self, uris: Sequence[str]) -> dict[str, str | None]:
        return dict(zip(uris, await self._storage.find_problems(uris), strict=True))

    async def _in_thread(self, function: Callable[[], _T]) -> _T:
        return await to_thread.run_sync(function, limiter=self._threads)


def _load_run(dag_id: str, run_id: str) -> RunSummary:
    with create_session(scoped=False) as session:
        return load_run(session, dag_id, run_id)


@contextmanager
def _not_found() -> Iterator[None]:
    try:
        yield
    except NoSuchTaskError:
        raise HTTPException(404, "There is no such run or task instance.") from None


def _may_read(request: Request, user: Any, dag_id: str) -> bool:
    try:
        requires_access_dag("GET", DagAccessEntity.XCOM, dag_id)(request, user)
    except HTTPException:
        return False
    return True


def _parse_map_index(map_index: str) -> int:
    """Return a map index; Airflow's UI leaves ``{MAP_INDEX}`` as it is where a task is not mapped."""
    if map_index == "{MAP_INDEX}":
        return -1
    if re.fullmatch(r"-1|[0-9]{1,9}", map_index) is None:  # nor one that no database takes
        raise HTTPException(404, "There is no such task instance.")
    return int(map_index)
