"""An ASGI app that is imported and made when it is first called."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any


class LazyApp:
    """Stands for an app that only Airflow's API server needs.

    :param factory: what makes it, as ``package.module:function``.
    """

    def __init__(self, factory: str) -> None:
        self._factory = factory
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand a request to the app."""
        if self._app is None:
            self._app = resolve_name(self._factory)()
        await self._app(scope, receive, send)
