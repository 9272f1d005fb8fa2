"""The fast path for polls: most requests are polls, and the way through Starlette costs several times one."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.types import Scope, Send

from magic_hour_provider.simulator.errors import ApiError
from magic_hour_provider.simulator.http.wire import base_url, error_response
from magic_hour_provider.simulator.jobs.job import SimulatedJob
from magic_hour_provider.simulator.service import Service

KIND_OF_ROUTE: Mapping[str, str] = {
    "video-projects": "video",
    "image-projects": "image",
    "audio-projects": "audio",
    "face-detection": "face-detection",
}
"""The kind of the jobs at each route of job details."""
_MAX_BODIES = 4096


class StatusFastPath:
    """Answers polls straight to ASGI, with the body of the poll before when nothing has changed since.

    :param service: has the jobs.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        # By job and client's address: what the body depends on, and the body.
        self._bodies: dict[tuple[str, bytes], tuple[tuple[object, ...], bytes]] = {}

    async def __call__(self, scope: Scope, send: Send) -> bool:
        """Answer a poll; returns False, and sends nothing, for any other request and while faults are pending."""
        route, _, job_id = scope["path"].removeprefix("/v1/").partition("/")
        kind = KIND_OF_ROUTE.get(route)
        if kind is None or scope["method"] != "GET" or not job_id or "/" in job_id:
            return False
        if self._service.faults.has_faults_for("get-job"):
            return False
        self._service.count_request("get-job")
        try:
            job = self._service.get_job(kind, job_id)
        except ApiError as refusal:
            with_code = self._service.behavior.error_code == "included"
            response = error_response(
                refusal.status, refusal.code, refusal.message, refusal.headers, with_code=with_code
            )
            await send({"type": "http.response.start", "status": refusal.status, "headers": response.raw_headers})
            await send({"type": "http.response.body", "body": response.body})
            return True
        body = self._body(job, scope)
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return True

    def _body(self, job: SimulatedJob, scope: Scope) -> bytes:
        now = self._service.now()
        status = job.status(now)
        if job.tool.kind == "face-detection":
            return self._write_body(job, scope)
        # Links change with every second; without links only the status and the charge can change.
        state = (status, job.credits_charged, job.deleted, int(now) if status == "complete" else None)
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        known = self._bodies.get((job.id, host))
        if known is not None and known[0] == state:
            return known[1]
        body = self._write_body(job, scope)
        if len(self._bodies) >= _MAX_BODIES:
            self._bodies.clear()
        self._bodies[job.id, host] = (state, body)
        return body

    def _write_body(self, job: SimulatedJob, scope: Scope) -> bytes:
        return json.dumps(self._service.details(job, base_url(scope)), separators=(",", ":")).encode()
