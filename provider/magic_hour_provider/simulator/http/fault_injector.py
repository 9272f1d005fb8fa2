"""Injects the pending faults into the requests that they match, and those of a prompt's directives into its create."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from magic_hour_provider.simulator.errors import ApiError
from magic_hour_provider.simulator.faults.catalog import Fault, FaultStage, unknown_effect
from magic_hour_provider.simulator.faults.queue import FaultQueue, FaultTarget
from magic_hour_provider.simulator.http.connections import OpenConnections
from magic_hour_provider.simulator.http.fault_responses import (
    CORRUPTIONS,
    CorruptedResponse,
    NoResponse,
    invalid_link_response,
    status_response,
)
from magic_hour_provider.simulator.http.wire import json_response
from magic_hour_provider.simulator.service import Service

Handler = Callable[[Request], Awaitable[Response]]


class FaultInjector:
    """Stands between requests and their handlers.

    :param service: has the pending faults, and counts requests.
    :param connections: the open connections, for faults that close or hold one.
    """

    def __init__(self, service: Service, connections: OpenConnections) -> None:
        self._service = service
        self._connections = connections

    async def serve(self, request: Request, target: FaultTarget, handler: Handler) -> Response:
        """Return the handler's response, or that of a fault that is injected into the request."""
        self._service.count_request(target.endpoint)
        return await self._inject(self._service.faults, request, target, handler)

    async def create(
        self,
        request: Request,
        tool: str,
        read: Callable[[], Awaitable[tuple[str, FaultQueue]]],
        handler: Handler,
    ) -> Response:
        """Return the response to a create, or that of a fault that is injected into it.

        Faults that match no text have their turn before the request is read, so that they are injected into one that
        cannot be read too. The request's directives and the faults that match text have theirs after it.

        :param tool: slug of its tool.
        :param read: reads the request, and returns its text and its faults.
        :param handler: makes the job.
        """

        async def read_and_create(request: Request) -> Response:
            text, faults = await read()
            target = FaultTarget("create", tool, text)
            return await self._inject(faults, request, target, handler, with_prompt=True)

        return await self.serve(request, FaultTarget("create", tool), read_and_create)

    async def _inject(
        self,
        faults: FaultQueue,
        request: Request,
        target: FaultTarget,
        handler: Handler,
        *,
        with_prompt: bool = False,
    ) -> Response:
        queued = faults.take((FaultStage.DELAY,), target, with_prompt=with_prompt)
        if queued is not None:
            if queued.fault.fault != "latency":
                raise unknown_effect(queued.fault)
            await self._connections.pause(request.scope, queued.fault.seconds or 0)
        queued = faults.take((FaultStage.INSTEAD, FaultStage.AFTER), target, with_prompt=with_prompt)
        if queued is None:
            return await handler(request)
        if queued.fault.stage is FaultStage.INSTEAD:
            return self._respond_instead(queued.fault, target.endpoint)
        try:
            response = await handler(request)
        except ApiError:
            queued.put_back()
            raise
        if response.status_code >= 400 or isinstance(response, NoResponse | CorruptedResponse):
            queued.put_back()  # refused, or spoilt by another fault
            return response
        return self._respond_after(queued.fault, response)

    def _respond_instead(self, fault: Fault, endpoint: str) -> Response:
        if endpoint == "create":
            self._service.count_refused_create()
        if fault.fault == "expired-link":
            return invalid_link_response("ExpiredToken")
        if fault.fault == "status":
            return self._status_response(fault)
        if fault.fault in ("close-before-read", "stall"):
            return NoResponse(self._connections, fault.hold_s)
        raise unknown_effect(fault)

    def _respond_after(self, fault: Fault, response: Response) -> Response:
        if fault.fault == "close-after-accept":
            return NoResponse(self._connections, fault.hold_s)
        if fault.fault == "accept-then-status":
            return self._status_response(fault)
        if fault.fault == "no-id":
            content = json.loads(bytes(response.body))
            return json_response({name: value for name, value in content.items() if name != "id"})
        if fault.fault in CORRUPTIONS:
            return CorruptedResponse(self._connections, response, fault)
        raise unknown_effect(fault)

    def _status_response(self, fault: Fault) -> Response:
        return status_response(fault, with_code=self._service.behavior.error_code == "included")
