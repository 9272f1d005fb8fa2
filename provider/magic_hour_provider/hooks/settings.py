"""Reads an Airflow connection of type ``magic_hour`` into the options of the clients."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from magic_hour_provider.api.catalog import BASE_URL
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.protocol import MAX_PORT, check_api_key, check_base_url, is_host
from magic_hour_provider.api.transport.http import DEFAULT_TIMEOUT_S, TransportOptions
from magic_hour_provider.api.webhooks import split_secrets
from magic_hour_provider.polling.rate_limiter import DEFAULT_MAX_RATE

if TYPE_CHECKING:
    from airflow.sdk import Connection

_ADDRESS = "Use one such as https://host."
_LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])([:/]|$)")
"""This machine: the simulator, which has no TLS."""
_MAX_NUMBER = 86_400.0
"""Much more is no timeout: sockets take no number of any size."""
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


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
            extra = _read_extra(conn, extra)
            if not conn.conn_type and "agic_hour//" in f"{conn.host} {conn.schema}":
                # What Airflow makes of a URI whose scheme is none; its schema now holds the key.
                raise InvalidInputError("its URI must begin with magic-hour://, as a scheme has no underscore.")
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


def _read_extra(conn: Connection, extra: Any) -> Mapping[str, Any]:
    """Return the extra; where its text is no JSON, Airflow makes an empty one of it."""
    if extra is None:
        return {}
    if isinstance(extra, Mapping) and (extra or not conn.extra or _is_json(conn.extra)):
        return extra
    raise InvalidInputError(
        "its extra is no JSON object.", next_step='Leave it empty, or write one such as {"timeout": 60}.'
    )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _base_url(conn: Connection) -> str:
    host = (conn.host or "").strip().rstrip("/")
    if not host:
        return BASE_URL
    scheme, separator, rest = host.partition("://")
    if not separator:
        if re.match(r"https?:(?!\d+$)", host):
            raise InvalidInputError(f"{host!r} is not an address for Magic Hour.", next_step=_ADDRESS)
        # Airflow's URI form of a connection splits "http://host:port" into schema, host and port.
        rest = f"[{host}]" if host.count(":") > 1 and "[" not in host else host
        scheme = conn.schema or ("http" if _LOOPBACK.match(rest) else "https")
    name, slash, path = rest.partition("/")
    if conn.port and not re.search(r":\d+$", name):
        name = f"{name}:{conn.port}"
    if path == "v1":
        slash, path = "", ""  # as in Magic Hour's documentation, where it begins each path
    address = check_base_url(f"{scheme}://{name}{slash}{path}")
    if "?" in address or "#" in address:
        raise InvalidInputError(f"{address!r} is not an address for Magic Hour.", next_step=_ADDRESS)
    return address


def _positive(extra: Mapping[str, Any], name: str) -> float | None:
    value = extra.get(name)
    if value is None or value == "":
        return None
    try:
        number = 0.0 if "_" in str(value) else float(str(value))
    except ValueError:
        number = 0.0
    if not 0 < number <= _MAX_NUMBER:
        raise InvalidInputError(
            f"the extra {name!r} must be a number above 0, and at most {_MAX_NUMBER:.0f}; it is {repr(value)[:60]}."
        )
    return number


def _proxy(value: Any) -> str | None:
    """Return the proxy's address; it may hold a password, so a wrong one is not shown."""
    if value is None or value == "":
        return None
    try:
        url = httpx.URL(str(value))
        if url.scheme in ("http", "https") and is_host(url.host) and (url.port or 0) <= MAX_PORT:
            return str(value)
    except httpx.InvalidURL:
        pass
    raise InvalidInputError(
        "the extra 'proxy' is no address of a proxy.", next_step="Use one such as http://user:password@host:3128."
    )


def _verify(value: Any) -> bool | str:
    if value is None or value == "":
        return True
    if isinstance(value, str | bool) or (isinstance(value, int) and value in (0, 1)):
        return _TRUTH.get(str(value).strip().lower(), str(value))
    raise InvalidInputError(
        f"the extra 'verify' must be true, false or the path of certificates; it is {repr(value)[:60]}."
    )
