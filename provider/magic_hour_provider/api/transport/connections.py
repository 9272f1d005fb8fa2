"""The event loop's transport: one shared aiohttp session per client.

Imported only where a client of an event loop is made, as importing aiohttp takes a while. httpx's pool goes through
all of its requests at every change, 1.2 ms per poll with many in flight; an aiohttp session takes 0.1 ms
(benchmarks/waiting.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from inspect import signature
from typing import Any

import aiohttp
from yarl import URL

from magic_hour_provider.api.errors import InvalidInputError, MagicHourError, RequestFailure
from magic_hour_provider.api.responses import Response, connection_error
from magic_hour_provider.api.transport import http

# Load balancers drop connections that were idle for a minute or more, some without a word.
_KEEPALIVE_S = 50.0
_CLOSE_TIMEOUT_S = 1.0
# A job's details are a few KiB.
_MAX_BODY = 1024 * 1024
# As much as httpx reads on a worker: a company's proxies add headers.
_MAX_HEADER = 64 * 1024
_LIMITS: dict[str, Any] = {"max_line_size": _MAX_HEADER, "max_field_size": _MAX_HEADER}
if "max_headers" in signature(aiohttp.ClientSession).parameters:  # since aiohttp 3.14, where it is 128
    _LIMITS["max_headers"] = 1024
_NEVER_DELIVERED = (
    aiohttp.ClientConnectorError,  # DNS, the socket, TLS, and the way to a proxy
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)


class _SafeRequest(aiohttp.ClientRequest):
    """Request that is not sent over a kept connection with a response nobody asked for.

    aiohttp would return that response for this request, as if it were this job's (seen with 3.14).
    """

    def send(self, conn: aiohttp.connector.Connection) -> Coroutine[Any, Any, aiohttp.ClientResponse]:
        if conn.protocol is None or conn.protocol.should_close:
            # aiohttp closes the connection and repeats the request once.
            raise aiohttp.ServerDisconnectedError("unexpected data on a kept connection")
        return super().send(conn)


class SharedSession:
    """One aiohttp session for all requests to one host. Make it in a running event loop.

    :param options: address, key, timeout, certificates and proxy.
    :raises InvalidInputError: the address, or the proxy's, cannot be used.
    """

    def __init__(self, options: http.TransportOptions) -> None:
        self._base_url, self._proxy = _urls(options)
        self._path = self._base_url.raw_path.rstrip("/")
        self._timeout_s = options.timeout
        # Before the whole time is over, so that the error says that nothing was sent.
        self._connect_s = min(0.9 * options.timeout, http.CONNECT_TIMEOUT_S)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=http.MAX_CONNECTIONS,
                keepalive_timeout=_KEEPALIVE_S,
                ssl=http.session_context(options) or True,  # True: aiohttp's own, which nothing uses
                # Names are resolved in a thread, one at a time, and remembered for ten seconds: a slow name server
                # blocks no poll on a kept connection, and takes one thread of the loop's executor.
                resolver=aiohttp.ThreadedResolver(),
            ),
            # Responses are small, and unpacking costs more than their transport.
            headers={
                **http.headers(options.api_key),
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=_SafeRequest,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, connect=self._connect_s),
            **_LIMITS,
        )
        # Not the connector's limit: its queue counts as time for connecting.
        self._slots = asyncio.Semaphore(http.MAX_CONNECTIONS)

    async def get(self, path: str, doing: str) -> Response:
        """Return the whole response at a path below the base URL; redirects are never followed.

        :param doing: what the request is for; it becomes part of the error.
        :raises ConnectionFailedError: the request was not sent.
        :raises ResponseLostError: no whole response came.
        """
        url = self._base_url.with_path(self._path + path, encoded=True)
        async with self._slots:
            try:
                response = await self._session.get(url, proxy=self._proxy, allow_redirects=False)
                return Response(response.status, response.headers, await _read(response))
            except (aiohttp.ClientError, TimeoutError) as error:
                raise self._translate(error, doing) from None

    def _translate(self, error: aiohttp.ClientError | TimeoutError, doing: str) -> MagicHourError:
        # The text of some errors has an address, or what was received.
        if isinstance(error, aiohttp.ClientHttpProxyError):
            words = f"HTTP {error.status} of the proxy"
        elif isinstance(error, aiohttp.ClientResponseError):
            words = error.message.partition("\n")[0].rstrip(":")
        elif isinstance(error, aiohttp.ConnectionTimeoutError):
            words = f"no connection within {self._connect_s:g} s"
        elif isinstance(error, TimeoutError):
            words = f"no whole response within {self._timeout_s:g} s"
        else:
            words = str(error)
        never_delivered = isinstance(error, _NEVER_DELIVERED)
        failure = RequestFailure.NEVER_DELIVERED if never_delivered else RequestFailure.UNKNOWN_OUTCOME
        return connection_error(f"{type(error).__name__}: {words}", failure, doing)

    async def aclose(self) -> None:
        """Close the connections."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._session.close(), _CLOSE_TIMEOUT_S)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the whole body: aiohttp keeps the connection at its end. Anything else closes it."""
    body = b""
    try:
        while not response.content.at_eof():
            body += await response.content.readany()
            if len(body) > _MAX_BODY:
                raise aiohttp.ClientPayloadError(f"the response is larger than {_MAX_BODY} bytes")
    except BaseException:
        response.close()
        raise
    return body


def _urls(options: http.TransportOptions) -> tuple[URL, URL | None]:
    """Return the base URL without a user, and the proxy's, if there is one."""
    proxy = http.proxy_of(options)
    try:
        base_url, proxy_url = URL(options.base_url).with_user(None), URL(proxy) if proxy else None
        if proxy_url is None or proxy_url.scheme in ("http", "https"):
            return base_url, proxy_url
    except ValueError:
        pass
    raise InvalidInputError(
        "The connection's host, or the proxy of the connection or the environment, is no address that a triggerer can "
        "use.",
        next_step="Use a host such as https://host, and a proxy such as http://host:3128.",
    )
