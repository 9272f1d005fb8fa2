"""The gate that every request passes: the key, and the log."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.simulator.http.status_fast_path import QuickLook
from magic_hour_provider.simulator.http.wire import MADE, error
from magic_hour_provider.simulator.service import Service

_CREATE_PATHS = frozenset(tool.path for tool in TOOLS.values())


class Gate:
    """Asks for the key and writes the log. Not a Starlette middleware: those cost more than a look does.

    :param app: what is behind the gate.
    :param look: answers looks without the way through ``app``; says whether it has.
    :param service: notes refused creates in its books.
    :param api_key: the only key accepted.
    :param log: called with one line per request; None for silence.
    """

    def __init__(
        self,
        app: ASGIApp,
        look: QuickLook,
        service: Service,
        api_key: str,
        log: Callable[[str], None] | None,
    ) -> None:
        self._app = app
        self._look = look
        self._service = service
        self._bearer = f"Bearer {api_key}".encode()
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if self._log is None:
            await self._guarded(scope, receive, send)
            return
        status = "closed without an answer"

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._guarded(scope, receive, noting)
        finally:
            # The raw path is still escaped, so that nobody can write lines of their own into the log.
            path = scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
            # What a create made, also where its answer never came.
            made = f" {scope[MADE]}" if MADE in scope else ""
            self._log(f"{scope['method']} {path} {status}{made}")

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if not path.startswith("/v1/"):
            await self._app(scope, receive, send)
        elif self._has_key(scope):
            if not await self._look(scope, send):
                await self._app(scope, receive, send)
        else:
            self._service.requested("unauthorized")
            if scope["method"] == "POST" and path in _CREATE_PATHS:
                self._service.refused()
            with_code = self._service.behavior.error_code == "included"
            refusal = error(401, "unauthorized", "The API key is missing or wrong.", with_code=with_code)
            await refusal(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"authorization":
                return hmac.compare_digest(value, self._bearer)
        return False
