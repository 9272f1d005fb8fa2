"""What both clients share of HTTP: headers, timeouts, certificates, proxies, and silence in the logs."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import httpx

from magic_hour_provider.api import protocol
from magic_hour_provider.api.errors import InvalidInputError

DEFAULT_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
USER_AGENT = "airflow-provider-magic-hour"

Verify = bool | str | ssl.SSLContext

# httpx logs every URL it asks for at INFO, the signature of a signed link included, and one line per poll besides.
# While one of our requests is under way its lines are dropped; nobody else's are touched.
_ours: ContextVar[bool] = ContextVar("magic_hour_request", default=False)


class _DropOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 (the signature is logging's)
        return not _ours.get()


_DROP = _DropOurs()


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what httpx and httpcore log inside."""
    # Filters are not inherited by child loggers, and logging may be set up anew at any time: each use makes sure.
    for name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy"):
        logging.getLogger(name).addFilter(_DROP)
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


def ssl_context(verify: Verify = True) -> ssl.SSLContext:
    """Return a context that many clients share: reading the certificates takes tens of milliseconds each time.

    :param verify: True for the usual certificates, False for none, or the path of a file or folder with others.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    if isinstance(verify, str):
        if not Path(verify).exists():
            raise InvalidInputError(
                f"The connection's 'verify' names {verify!r}, which does not exist on this machine."
            )
        place = Path(verify)
        return ssl.create_default_context(
            cafile=str(place) if place.is_file() else None, capath=str(place) if place.is_dir() else None
        )
    return httpx.create_ssl_context(verify=verify)


def headers(api_key: str) -> dict[str, str]:
    """Return the headers of a request that carries the key."""
    return {"Authorization": f"Bearer {protocol.check_api_key(api_key)}", "User-Agent": USER_AGENT}


def timeout(seconds: float) -> httpx.Timeout:
    """Return httpx's timeouts: connecting has a shorter one."""
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_S))


def environment_proxy(url: httpx.URL) -> str | None:
    """Return the proxy that the environment (``HTTPS_PROXY``, ``NO_PROXY`` and so on) names for an address.

    httpx does the same, but only for transports that it makes itself.
    """
    # NO_PROXY may name a host alone, or with its port.
    if proxy_bypass(url.host) or proxy_bypass(url.netloc.decode("ascii")):
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
