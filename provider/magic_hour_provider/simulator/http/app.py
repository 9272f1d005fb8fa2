"""The simulator's routes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from magic_hour_provider.api.catalog import TOOLS, Tool
from magic_hour_provider.simulator.account.budgeted import read_budgeted
from magic_hour_provider.simulator.errors import ApiError
from magic_hour_provider.simulator.faults.prompts import parse_directives
from magic_hour_provider.simulator.faults.queue import FaultQueue, FaultTarget
from magic_hour_provider.simulator.http.auth import AuthMiddleware
from magic_hour_provider.simulator.http.connections import OpenConnections
from magic_hour_provider.simulator.http.control import ControlRoutes
from magic_hour_provider.simulator.http.fault_injector import FaultInjector, Handler
from magic_hour_provider.simulator.http.fault_responses import invalid_link_response
from magic_hour_provider.simulator.http.status_fast_path import KIND_OF_ROUTE, StatusFastPath
from magic_hour_provider.simulator.http.wire import CREATED_JOB, base_url, error_response, json_response, read_json
from magic_hour_provider.simulator.jobs.facts import CONTENT_TYPES, searchable_text
from magic_hour_provider.simulator.rendering.render import Renderer
from magic_hour_provider.simulator.service import Service


@lru_cache(maxsize=256)
def _digest(path: Path, written_at: int) -> str:  # noqa: ARG001 (the time tells a file from an older one of its name)
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha256").digest()).decode()


def build_app(
    service: Service,
    renderer: Renderer,
    connections: OpenConnections,
    api_key: str,
    log: Callable[[str], None] | None,
) -> ASGIApp:
    """Return the simulator as an ASGI application.

    :param service: what it serves.
    :param renderer: makes the files of jobs.
    :param connections: the open connections of the server that runs it.
    :param api_key: the only key it accepts.
    :param log: called with one line per request; None for silence.
    """
    with_code = service.behavior.error_code == "included"

    async def refuse(_: Request, refusal: Exception) -> Response:
        known = cast(ApiError, refusal)
        return error_response(known.status, known.code, known.message, known.headers, with_code=with_code)

    async def unknown_route(request: Request, _: Exception) -> Response:
        return error_response(404, "not_found", f"There is no {request.method} at this path.", with_code=with_code)

    async def failed(_: Request, __: Exception) -> Response:
        sentence = "The simulator itself has failed: see its error output."
        return error_response(500, "internal_server_error", sentence, with_code=with_code)

    api = ApiRoutes(service, renderer, FaultInjector(service, connections))
    app = Starlette(
        routes=[*api.routes(), *ControlRoutes(service).routes()],
        exception_handlers={ApiError: refuse, 404: unknown_route, 405: unknown_route, Exception: failed},
    )
    return AuthMiddleware(app, StatusFastPath(service), service, api_key, log)


class ApiRoutes:
    """The routes of Magic Hour's API, and of the signed links.

    :param service: what they serve.
    :param renderer: makes the files of jobs.
    :param injector: injects the pending faults.
    """

    def __init__(self, service: Service, renderer: Renderer, injector: FaultInjector) -> None:
        self._service = service
        self._renderer = renderer
        self._injector = injector
        # Rendering is all computing: more threads than cores only make everybody wait longer.
        self._pool = ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1)), "magic-hour-render")

    def routes(self) -> list[Route]:
        """Return the routes."""
        details = [Route(f"/v1/{route}/{{id}}", partial(self._get_job, kind)) for route, kind in KIND_OF_ROUTE.items()]
        deletes = [
            Route(f"/v1/{route}/{{id}}", partial(self._delete_job, kind), methods=["DELETE"])
            for route, kind in KIND_OF_ROUTE.items()
            if kind != "face-detection"
        ]
        creates = [Route(tool.path, partial(self._create, tool), methods=["POST"]) for tool in TOOLS.values()]
        return [
            *details,
            *creates,
            *deletes,
            Route("/v1/files/upload-urls", self._injected("upload-urls", self._upload_urls), methods=["POST"]),
            Route("/v1/account", self._injected("account", self._account), methods=["GET"]),
            Route("/v1/saved-items", self._injected("saved-items", self._saved_items), methods=["GET"]),
            Route("/_uploads/{name:path}", self._injected("upload", self._upload), methods=["PUT"]),
            Route("/_files/{id}/{number:int}/{name}", self._download, methods=["GET"]),
        ]

    def _injected(self, endpoint: str, handler: Handler) -> Handler:
        async def serve(request: Request) -> Response:
            return await self._injector.serve(request, FaultTarget(endpoint), handler)

        return serve

    # --- jobs

    async def _create(self, tool: Tool, request: Request) -> Response:
        body: object = None
        faults = self._service.faults

        async def read() -> tuple[str, FaultQueue]:
            nonlocal body, faults
            body = await read_json(request, self._service.behavior.body_limit_bytes)
            text = searchable_text(body)
            faults = faults.for_request(parse_directives(text))
            return text, faults

        async def create(request: Request) -> Response:
            budgeted = read_budgeted(tool, body, self._service.behavior)
            if budgeted is not None and budgeted.dry_run:
                return json_response(self._service.quote(tool, budgeted))
            wanted = body if budgeted is None else budgeted.request
            if self._service.input_links.is_fetching:
                await asyncio.to_thread(self._service.input_links.fetch, tool, wanted)
            job = self._service.create(tool, wanted, faults, budgeted)
            request.scope[CREATED_JOB] = f"{job.id} {job.price} credits"
            content: dict[str, Any] = {"id": job.id, "credits_charged": job.price}
            # The official SDK cannot read a response without these, deprecated as they are.
            if tool.kind == "image":
                content["frame_cost"] = job.price
            elif tool.kind == "video":
                content["estimated_frame_cost"] = job.price
            return json_response(content)

        try:
            return await self._injector.create(request, tool.slug, read, create)
        except ApiError:
            self._service.count_refused_create()
            raise
        except ClientDisconnect:
            self._service.count_refused_create()
            return Response(None, 400)

    async def _get_job(self, kind: str, request: Request) -> Response:
        job_id = request.path_params["id"]

        async def get_job(request: Request) -> Response:
            job = self._service.get_job(kind, job_id)
            return json_response(self._service.details(job, base_url(request.scope)))

        return await self._injector.serve(request, self._service.fault_target("get-job", job_id), get_job)

    async def _delete_job(self, kind: str, request: Request) -> Response:
        job_id = request.path_params["id"]

        async def delete_job(_: Request) -> Response:
            job = self._service.delete_job(kind, job_id)
            await asyncio.get_running_loop().run_in_executor(self._pool, self._renderer.delete_files, job)
            return Response(None, 204)

        return await self._injector.serve(request, self._service.fault_target("delete", job_id), delete_job)

    # --- files

    async def _download(self, request: Request) -> Response:
        job_id, number = request.path_params["id"], request.path_params["number"]

        async def download(request: Request) -> Response:
            refusal = self._check_link("GET", request)
            if refusal is not None:
                return refusal
            job = self._service.get_job_with_file(job_id, number)
            loop = asyncio.get_running_loop()
            path = await loop.run_in_executor(self._pool, self._renderer.render_file, job, number)
            if request.method == "GET":
                self._service.count_download(job)
            digest = await loop.run_in_executor(self._pool, _digest, path, path.stat().st_mtime_ns)
            # As storages do, each by a header of its own; this one is the standard's (RFC 9530).
            headers = {"Repr-Digest": f"sha-256=:{digest}:"}
            return FileResponse(path, headers=headers, media_type=CONTENT_TYPES[job.extension])

        if request.method == "HEAD":  # has no body that a fault could spoil
            return await download(request)
        return await self._injector.serve(request, self._service.fault_target("download", job_id), download)

    async def _upload_urls(self, request: Request) -> Response:
        body = await read_json(request, self._service.behavior.body_limit_bytes)
        return json_response(self._service.create_upload_urls(body, base_url(request.scope)))

    async def _upload(self, request: Request) -> Response:
        refusal = self._check_link("PUT", request)
        if refusal is not None:
            return refusal
        announced = request.headers.get("content-length", "")
        size = int(announced) if announced.isdecimal() else None
        slot = self._service.open_upload_slot(f"api-assets/{request.path_params['name']}", size)
        slot.path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own, as a client that gave up may still be sending while its second try arrives.
        staging_file = slot.path.with_name(f"{slot.path.name}.{id(request):x}.part")
        received = 0
        try:
            with staging_file.open("wb") as file:
                async for chunk in request.stream():
                    received += len(chunk)
                    self._service.check_upload_size(received)
                    await asyncio.to_thread(file.write, chunk)
            staging_file.replace(slot.path)
        except ClientDisconnect:
            return Response(None, 400)
        finally:
            staging_file.unlink(missing_ok=True)
        self._service.count_upload(slot)
        return Response(None, 200)

    def _check_link(self, method: str, request: Request) -> Response | None:
        query = request.query_params
        signed = (request.url.path, query.get("expires", ""), query.get("signature", ""))
        code = self._service.links.find_error(method, *signed, self._service.now())
        return invalid_link_response(code) if code else None

    # --- account

    async def _account(self, _: Request) -> Response:
        return json_response(self._service.account())

    async def _saved_items(self, request: Request) -> Response:
        query = request.query_params
        limit, cursor, kind = (query.get(name, "") for name in ("limit", "cursor", "type"))
        return json_response(self._service.saved_items(limit, cursor, kind, base_url(request.scope)))
