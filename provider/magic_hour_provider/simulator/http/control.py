"""The simulator's own routes, under ``/_simulator``: clock, faults, webhooks and counters. They need no key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from magic_hour_provider.simulator.errors import invalid_request_error
from magic_hour_provider.simulator.faults.catalog import FaultError, make_fault
from magic_hour_provider.simulator.http.fault_injector import Handler
from magic_hour_provider.simulator.http.wire import json_response, read_json
from magic_hour_provider.simulator.service import Service
from magic_hour_provider.simulator.webhooks.registration import WebhookError, make_webhook


class ControlRoutes:
    """The routes of the simulator itself.

    :param service: what they read and change.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return the routes."""
        service = self._service
        return [
            Route("/_simulator/jobs", _read_route(service.list_jobs), methods=["GET"]),
            Route("/_simulator/stats", _read_route(service.stats), methods=["GET"]),
            Route("/_simulator/faults", _read_route(service.faults.list_pending), methods=["GET"]),
            Route("/_simulator/faults", self._add_fault, methods=["POST"]),
            Route("/_simulator/faults", self._clear_faults, methods=["DELETE"]),
            Route("/_simulator/webhooks", _read_route(service.webhooks.list_webhooks), methods=["GET"]),
            Route("/_simulator/webhooks", self._add_webhook, methods=["POST"]),
            Route("/_simulator/webhooks", self._clear_webhooks, methods=["DELETE"]),
            Route("/_simulator/deliveries", _read_route(service.list_deliveries), methods=["GET"]),
            Route("/_simulator/advance", self._advance, methods=["POST"]),
        ]

    async def _advance(self, request: Request) -> Response:
        body = await self._read_object(request)
        self._service.advance(body.get("seconds"))  # type: ignore[arg-type]
        return json_response({"now": self._service.now()})

    async def _add_fault(self, request: Request) -> Response:
        body = await self._read_object(request)
        try:
            self._service.faults.add(make_fault(body))
        except FaultError as bad:
            raise invalid_request_error(str(bad)) from bad
        return Response(None, 204)

    async def _clear_faults(self, _: Request) -> Response:
        self._service.faults.clear()
        return Response(None, 204)

    async def _add_webhook(self, request: Request) -> Response:
        body = await self._read_object(request)
        try:
            webhook = make_webhook(body)
        except WebhookError as bad:
            raise invalid_request_error(str(bad)) from bad
        self._service.webhooks.add_webhook(webhook)
        return json_response(webhook.listed(), 201)

    async def _clear_webhooks(self, _: Request) -> Response:
        self._service.webhooks.clear_webhooks()
        return Response(None, 204)

    async def _read_object(self, request: Request) -> dict[str, Any]:
        body = await read_json(request, self._service.behavior.body_limit_bytes)
        if not isinstance(body, dict):
            raise invalid_request_error("The body must be a JSON object.")
        return body


def _read_route(read: Callable[[], Any]) -> Handler:
    async def handler(_: Request) -> Response:
        return json_response(read())

    return handler
