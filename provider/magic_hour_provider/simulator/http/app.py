"""The simulator's routes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable, Sequence
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
from magic_hour_provider.simulator.errors import ApiError
from magic_hour_provider.simulator.faults.catalog import Fault
from magic_hour_provider.simulator.faults.prompts import faults_in
from magic_hour_provider.simulator.http.auth import Gate
from magic_hour_provider.simulator.http.control import Control
from magic_hour_provider.simulator.http.fault_injector import Handler, Striker
from magic_hour_provider.simulator.http.fault_responses import refused_link
from magic_hour_provider.simulator.http.status_fast_path import LOOK_KINDS, QuickLook
from magic_hour_provider.simulator.http.wire import MADE, base_url, error, json_answer, read_json
from magic_hour_provider.simulator.jobs.facts import CONTENT_TYPES, words_of
from magic_hour_provider.simulator.rendering.render import Renderer
from magic_hour_provider.simulator.service import Service


@lru_cache(maxsize=256)
def _digest(path: Path, written_at: int) -> str:  # noqa: ARG001 (the time tells a file from an older one of its name)
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha256").digest()).decode()


def build_app(service: Service, renderer: Renderer, api_key: str, log: Callable[[str], None] | None) -> ASGIApp:
    """Return the simulator as an ASGI application.

    :param service: what it serves.
    :param renderer: makes its files.
    :param api_key: the only key it accepts.
    :param log: called with one line per request; None for silence.
    """
    with_code = service.behavior.error_code == "included"

    async def refuse(_: Request, refusal: Exception) -> Response:
        known = cast(ApiError, refusal)
        return error(known.status, known.code, known.message, known.headers, with_code=with_code)

    async def unknown_route(request: Request, _: Exception) -> Response:
        return error(404, "not_found", f"There is no {request.method} at this path.", with_code=with_code)

    async def broken(_: Request, __: Exception) -> Response:
        sentence = "The simulator itself has failed: see its error output."
        return error(500, "internal_server_error", sentence, with_code=with_code)

    app = Starlette(
        routes=[*_Api(service, renderer).routes(), *Control(service).routes()],
        exception_handlers={ApiError: refuse, 404: unknown_route, 405: unknown_route, Exception: broken},
    )
    return Gate(app, QuickLook(service), service, api_key, log)


class _Api:
    def __init__(self, service: Service, renderer: Renderer) -> None:
        self._service = service
        self._renderer = renderer
        self._striker = Striker(service)
        # Rendering is all computing: more threads than cores only make everybody wait longer.
        self._pool = ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1)), "magic-hour-render")

    def routes(self) -> list[Route]:
        """Return the routes."""
        looks = [Route(f"/v1/{part}/{{id}}", partial(self._look, kind)) for part, kind in LOOK_KINDS.items()]
        deletes = [
            Route(f"/v1/{part}/{{id}}", partial(self._delete, kind), methods=["DELETE"])
            for part, kind in LOOK_KINDS.items()
            if kind != "face-detection"
        ]
        creates = [Route(tool.path, partial(self._create, tool), methods=["POST"]) for tool in TOOLS.values()]
        return [
            *looks,
            *creates,
            *deletes,
            Route("/v1/files/upload-urls", self._served("upload-urls", self._upload_urls), methods=["POST"]),
            Route("/v1/account", self._served("account", self._account), methods=["GET"]),
            Route("/v1/saved-items", self._served("saved-items", self._saved_items), methods=["GET"]),
            Route("/_uploads/{name:path}", self._served("upload", self._store), methods=["PUT"]),
            Route("/_files/{id}/{number:int}/{name}", self._download, methods=["GET"]),
        ]

    def _served(self, endpoint: str, handler: Handler) -> Handler:
        async def serve(request: Request) -> Response:
            return await self._striker.serve(endpoint, request, handler)

        return serve

    # --- jobs

    async def _create(self, tool: Tool, request: Request) -> Response:
        body: object = None
        spells: Sequence[Fault] = ()

        async def read() -> tuple[str, Sequence[Fault]]:
            nonlocal body, spells
            body = await read_json(request, self._service.behavior.body_limit_bytes)
            words = words_of(body)
            spells = faults_in(words)
            return words, spells

        async def create(request: Request) -> Response:
            job = self._service.create(tool, body, spells)
            request.scope[MADE] = f"{job.id} {job.price} credits"
            answer: dict[str, Any] = {"id": job.id, "credits_charged": job.price}
            # The official SDK cannot read an answer without these, deprecated as they are.
            if tool.kind == "image":
                answer["frame_cost"] = job.price
            elif tool.kind == "video":
                answer["estimated_frame_cost"] = job.price
            return json_answer(answer)

        try:
            return await self._striker.create(request, tool.slug, read, create)
        except ApiError:
            self._service.refused()
            raise
        except ClientDisconnect:
            self._service.refused()
            return Response(None, 400)

    async def _look(self, kind: str, request: Request) -> Response:
        job_id = request.path_params["id"]

        async def look(request: Request) -> Response:
            job = self._service.look(kind, job_id)
            return json_answer(self._service.details(job, base_url(request.scope)))

        return await self._striker.serve("get-job", request, look, *self._service.tool_and_words(job_id))

    async def _delete(self, kind: str, request: Request) -> Response:
        job_id = request.path_params["id"]

        async def delete(_: Request) -> Response:
            job = self._service.delete(kind, job_id)
            await asyncio.get_running_loop().run_in_executor(self._pool, self._renderer.forget, job)
            return Response(None, 204)

        return await self._striker.serve("delete", request, delete, *self._service.tool_and_words(job_id))

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
            digest = await loop.run_in_executor(self._pool, _digest, path, path.stat().st_mtime_ns)
            # As storages do, each by a header of its own; this one is the standard's (RFC 9530).
            headers = {"Repr-Digest": f"sha-256=:{digest}:"}
            return FileResponse(path, headers=headers, media_type=CONTENT_TYPES[job.extension])

        if request.method == "HEAD":  # has no body that a fault could spoil
            return await download(request)
        return await self._striker.serve("download", request, download, *self._service.tool_and_words(job_id))

    async def _upload_urls(self, request: Request) -> Response:
        body = await read_json(request, self._service.behavior.body_limit_bytes)
        return json_answer(self._service.upload_urls(body, base_url(request.scope)))

    async def _store(self, request: Request) -> Response:
        refusal = self._link_refusal("PUT", request)
        if refusal is not None:
            return refusal
        announced = request.headers.get("content-length", "")
        size = int(announced) if announced.isdecimal() else None
        upload = self._service.upload_at(f"api-assets/{request.path_params['name']}", size)
        upload.path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own, as a client that gave up may still be sending while its second try arrives.
        unfinished = upload.path.with_name(f"{upload.path.name}.{id(request):x}.part")
        received = 0
        try:
            with unfinished.open("wb") as file:
                async for chunk in request.stream():
                    received += len(chunk)
                    self._service.check_upload_size(received)
                    await asyncio.to_thread(file.write, chunk)
            unfinished.replace(upload.path)
        except ClientDisconnect:
            return Response(None, 400)
        finally:
            unfinished.unlink(missing_ok=True)
        self._service.uploaded(upload)
        return Response(None, 200)

    def _link_refusal(self, method: str, request: Request) -> Response | None:
        query = request.query_params
        signed = (request.url.path, query.get("expires", ""), query.get("signature", ""))
        code = self._service.links.fault_in(method, *signed, self._service.now())
        return refused_link(code) if code else None

    # --- account

    async def _account(self, _: Request) -> Response:
        return json_answer(self._service.account())

    async def _saved_items(self, request: Request) -> Response:
        query = request.query_params
        limit, cursor, kind = (query.get(name, "") for name in ("limit", "cursor", "type"))
        return json_answer(self._service.saved_items(limit, cursor, kind, base_url(request.scope)))
