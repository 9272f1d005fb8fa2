"""The answers that a fault gives in place of the right one."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from magic_hour_provider.simulator.faults import Fault
from magic_hour_provider.simulator.wire import error

_CODES = {
    400: "invalid_request",
    401: "unauthorized",
    402: "insufficient_credits",
    404: "not_found",
    422: "unprocessable_entity",
    500: "internal_server_error",
}
_BODILESS = (204, 205, 304)


def faulty_answer(fault: Fault) -> Response:
    """Return the answer that a ``status`` or ``accept-then-status`` fault orders."""
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
    return error(status, code, fault.message or f"The simulator was told to answer {status}.", headers)


class NoAnswer(Response):
    """Closes the connection instead of answering.

    :param hold: how long to wait before that, in real seconds; shorter when the client goes away.
    """

    def __init__(self, hold: float) -> None:
        super().__init__()
        self._hold = hold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Hold, then close."""
        try:
            await asyncio.wait_for(_gone(receive), self._hold)
        except TimeoutError:
            scope["state"]["transport"].abort()
            # Until uvicorn has seen it too: it takes a missing answer on an open connection for our mistake.
            await _gone(receive)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
