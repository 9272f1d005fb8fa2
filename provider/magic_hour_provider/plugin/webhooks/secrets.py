"""Webhook secrets of the connections in ``[magic_hour] webhook_conn_ids``, loaded off the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from airflow.providers.common.compat.sdk import AirflowNotFoundException, conf

from magic_hour_provider import DEFAULT_CONN_ID, clock
from magic_hour_provider.airflow_internals import MissingInternalError
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.webhooks import split_secrets

log = logging.getLogger(__name__)

_CACHE_S = 30.0  # how long a changed secret may go unnoticed
_THREADS = 2
_TIMEOUT_S = 5.0  # for one lookup; Magic Hour waits 10 s for a response


class WebhookSecrets:
    """Cache of webhook secrets. Loads them in threads, one lookup at a time for each connection.

    Anybody can put a connection id into a URL: only the configured ones are ever looked up.

    :param conn_ids: the configured connections; by default those of the setting.
    :param load: returns the secrets of a connection; blocks.
    """

    def __init__(
        self,
        conn_ids: frozenset[str] | None = None,
        load: Callable[[str], tuple[str, ...]] | None = None,
    ) -> None:
        self._conn_ids = get_webhook_conn_ids() if conn_ids is None else conn_ids
        self._load = load or load_webhook_secrets
        self._cached: dict[str, tuple[tuple[str, ...], float]] = {}
        self._lookups: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="magic-hour-secrets")

    async def get(self, conn_id: str) -> tuple[str, ...]:
        """Return the secrets of a connection; none if it is not configured, has none, or cannot be loaded now."""
        if conn_id not in self._conn_ids:
            return ()
        secrets, expires_at = self._cached.get(conn_id, ((), float("-inf")))
        if clock.current().monotonic() < expires_at:
            return secrets
        lookup = self._lookups.get(conn_id) or self._start_lookup(conn_id)
        done, _ = await asyncio.wait([lookup], timeout=_TIMEOUT_S)
        return lookup.result() if done and lookup.exception() is None else ()

    def _start_lookup(self, conn_id: str) -> asyncio.Future[tuple[str, ...]]:
        lookup = asyncio.get_running_loop().run_in_executor(self._threads, self._load, conn_id)
        self._lookups[conn_id] = lookup
        lookup.add_done_callback(lambda _: self._finish_lookup(conn_id, lookup))
        return lookup

    def _finish_lookup(self, conn_id: str, lookup: asyncio.Future[tuple[str, ...]]) -> None:
        del self._lookups[conn_id]
        if lookup.cancelled():
            return
        if (error := lookup.exception()) is not None:
            log.error("The webhook secret of the connection %r could not be read.", conn_id, exc_info=error)
            return
        self._cached[conn_id] = (lookup.result(), clock.current().monotonic() + _CACHE_S)


def get_webhook_conn_ids() -> frozenset[str]:
    """Return the connection ids of ``[magic_hour] webhook_conn_ids``."""
    setting = conf.get("magic_hour", "webhook_conn_ids", fallback=DEFAULT_CONN_ID) or ""
    return frozenset(conn_id.strip() for conn_id in setting.split(",") if conn_id.strip())


def load_webhook_secrets(conn_id: str) -> tuple[str, ...]:
    """Return a connection's webhook secrets: the current one and, while it is replaced, the next one. Blocks."""
    # Imported here: this is the API server, where the Task SDK's way to connections leads nowhere.
    try:
        from magic_hour_provider.plugin.airflow_internals import Connection
    except MissingInternalError:
        return ()
    try:
        extra = Connection.get_connection_from_secrets(conn_id).extra_dejson
    except AirflowNotFoundException:
        return ()
    try:
        return tuple(split_secrets(extra.get("webhook_secret")))
    except InvalidInputError as error:
        log.error("In the Airflow connection %r: %s", conn_id, error)
        return ()


def find_account_difference(conn_id: str, other: str) -> str | None:
    """Return why a connection is not known to be of another one's account; None: it is. Blocks.

    It is where it is the same, or shares a webhook secret: one webhook serves a whole account.
    """
    if conn_id == other:
        return None
    secrets = load_webhook_secrets(conn_id)
    if not secrets:
        return f"its connection {conn_id!r} has no webhook_secret here"
    if set(secrets).isdisjoint(load_webhook_secrets(other)):
        return f"its connection {conn_id!r} has another webhook_secret than {other!r}"
    return None
