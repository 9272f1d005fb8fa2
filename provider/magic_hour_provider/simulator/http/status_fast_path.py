"""The fast path for looks: most requests are looks, and the way through Starlette costs several times one."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.types import Scope, Send

from magic_hour_provider.simulator.errors import ApiError
from magic_hour_provider.simulator.http.wire import base_url, error
from magic_hour_provider.simulator.jobs.job import Job
from magic_hour_provider.simulator.service import Service

LOOK_KINDS: Mapping[str, str] = {
    "video-projects": "video",
    "image-projects": "image",
    "audio-projects": "audio",
    "face-detection": "face-detection",
}
_REMEMBERED = 4096


class QuickLook:
    """Answers looks straight to ASGI, with the body of the look before when nothing has changed since.

    :param service: what it looks at.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        # By job and client's address: what the body depends on, and the body.
        self._bodies: dict[tuple[str, bytes], tuple[tuple[object, ...], bytes]] = {}

    async def __call__(self, scope: Scope, send: Send) -> bool:
        """Answer a look; returns False, and sends nothing, when it is something else or faults are on order."""
        part, _, job_id = scope["path"].removeprefix("/v1/").partition("/")
        kind = LOOK_KINDS.get(part)
        if kind is None or scope["method"] != "GET" or not job_id or "/" in job_id:
            return False
        if self._service.faults.concern("get-job"):
            return False
        self._service.requested("get-job")
        try:
            job = self._service.look(kind, job_id)
        except ApiError as refusal:
            with_code = self._service.behavior.error_code == "included"
            answer = error(refusal.status, refusal.code, refusal.message, refusal.headers, with_code=with_code)
            await send({"type": "http.response.start", "status": refusal.status, "headers": answer.raw_headers})
            await send({"type": "http.response.body", "body": answer.body})
            return True
        body = self._body(job, scope)
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return True

    def _body(self, job: Job, scope: Scope) -> bytes:
        now = self._service.now()
        status = job.status(now)
        if job.tool.kind == "face-detection":
            return self._written(job, scope)
        # Links change with every second; without links only the status and the charge can change.
        state = (status, job.credits_charged, job.deleted, int(now) if status == "complete" else None)
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        known = self._bodies.get((job.id, host))
        if known is not None and known[0] == state:
            return known[1]
        body = self._written(job, scope)
        if len(self._bodies) >= _REMEMBERED:
            self._bodies.clear()
        self._bodies[job.id, host] = (state, body)
        return body

    def _written(self, job: Job, scope: Scope) -> bytes:
        return json.dumps(self._service.details(job, base_url(scope)), separators=(",", ":")).encode()
