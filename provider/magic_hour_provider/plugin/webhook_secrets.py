"""The webhook secrets of Airflow's connections, without blocking the event loop and without work for strangers."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from magic_hour_provider.api.clock import CLOCK, Clock
from magic_hour_provider.api.errors import BadInputError
from magic_hour_provider.api.webhooks import split_secrets

log = logging.getLogger(__name__)

_KEPT_S = 30.0  # how long a changed secret may go unnoticed
_MISSING_KEPT_S = 5.0
_MOST_KEPT = 256
_LOOKUPS_PER_S = 10.0  # of connections that had no secret when they were last asked for
_BURST = 20.0
_PATIENCE_S = 5.0  # Magic Hour waits 10 s for an answer
_CONN_ID = re.compile(r"[\w.-]{1,250}")


@dataclass
class _Known:
    secrets: tuple[str, ...]
    until: float


class WebhookSecrets:
    """Resolves connections in threads, one look at a time for each, and keeps what it found for a short time.

    Anybody can name connections in a URL. So those that do not exist are looked up only so often, and few of them are
    remembered; a connection that has a secret never waits for them.

    :param resolve: returns the secrets of a connection; blocks.
    """

    def __init__(self, resolve: Callable[[str], tuple[str, ...]] | None = None, clock: Clock = CLOCK) -> None:
        self._resolve = resolve or secrets_of
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asked: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._lookups, self._counted_at = _BURST, clock.now()

    async def of(self, conn_id: str) -> tuple[str, ...]:
        """Return the secrets of a connection; none where it has none, does not exist, or cannot be had now."""
        if not _CONN_ID.fullmatch(conn_id):
            return ()
        known, now = self._known.get(conn_id), self._clock.now()
        if known is not None and now < known.until:
            return known.secrets
        asked = self._asked.get(conn_id)
        if asked is None:
            if not (known is not None and known.secrets) and not self._may_look_up(now):
                return ()
            asked = self._asked[conn_id] = asyncio.ensure_future(asyncio.to_thread(self._resolve, conn_id))
            asked.add_done_callback(lambda done: self._keep(conn_id, done))
        done, _ = await asyncio.wait([asked], timeout=_PATIENCE_S)
        return asked.result() if done and asked.exception() is None else ()

    def _may_look_up(self, now: float) -> bool:
        gained = max(0.0, now - self._counted_at) * _LOOKUPS_PER_S
        self._lookups, self._counted_at = min(_BURST, self._lookups + gained), now
        if self._lookups < 1:
            return False
        self._lookups -= 1
        return True

    def _keep(self, conn_id: str, done: asyncio.Future[tuple[str, ...]]) -> None:
        del self._asked[conn_id]
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            log.error("The webhook secret of the connection %r could not be read.", conn_id, exc_info=error)
            return
        secrets = done.result()
        self._known[conn_id] = _Known(secrets, self._clock.now() + (_KEPT_S if secrets else _MISSING_KEPT_S))
        self._known.move_to_end(conn_id)
        while len(self._known) > _MOST_KEPT:
            # One without a secret, if there is any: those are what strangers can make many of.
            gone = next((name for name, one in self._known.items() if not one.secrets), next(iter(self._known)))
            del self._known[gone]


def secrets_of(conn_id: str) -> tuple[str, ...]:
    """Resolve a connection and return its webhook secrets: the one in use and, while it is replaced, the next one."""
    # Imported here: this is the API server, where the Task SDK's way to connections does not lead anywhere.
    from airflow.models.connection import Connection

    try:
        extra = Connection.get_connection_from_secrets(conn_id).extra_dejson
    except AirflowNotFoundException:
        return ()
    try:
        return tuple(split_secrets(extra.get("webhook_secret")))
    except BadInputError as error:
        log.error("In the Airflow connection %r: %s", conn_id, error)
        return ()
