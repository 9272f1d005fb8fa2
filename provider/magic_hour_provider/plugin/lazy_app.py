"""An ASGI application that is imported and created by its first request."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from magic_hour_provider.airflow_internals import MissingInternalError


class LazyApp:
    """Stands in for an application that only Airflow's API server needs.

    :param factory: what creates it, as ``package.module:function``.
    """

    def __init__(self, factory: str) -> None:
        self._factory = factory
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request to the application."""
        if self._app is None:
            try:
                self._app = resolve_name(self._factory)()
            except MissingInternalError as error:
                self._app = _make_closed_app(str(error))
        await self._app(scope, receive, send)


def _make_closed_app(reason: str) -> Any:
    """Return what answers in the place of an application that this Airflow lacks something for."""
    from starlette.responses import JSONResponse

    return JSONResponse({"detail": reason}, 503)
