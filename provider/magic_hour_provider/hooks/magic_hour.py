"""A connection of type ``magic_hour`` becomes clients."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    BaseHook,
)

from magic_hour_provider import DEFAULT_CONN_ID
from magic_hour_provider.api import clock
from magic_hour_provider.api.catalog import BASE_URL
from magic_hour_provider.api.client import AsyncMagicHourClient, MagicHourClient
from magic_hour_provider.api.errors import Charge, InvalidInputError, MagicHourError
from magic_hour_provider.api.models import Job
from magic_hour_provider.api.protocol import check_api_key, check_base_url
from magic_hour_provider.api.transport.http import DEFAULT_TIMEOUT_S, Verify, ssl_context
from magic_hour_provider.api.webhooks import split_secrets
from magic_hour_provider.polling.progress import Progress
from magic_hour_provider.polling.rate_limiter import DEFAULT_MAX_RATE
from magic_hour_provider.polling.schedule import Outcome, PollState

if TYPE_CHECKING:
    from airflow.sdk import Connection

KEY_VARIABLE = "MAGIC_HOUR_API_KEY"


def to_airflow_error(error: MagicHourError) -> AirflowException:
    """Return the exception that makes Airflow do what the error allows: retry, or fail for good.

    Where nothing has been paid for, the requests that failed were free ones: an error that does not say what it means
    for the charge means that there is none.
    """
    error.charge = error.charge or Charge.NONE
    return AirflowException(str(error)) if error.retryable else AirflowFailException(str(error))


@dataclass(frozen=True)
class Settings:
    """What a connection says.

    :param api_key: the key, from the connection's password.
    :param base_url: address of the API, from the host (with schema and port, if given).
    :param timeout: seconds without progress after which a request counts as lost (extra ``timeout``).
    :param verify: certificates to trust (extra ``verify``: true, false or a path).
    :param proxy: address of a proxy (extra ``proxy``).
    :param max_polls_per_second: how many polls per second one triggerer sends at the most (extra
        ``max_polls_per_second``).
    :param webhook_secrets: what webhooks are signed with (extra ``webhook_secret``): the secret, and the next one while
        it is replaced.
    """

    api_key: str = field(repr=False)
    base_url: str = BASE_URL
    timeout: float = DEFAULT_TIMEOUT_S
    verify: Verify = True
    proxy: str | None = field(default=None, repr=False)
    max_polls_per_second: float = DEFAULT_MAX_RATE
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def read(cls, conn: Connection, extra: Mapping[str, Any]) -> Settings:
        """Read a connection and its extra.

        :raises InvalidInputError: something in it cannot work; the message names the field.
        """
        where = f"the Airflow connection {conn.conn_id!r}"
        try:
            return cls(
                api_key=check_api_key(conn.password),
                base_url=_base_url(conn),
                timeout=_positive(extra, "timeout") or DEFAULT_TIMEOUT_S,
                verify=_verify(extra.get("verify")),
                proxy=_proxy(extra.get("proxy")),
                max_polls_per_second=_positive(extra, "max_polls_per_second") or DEFAULT_MAX_RATE,
                webhook_secrets=tuple(split_secrets(extra.get("webhook_secret"))),
            )
        except InvalidInputError as error:
            raise InvalidInputError(f"In {where}: {error.message}", next_step=error.next_step) from None


def _base_url(conn: Connection) -> str:
    host = (conn.host or "").strip().rstrip("/")
    if not host:
        return BASE_URL
    if "://" not in host:
        # Airflow's URI form of a connection splits "http://host:port" into schema, host and port.
        host = f"{conn.schema or 'https'}://{host}"
    if conn.port and host.count(":") == 1:
        scheme, _, rest = host.partition("://")
        name, slash, path = rest.partition("/")
        host = f"{scheme}://{name}:{conn.port}{slash}{path}"
    return check_base_url(host)


def _positive(extra: Mapping[str, Any], name: str) -> float | None:
    value = extra.get(name)
    if value in (None, ""):
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = 0.0
    if number <= 0:
        raise InvalidInputError(f"the extra {name!r} must be a number above 0; it is {value!r}.")
    return number


def _proxy(value: Any) -> str | None:
    """Return the proxy's address; it may hold a password, so a wrong one is not shown."""
    if value in (None, ""):
        return None
    try:
        url = httpx.URL(str(value))
        if url.scheme in ("http", "https") and url.host:
            return str(value)
    except httpx.InvalidURL:
        pass
    raise InvalidInputError(
        "the extra 'proxy' is no address of a proxy.", next_step="Use one such as http://user:password@host:3128."
    )


def _verify(value: Any) -> bool | str:
    if value in (None, ""):
        return True
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "false": False, "0": False}
    return words.get(str(value).lower(), str(value))


class MagicHourHook(BaseHook):
    """Opens clients for a Magic Hour connection.

    :param magic_hour_conn_id: id of the connection: password = API key, host = another base URL (simulator, mock
        server). If the default connection does not exist, the key in ``MAGIC_HOUR_API_KEY`` is used.
    """

    conn_name_attr = "magic_hour_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "magic_hour"
    hook_name = "Magic Hour"

    def __init__(self, magic_hour_conn_id: str = DEFAULT_CONN_ID) -> None:
        super().__init__()
        self.magic_hour_conn_id = magic_hour_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's own fields, for Airflow before 3.2 (later ones read the provider info)."""
        # Only Airflow's API server has these, or stands in for them.
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import StringField

        from magic_hour_provider.get_provider_info import get_provider_info

        return {
            name: StringField(
                lazy_gettext(field["label"]),
                widget=BS3TextFieldWidget(),
                description=field["description"],
                default=str(field["schema"].get("default", "")),
            )
            for name, field in get_provider_info()["connection-types"][0]["conn-fields"].items()
        }

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the connection form, for Airflow before 3.2 (later ones read the provider info)."""
        from magic_hour_provider.get_provider_info import get_provider_info

        behaviour = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
        return {
            "hidden_fields": behaviour["hidden-fields"],
            "relabeling": behaviour["relabeling"],
            "placeholders": behaviour["placeholders"],
        }

    def _without_connection(self, error: Exception) -> Settings:
        """Fall back to the key in the environment, for the default connection only."""
        key = os.environ.get(KEY_VARIABLE)
        if self.magic_hour_conn_id == DEFAULT_CONN_ID and key:
            return Settings(api_key=check_api_key(key))
        raise InvalidInputError(
            f"There is no Airflow connection {self.magic_hour_conn_id!r}.",
            next_step="Make one of type Magic Hour with your API key as its password (or, for "
            f"{DEFAULT_CONN_ID!r}, set {KEY_VARIABLE} on every worker and triggerer).",
        ) from error

    def settings(self) -> Settings:
        """Resolve the connection.

        :raises InvalidInputError: there is none, or it cannot work.
        """
        try:
            conn = self.get_connection(self.magic_hour_conn_id)
        except AirflowNotFoundException as error:
            return self._without_connection(error)
        return Settings.read(conn, conn.extra_dejson)

    async def async_settings(self) -> Settings:
        """Resolve the connection without blocking the event loop; as :meth:`settings`."""
        import asyncio

        from airflow.providers.common.compat import connection as compat

        try:
            conn = await compat.get_async_connection(self.magic_hour_conn_id)
        except AirflowNotFoundException as error:
            return self._without_connection(error)
        if hasattr(compat, "get_async_extra_dejson"):
            extra = await compat.get_async_extra_dejson(conn)
        else:
            # common-compat as Airflow 3.1 and 3.2 pin it: there reading the extra masks its secrets synchronously.
            extra = await asyncio.to_thread(lambda: conn.extra_dejson)
        return Settings.read(conn, extra)

    def get_conn(self, settings: Settings | None = None) -> MagicHourClient:
        """Open the client for a worker; close it after use.

        :param settings: what the connection says, if it has been resolved already.
        """
        s = settings or self.settings()
        return MagicHourClient(
            api_key=s.api_key, base_url=s.base_url, timeout=s.timeout, verify=s.verify, proxy=s.proxy
        )

    async def get_async_conn(
        self, *, settings: Settings | None = None, max_connections: int = 32
    ) -> AsyncMagicHourClient:
        """Open the client for a triggerer; the certificates are read off the event loop, as that takes long.

        :param settings: what the connection says, where that is known already.
        :param max_connections: sockets kept at the most.
        """
        import asyncio

        s = settings or await self.async_settings()
        return AsyncMagicHourClient(
            api_key=s.api_key,
            base_url=s.base_url,
            timeout=s.timeout,
            verify=await asyncio.to_thread(ssl_context, s.verify),
            proxy=s.proxy,
            max_connections=max_connections,
        )

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the account, which costs nothing, and show its plan and credits."""
        try:
            with self.get_conn() as client:
                account = client.get_account()
        except MagicHourError as error:
            return False, str(error)
        credit = "usage-based" if account.usage_based else f"{account.credits} credits"
        return True, f"Connected to Magic Hour: plan {account.tier}, {credit}."


def poll_until(
    client: MagicHourClient,
    kind: str,
    job_id: str,
    wait: PollState,
    *,
    first: float,
    until: float,
    on_poll: Callable[[Job | MagicHourError, str | None], None],
) -> tuple[Job | MagicHourError | None, Outcome | None]:
    """Poll a job on this worker until it ends, or until the next poll would fall after ``until``.

    :param wait: decides when to poll; see :class:`magic_hour_provider.polling.schedule.PollState`.
    :param first: time of the first poll, in seconds since 1970.
    :param until: latest time of a poll, in seconds since 1970.
    :param on_poll: called with what each poll saw, and the sentence for the task's log if that is news.
    :returns: what the last poll saw (None: no poll was due), and the outcome, or None while the job is active.
    """
    observation: Job | MagicHourError | None = None
    # The time as it was at the start, counted on by a clock that nobody sets: if the machine's jumps meanwhile, no
    # poll is lost and none is made too soon.
    ahead = clock.current().now() - clock.current().steady()
    progress = Progress(job_id, wait, clock.current().steady() + ahead)
    due = first
    while due <= until:
        if (pause := due - (clock.current().steady() + ahead)) > 0:
            clock.current().sleep(pause)
        try:
            observation = client.get_job(kind, job_id)
        except MagicHourError as error:
            observation = error
        now = clock.current().steady() + ahead
        decided = wait.next_action(observation, now)
        on_poll(observation, progress.on_poll(observation, decided, now))
        if isinstance(decided, Outcome):
            return observation, decided
        due = decided
    return observation, None
