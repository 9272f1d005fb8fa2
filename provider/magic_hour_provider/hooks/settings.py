"""Settings of an Airflow connection of type ``magic_hour``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from magic_hour_provider.api.catalog import BASE_URL
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.protocol import check_api_key, check_base_url
from magic_hour_provider.api.transport.http import DEFAULT_TIMEOUT_S, TransportOptions
from magic_hour_provider.api.webhooks import split_secrets
from magic_hour_provider.polling.rate_limiter import DEFAULT_MAX_RATE

if TYPE_CHECKING:
    from airflow.sdk import Connection


@dataclass(frozen=True)
class ConnectionSettings(TransportOptions):
    """Settings of a connection.

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

    max_polls_per_second: float = DEFAULT_MAX_RATE
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_connection(cls, conn: Connection, extra: Mapping[str, Any]) -> ConnectionSettings:
        """Read a connection.

        :param extra: its extra, parsed.
        :returns: what it says.
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
