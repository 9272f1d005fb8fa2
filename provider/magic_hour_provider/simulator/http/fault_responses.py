"""Responses with an injected fault: another status, no response, or the right one cut, changed or slow."""

from __future__ import annotations

import math

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from magic_hour_provider.simulator.faults.catalog import Fault
from magic_hour_provider.simulator.http.connections import OpenConnections
from magic_hour_provider.simulator.http.wire import error_response

_CODES = {
    400: "invalid_request",
    401: "unauthorized",
    402: "insufficient_credits",
    403: "forbidden",
    404: "not_found",
    422: "unprocessable_entity",
    500: "internal_server_error",
}
_BODILESS = (204, 205, 304)
_FLIPPED = bytes(255 - byte for byte in range(256))
_PART_S = 0.05
_CUT = ("close-mid-body", "stall-mid-body", "truncated")
CORRUPTIONS = frozenset({*_CUT, "corrupt", "slow"})
"""The faults that spoil the body of a response."""


def status_response(fault: Fault, *, with_code: bool) -> Response:
    """Return the response of a ``status`` or ``accept-then-status`` fault.

    :param with_code: whether errors have a code by default.
    """
    status = int(fault.status or 500)
    headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
    if status in _BODILESS:
        return Response(None, status, headers)
    if fault.html:
        page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1>{fault.body or ''}</body></html>"
        return Response(page, status, headers, "text/html")
    if fault.body is not None:
        kind = "application/json" if fault.body[:1] in ("{", "[") else "text/plain"
        return Response(fault.body, status, headers, kind)
    code = fault.code or _CODES.get(status, "error")
    message = fault.message or f"An injected fault responds with {status}."
    return error_response(status, code, message, headers, with_code=with_code or fault.code is not None)


def invalid_link_response(code: str) -> Response:
    """Return the response of a storage service to a link that is not valid, in its own XML."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    return Response(body, 403, media_type="application/xml")


class NoResponse(Response):
    """Closes the connection instead of answering.

    :param connections: the open connections.
    :param hold_seconds: how long to wait before that, in real seconds; shorter when the client disconnects.
    """

    def __init__(self, connections: OpenConnections, hold_seconds: float) -> None:
        super().__init__()
        self._connections = connections
        self._hold_seconds = hold_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Hold, then close."""
        await self._connections.hold_and_close(scope, receive, self._hold_seconds)


class CorruptedResponse(Response):
    """Sends a response as a fault has it: cut, changed or slow.

    :param connections: the open connections.
    :param response: the right response.
    :param fault: one of :data:`CORRUPTIONS`.
    """

    def __init__(self, connections: OpenConnections, response: Response, fault: Fault) -> None:
        super().__init__(status_code=response.status_code)
        self._connections = connections
        self._response = response
        self._fault = fault
        self._half = 0  # where the good part of the body ends
        self._sent = 0
        self._over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""

        async def send_corrupted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                self._half = int(headers["content-length"]) // 2
                if self._fault.fault == "truncated":
                    headers["content-length"] = str(self._half)
                await send(message)
            elif message["type"] == "http.response.body":
                await self._send_body(message, scope, receive, send)

        await self._response(scope, receive, send_corrupted)

    async def _send_body(self, message: Message, scope: Scope, receive: Receive, send: Send) -> None:
        body: bytes = message.get("body", b"")
        good = max(self._half - self._sent, 0)
        self._sent += len(body)
        name = self._fault.fault
        if name == "corrupt":
            await send({**message, "body": body[:good] + body[good:].translate(_FLIPPED)})
        elif name == "slow":
            await self._send_slowly(body, bool(message.get("more_body")), scope, send)
        elif not self._over:
            self._over = self._sent >= self._half
            last = self._over and name == "truncated"
            await send({"type": "http.response.body", "body": body[:good], "more_body": not last})
            if self._over and not last:
                await self._connections.hold_and_close(scope, receive, self._fault.hold_s)

    async def _send_slowly(self, body: bytes, more: bool, scope: Scope, send: Send) -> None:
        speed = float(self._fault.bytes_per_second or 1)
        step = max(1, math.ceil(speed * _PART_S))
        for start in range(0, len(body), step):
            part = body[start : start + step]
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await self._connections.pause(scope, len(part) / speed)
        if not more:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
