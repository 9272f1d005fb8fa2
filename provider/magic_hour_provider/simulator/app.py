"""The simulator's routes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from magic_hour_provider.api.catalog import TOOLS, Tool
from magic_hour_provider.simulator.answers import NoAnswer, faulty_answer
from magic_hour_provider.simulator.errors import ApiError, invalid
from magic_hour_provider.simulator.facts import CONTENT_TYPES
from magic_hour_provider.simulator.faults import ANSWER_FAULTS, FaultError, make_fault
from magic_hour_provider.simulator.gate import Gate
from magic_hour_provider.simulator.render import Renderer
from magic_hour_provider.simulator.service import Service
from magic_hour_provider.simulator.wire import base_url, error, json_answer, read_json

_KINDS = {"video-projects": "video", "image-projects": "image", "audio-projects": "audio"}
_LOOKS = {**_KINDS, "face-detection": "face-detection"}

Handler = Callable[[Request], Awaitable[Response]]


def build_app(service: Service, renderer: Renderer, api_key: str, log: Callable[[str], None] | None) -> ASGIApp:
    """Return the simulator as an ASGI application.

    :param service: what it serves.
    :param renderer: makes its files.
    :param api_key: the only key it accepts.
    :param log: called with one line per request; None for silence.
    """
    api = _Api(service, renderer)
    app = Starlette(
        routes=api.routes(),
        exception_handlers={ApiError: _refuse, 404: _unknown_route, 405: _unknown_route, Exception: _broken},
    )
    return Gate(app, api.quick_look, service, api_key, log)


class _Api:
    def __init__(self, service: Service, renderer: Renderer) -> None:
        self._service = service
        self._renderer = renderer
        # Rendering is all computing: more threads than cores only make everybody wait longer.
        self._pool = ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1)), "magic-hour-render")

    def routes(self) -> list[Route]:
        """Return the routes."""
        service = self._service
        looks = [Route(f"/v1/{part}/{{id}}", partial(self._look, kind)) for part, kind in _LOOKS.items()]
        deletes = [
            Route(f"/v1/{part}/{{id}}", partial(self._delete, kind), methods=["DELETE"])
            for part, kind in _KINDS.items()
        ]
        creates = [Route(tool.path, partial(self._create, tool), methods=["POST"]) for tool in TOOLS.values()]
        return [
            *looks,
            *creates,
            *deletes,
            Route("/v1/files/upload-urls", self._upload_urls, methods=["POST"]),
            Route("/v1/account", self._account, methods=["GET"]),
            Route("/v1/saved-items", self._saved_items, methods=["GET"]),
            Route("/_uploads/{name:path}", self._upload, methods=["PUT"]),
            Route("/_files/{id}/{number:int}/{name}", self._download, methods=["GET"]),
            Route("/_simulator/jobs", _plain(lambda _: service.jobs()), methods=["GET"]),
            Route("/_simulator/stats", _plain(lambda _: service.stats()), methods=["GET"]),
            Route("/_simulator/advance", self._advance, methods=["POST"]),
            Route("/_simulator/faults", self._add_fault, methods=["POST"]),
            Route("/_simulator/faults", self._clear_faults, methods=["DELETE"]),
        ]

    async def _or_fault(self, endpoint: str, tool: str | None, request: Request, handler: Handler) -> Response:
        """Let a handler answer, unless a fault on order wants it otherwise."""
        faults = self._service.faults
        fault = faults.take(ANSWER_FAULTS, endpoint, tool) if faults else None
        if fault is None:
            return await handler(request)
        if fault.fault == "status":
            if endpoint == "create":
                self._service.refused()
            return faulty_answer(fault)
        try:
            answer = await handler(request)
        except ApiError:
            faults.put_back(fault)
            raise
        if answer.status_code >= 400:
            faults.put_back(fault)
            return answer
        return NoAnswer(fault.hold) if fault.fault == "close-after-accept" else faulty_answer(fault)

    # --- jobs

    async def _create(self, tool: Tool, request: Request) -> Response:
        async def create(request: Request) -> Response:
            try:
                body = await read_json(request)
            except ApiError:
                self._service.refused()
                raise
            job = self._service.create(tool, body)
            answer: dict[str, Any] = {"id": job.id, "credits_charged": job.price}
            # The official SDK cannot read an answer without these, deprecated as they are.
            if tool.kind == "image":
                answer["frame_cost"] = job.price
            elif tool.kind == "video":
                answer["estimated_frame_cost"] = job.price
            return json_answer(answer)

        return await self._or_fault("create", tool.slug, request, create)

    async def _look(self, kind: str, request: Request) -> Response:
        job_id = request.path_params["id"]

        async def look(request: Request) -> Response:
            job = self._service.look(kind, job_id)
            return json_answer(self._service.details(job, base_url(request.scope)))

        return await self._or_fault("look", self._service.tool_of(job_id), request, look)

    def quick_look(self, scope: Scope) -> Response | None:
        """Answer a look; None when the request is something else, or when faults are on order."""
        part, _, job_id = scope["path"].removeprefix("/v1/").partition("/")
        kind = _LOOKS.get(part)
        if kind is None or scope["method"] != "GET" or not job_id or "/" in job_id or self._service.faults:
            return None
        try:
            job = self._service.look(kind, job_id)
        except ApiError as refusal:
            return error(refusal.status, refusal.code, refusal.message)
        return json_answer(self._service.details(job, base_url(scope)))

    async def _delete(self, kind: str, request: Request) -> Response:
        job = self._service.delete(kind, request.path_params["id"])
        await asyncio.get_running_loop().run_in_executor(self._pool, self._renderer.forget, job)
        return Response(None, 204)

    # --- files

    async def _download(self, request: Request) -> Response:
        job_id = request.path_params["id"]

        async def download(request: Request) -> Response:
            refusal = self._link_refusal("GET", request)
            if refusal is not None:
                return refusal
            job = self._service.output(job_id, request.path_params["number"])
            loop = asyncio.get_running_loop()
            path = await loop.run_in_executor(self._pool, self._renderer.output, job, request.path_params["number"])
            if request.method == "GET":
                self._service.downloaded(job)
            return FileResponse(path, media_type=CONTENT_TYPES[job.extension])

        return await self._or_fault("download", self._service.tool_of(job_id), request, download)

    async def _upload_urls(self, request: Request) -> Response:
        async def give_out(request: Request) -> Response:
            return json_answer(self._service.upload_urls(await read_json(request), base_url(request.scope)))

        return await self._or_fault("upload-urls", None, request, give_out)

    async def _upload(self, request: Request) -> Response:
        return await self._or_fault("upload", None, request, self._store)

    async def _store(self, request: Request) -> Response:
        refusal = self._link_refusal("PUT", request)
        if refusal is not None:
            return refusal
        upload = self._service.upload_at(f"api-assets/{request.path_params['name']}")
        upload.path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own, as a client that gave up may still be sending while its second try arrives.
        unfinished = upload.path.with_name(f"{upload.path.name}.{id(request):x}.part")
        try:
            with unfinished.open("wb") as file:
                async for chunk in request.stream():
                    await asyncio.to_thread(file.write, chunk)
            unfinished.replace(upload.path)
        except ClientDisconnect:
            return Response(None, 400)
        finally:
            unfinished.unlink(missing_ok=True)
        self._service.uploaded(upload)
        return Response(None, 200)

    def _link_refusal(self, method: str, request: Request) -> Response | None:
        """Return what a storage service answers to a link that does not open, in its own XML."""
        query = request.query_params
        signed = (request.url.path, query.get("expires", ""), query.get("signature", ""))
        code = self._service.links.fault_in(method, *signed, self._service.now())
        if not code:
            return None
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
        return Response(body, 403, media_type="application/xml")

    # --- account

    async def _account(self, request: Request) -> Response:
        async def account(_: Request) -> Response:
            return json_answer(self._service.account())

        return await self._or_fault("account", None, request, account)

    async def _saved_items(self, request: Request) -> Response:
        query = request.query_params
        limit, cursor, kind = (query.get(name, "") for name in ("limit", "cursor", "type"))
        return json_answer(self._service.saved_items(limit, cursor, kind, base_url(request.scope)))

    # --- knobs

    async def _advance(self, request: Request) -> Response:
        body = await read_json(request)
        self._service.advance(body.get("seconds") if isinstance(body, dict) else None)  # type: ignore[arg-type]
        return json_answer({"now": self._service.now()})

    async def _add_fault(self, request: Request) -> Response:
        body = await read_json(request)
        if not isinstance(body, dict):
            raise invalid("The body must be a JSON object.")
        try:
            self._service.faults.add(make_fault(body))
        except FaultError as bad:
            raise invalid(str(bad)) from bad
        return Response(None, 204)

    async def _clear_faults(self, _: Request) -> Response:
        self._service.faults.clear()
        return Response(None, 204)


def _plain(answer: Callable[[Request], Any]) -> Handler:
    async def handler(request: Request) -> Response:
        return json_answer(answer(request))

    return handler


async def _refuse(_: Request, refusal: Exception) -> Response:
    known = cast(ApiError, refusal)
    return error(known.status, known.code, known.message)


async def _unknown_route(request: Request, _: Exception) -> Response:
    return error(404, "not_found", f"There is no {request.method} at this path.")


async def _broken(_: Request, __: Exception) -> Response:
    return error(500, "internal_server_error", "The simulator itself has failed: see its error output.")
