"""The webhook secrets of Airflow's connections, without blocking the event loop and without work for strangers."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from magic_hour_provider import DEFAULT_CONN_ID
from magic_hour_provider.api.clock import CLOCK, Clock
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.webhooks import split_secrets

log = logging.getLogger(__name__)

_KEPT_S = 30.0  # how long a changed secret may go unnoticed
_MISSING_KEPT_S = 5.0
_MOST_KEPT = 256
_LOOKUPS_PER_S = 10.0  # of names that nobody expects
_BURST = 20.0
_THREADS = 2
_PATIENCE_S = 5.0  # Magic Hour waits 10 s for an answer
_CONN_ID = re.compile(r"[\w.-]{1,250}")


@dataclass
class _Known:
    secrets: tuple[str, ...]
    until: float


class WebhookSecrets:
    """Resolves connections in threads, one look at a time for each, and keeps what it found for a short time.

    Anybody can name connections in a URL. So names that nobody expects are looked up only so often, in threads of their
    own, and few of them are remembered. Expected are the default connection, those of our type that Airflow's database
    has, and whatever had a secret once: they never wait for strangers.

    :param resolve: returns the secrets of a connection; blocks.
    :param named: returns the names of the connections in the database; blocks.
    """

    def __init__(
        self,
        resolve: Callable[[str], tuple[str, ...]] | None = None,
        clock: Clock = CLOCK,
        named: Callable[[], frozenset[str]] | None = None,
    ) -> None:
        self._resolve = resolve or load_webhook_secrets
        self._named = named or names_in_the_database
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asked: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._had_one: set[str] = set()
        self._names: frozenset[str] = frozenset()
        self._names_until = 0.0
        self._naming: asyncio.Future[frozenset[str]] | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="magic-hour-secrets")
        self._threads_for_strangers = ThreadPoolExecutor(_THREADS, thread_name_prefix="magic-hour-strangers")
        self._strangers = 0
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
            expected = await self._expects(conn_id, now)
            asked = self._asked.get(conn_id)
        if asked is None:
            if not expected and not self._may_look_up(now):
                return ()
            asked = self._ask(conn_id, expected)
        done, _ = await asyncio.wait([asked], timeout=_PATIENCE_S)
        return asked.result() if done and asked.exception() is None else ()

    async def _expects(self, conn_id: str, now: float) -> bool:
        if conn_id == DEFAULT_CONN_ID or conn_id in self._had_one or conn_id in self._names:
            return True
        if now >= self._names_until and self._naming is None:
            self._naming = asyncio.get_running_loop().run_in_executor(self._threads, self._named)
            self._naming.add_done_callback(self._keep_names)
        if self._naming is not None:
            await asyncio.wait([self._naming], timeout=_PATIENCE_S)
        return conn_id in self._names

    def _keep_names(self, done: asyncio.Future[frozenset[str]]) -> None:
        self._naming, self._names_until = None, self._clock.now() + _KEPT_S
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            log.error("The names of Airflow's connections could not be read.", exc_info=error)
            return
        self._names = done.result()

    def _ask(self, conn_id: str, expected: bool) -> asyncio.Future[tuple[str, ...]]:
        threads = self._threads if expected else self._threads_for_strangers
        asked = asyncio.get_running_loop().run_in_executor(threads, self._resolve, conn_id)
        self._strangers += not expected

        def ended(done: asyncio.Future[tuple[str, ...]]) -> None:
            self._strangers -= not expected
            self._keep(conn_id, done)

        self._asked[conn_id] = asked
        asked.add_done_callback(ended)
        return asked

    def _may_look_up(self, now: float) -> bool:
        if self._strangers >= _BURST:  # still under way: a store of secrets that is slow
            return False
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
        if secrets:
            self._had_one.add(conn_id)
        self._known[conn_id] = _Known(secrets, self._clock.now() + (_KEPT_S if secrets else _MISSING_KEPT_S))
        self._known.move_to_end(conn_id)
        while len(self._known) > _MOST_KEPT:
            # One without a secret, if there is any: those are what strangers can make many of.
            gone = next((name for name, one in self._known.items() if not one.secrets), next(iter(self._known)))
            del self._known[gone]


def names_in_the_database() -> frozenset[str]:
    """Return the names of Magic Hour's connections in Airflow's database."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        return frozenset(session.scalars(select(Connection.conn_id).where(Connection.conn_type == "magic_hour")))


def load_webhook_secrets(conn_id: str) -> tuple[str, ...]:
    """Resolve a connection and return its webhook secrets: the one in use and, while it is replaced, the next one."""
    # Imported here: this is the API server, where the Task SDK's way to connections does not lead anywhere.
    from airflow.models.connection import Connection

    try:
        extra = Connection.get_connection_from_secrets(conn_id).extra_dejson
    except AirflowNotFoundException:
        return ()
    try:
        return tuple(split_secrets(extra.get("webhook_secret")))
    except InvalidInputError as error:
        log.error("In the Airflow connection %r: %s", conn_id, error)
        return ()
