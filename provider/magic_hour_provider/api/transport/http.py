"""HTTP options of both clients: address, headers, timeouts, TLS contexts, proxies; and httpx's log lines dropped."""

from __future__ import annotations

import logging
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urljoin
from urllib.request import getproxies, proxy_bypass

import httpx

from magic_hour_provider import __version__
from magic_hour_provider.api import protocol
from magic_hour_provider.api.catalog import BASE_URL
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.responses import Response

DEFAULT_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 32
"""Connections of an event loop's client at the most; more requests wait for one another."""
USER_AGENT = f"airflow-provider-magic-hour/{__version__}"
"""Who asks, also for a file behind a link."""

Verify = bool | str | ssl.SSLContext


@dataclass(frozen=True)
class TransportOptions:
    """How to reach Magic Hour: what both clients, and their connection in Airflow, have in common.

    :param api_key: the key; sent to ``base_url`` only, never to storage.
    :param base_url: another address: the simulator, or Magic Hour's mock server.
    :param timeout: seconds without progress (event loop: without the whole response) after which a request is lost.
    :param verify: certificates to trust: True, False, a path, or an SSL context to share.
    :param proxy: address of a proxy; None for what the environment says.
    """

    api_key: str = field(repr=False)
    base_url: str = BASE_URL
    timeout: float = DEFAULT_TIMEOUT_S
    verify: Verify = True
    proxy: str | None = field(default=None, repr=False)


class AsyncTransport(Protocol):
    """Sends GET requests to one host from an event loop."""

    async def get(self, path: str, doing: str) -> Response:
        """Return the whole response at a path below the base URL.

        :param doing: what the request is for; it becomes part of the error.
        :raises ConnectionFailedError: the request was not sent.
        :raises ResponseLostError: no whole response came.
        """

    async def aclose(self) -> None:
        """Close the connections."""


# httpx logs every URL it requests at INFO, the signature of a signed link included, and one line per poll besides.
# While one of our requests is under way its lines are dropped; nobody else's are touched.
_ours: ContextVar[bool] = ContextVar("magic_hour_request", default=False)


class _DropOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 (the signature is logging's)
        return not _ours.get()


_EVERYWHERE = "Each worker, each triggerer and the API server needs the certificates in this place, and may read them."
_DROP = _DropOurs()


@contextmanager
def quiet(*more: str) -> Iterator[None]:
    """Drop what httpx and httpcore log inside.

    :param more: names of other loggers.
    """
    # Filters are not inherited by child loggers, and logging may be configured again at any time: each use makes sure.
    for name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", *more):
        logging.getLogger(name).addFilter(_DROP)
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


def ssl_context(verify: Verify = True) -> ssl.SSLContext:
    """Return a TLS context that all clients of the process share: reading the certificates takes 20 ms each time.

    :param verify: True for the usual certificates, False for none, or the path of a file or folder with others.
    :raises InvalidInputError: the path does not exist.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    environment = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    file = verify if isinstance(verify, str) else environment[0]
    try:
        # A renewed file is read again: a triggerer runs for months.
        changed = Path(file).stat().st_mtime_ns if file else 0
    except (OSError, ValueError):  # no such path, or none at all
        changed = 0
    return _load_context(verify, *environment, changed)


@lru_cache(maxsize=8)
def _load_context(verify: bool | str, *key: object) -> ssl.SSLContext:  # noqa: ARG001 (the cache compares it)
    if isinstance(verify, str):
        place = Path(verify)
        try:
            exists = place.exists()
        except OSError:  # not even a name of a file
            exists = False
        if not exists:
            raise InvalidInputError(
                f"The connection's 'verify' names {verify!r}, which does not exist on this machine.",
                next_step=_EVERYWHERE,
            )
    try:
        if isinstance(verify, str):
            return ssl.create_default_context(
                cafile=str(place) if place.is_file() else None, capath=str(place) if place.is_dir() else None
            )
        return httpx.create_ssl_context(verify=verify)
    except OSError as error:
        source = "The connection's 'verify'" if isinstance(verify, str) else "The environment's SSL_CERT_FILE"
        path = verify if isinstance(verify, str) else os.environ.get("SSL_CERT_FILE")
        raise InvalidInputError(
            f"{source} names {path!r}, from which no certificates can be read: {error.strerror or error}.",
            next_step=_EVERYWHERE,
        ) from None


def api_context(options: TransportOptions) -> ssl.SSLContext:
    """Return the TLS context for the API; for an address without TLS one that trusts nobody, which costs nothing."""
    # A path that is wrong is said now, not when the files of a paid job are downloaded.
    if _uses_tls(options) or isinstance(options.verify, str):
        return ssl_context(options.verify)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def session_context(options: TransportOptions) -> ssl.SSLContext | None:
    """Return the TLS context of an event loop's session; None where neither the API nor the proxy uses TLS."""
    return ssl_context(options.verify) if _uses_tls(options) else None


def _uses_tls(options: TransportOptions) -> bool:
    """Whether the API or the proxy before it uses TLS."""
    return any(one.lower().startswith("https://") for one in (options.base_url, proxy_of(options)) if one)


def new_client(**options: Any) -> httpx.Client:
    """Make a client of a worker.

    :param options: as of :class:`httpx.Client`.
    :raises InvalidInputError: the environment's proxies cannot be used.
    """
    try:
        return httpx.Client(**options)
    except (ImportError, ValueError, httpx.InvalidURL):
        # Not its text: a proxy's address may hold a password.
        raise InvalidInputError(
            "The proxy of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY) cannot be used on a worker.",
            next_step="Use a proxy such as http://host:3128 (a SOCKS proxy needs the package httpx[socks]); NO_PROXY "
            "takes names and addresses without brackets, such as ::1.",
        ) from None


UNUSABLE_ADDRESS = (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError)
"""What httpx raises for an address to which nothing can be sent; Python itself refuses some names of hosts."""


def join_address(url: str, location: str) -> str:
    """Return the address to which a redirect leads.

    :param url: the address that was asked.
    :param location: of the response; an absolute one stays as it is, byte for byte.
    :raises httpx.InvalidURL: it is none.
    """
    try:
        return location if re.match("[a-z]+://", location) else urljoin(url, location)
    except ValueError as error:
        raise httpx.InvalidURL(str(error)) from None


def headers(api_key: str) -> dict[str, str]:
    """Return the headers of a request to Magic Hour, which carries the key; no request to a storage has them."""
    key = protocol.check_api_key(api_key)
    return {"Authorization": f"Bearer {key}", "User-Agent": USER_AGENT, "X-MagicHour-Source": "airflow"}


def timeout(seconds: float) -> httpx.Timeout:
    """Return httpx's timeouts: connecting has a shorter one."""
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_S))


def proxy_of(options: TransportOptions) -> str | None:
    """Return the proxy: that of the options, else of the environment (``HTTPS_PROXY``, ``NO_PROXY`` and so on).

    httpx does the same by itself.
    """
    if options.proxy:
        return options.proxy
    url = httpx.URL(options.base_url)
    # NO_PROXY may name a host alone, or with its port.
    if proxy_bypass(url.host) or proxy_bypass(url.netloc.decode("ascii")):
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
