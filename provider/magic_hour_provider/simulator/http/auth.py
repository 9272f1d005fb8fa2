"""Authentication and access log."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.simulator.http.status_fast_path import StatusFastPath
from magic_hour_provider.simulator.http.wire import CREATED_JOB, error_response
from magic_hour_provider.simulator.service import Service

_CREATE_PATHS = frozenset(tool.path for tool in TOOLS.values())


class AuthMiddleware:
    """Refuses requests without the key, and logs all. Not a Starlette middleware: those cost more than a poll does.

    :param app: answers the requests that pass.
    :param fast_path: answers polls without the way through ``app``; returns whether it has.
    :param service: counts refused creates.
    :param api_key: the only key accepted.
    :param log: called with one line per request; None for silence.
    """

    def __init__(
        self,
        app: ASGIApp,
        fast_path: StatusFastPath,
        service: Service,
        api_key: str,
        log: Callable[[str], None] | None,
    ) -> None:
        self._app = app
        self._fast_path = fast_path
        self._service = service
        self._bearer = f"Bearer {api_key}".encode()
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if self._log is None:
            await self._authenticate(scope, receive, send)
            return
        status = "closed without a response"

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._authenticate(scope, receive, note_status)
        finally:
            # The raw path is still escaped, so that nobody can write lines of their own into the log.
            path = scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
            # What a create made, also where its response never came.
            created = f" {scope[CREATED_JOB]}" if CREATED_JOB in scope else ""
            self._log(f"{scope['method']} {path} {status}{created}")

    async def _authenticate(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if not path.startswith("/v1/"):
            await self._app(scope, receive, send)
        elif self._has_key(scope):
            if not await self._fast_path(scope, send):
                await self._app(scope, receive, send)
        else:
            self._service.count_request("unauthorized")
            if scope["method"] == "POST" and path in _CREATE_PATHS:
                self._service.count_refused_create()
            with_code = self._service.behavior.error_code == "included"
            refusal = error_response(401, "unauthorized", "The API key is missing or wrong.", with_code=with_code)
            await refusal(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"authorization":
                return hmac.compare_digest(value, self._bearer)
        return False
