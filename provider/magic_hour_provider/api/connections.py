"""The transports of the triggerer's client: each request gets a free connection of its own.

Hundreds of requests that share httpx's pool cost 18 ms each, as the pool goes through all of them at every change; one
pool per connection still costs 0.7 ms per look, most of it in layers that a small GET has no use for. So without a
proxy h11, which speaks HTTP for httpx too, is put straight on asyncio: 0.2 ms per look. With a proxy it is httpx's own
transport, a pool of one connection each.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

import h11
import httpx

from magic_hour_provider.api.http import quiet

# Load balancers drop connections that were idle for a minute or more, some without a word.
_IDLE_S = 50.0
_CLOSING_S = 1.0
# A job's details are a few KiB.
_LARGEST_ANSWER = 1024 * 1024


def _timeout(request: httpx.Request, phase: str) -> float | None:
    timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
    return timeouts.get(phase)


class _Connection(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.idle_since = 0.0
        self._protocol = h11.Connection(h11.CLIENT)
        self._answer: asyncio.Future[httpx.Response] | None = None
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._heard = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._heard = True
        self._receive(data)

    def eof_received(self) -> None:
        self._receive(b"")

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        self._fail(httpx.ReadError(str(error or "the connection was closed before the answer was whole")))

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent."""
        return not self.transport.is_closing() and self._protocol.our_state is h11.IDLE

    @property
    def was_stale(self) -> bool:
        """Whether the other side had closed it before it read the request: nothing of an answer has come."""
        return not self._heard

    async def ask(self, request: httpx.Request) -> httpx.Response:
        """Send a request without a body and return the whole answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._head, self._heard = None, False
        self._body.clear()
        head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
        self.transport.write((self._protocol.send(head) or b"") + (self._protocol.send(h11.EndOfMessage()) or b""))
        patience = _timeout(request, "read")
        try:
            async with asyncio.timeout(patience):
                return await self._answer
        except BaseException as error:
            # Whatever still comes belongs to nobody.
            self.transport.abort()
            if isinstance(error, TimeoutError):
                raise httpx.ReadTimeout(f"no whole answer within {patience:g} s", request=request) from None
            raise
        finally:
            self._answer = None

    def _receive(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.transport.abort()
            return
        try:
            self._protocol.receive_data(data)
            while not self._answer.done():
                event = self._protocol.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                self._take(event)
        except h11.RemoteProtocolError as error:
            self._fail(httpx.RemoteProtocolError(str(error)))

    def _take(self, event: object) -> None:
        if isinstance(event, h11.Response):
            self._head = event
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > _LARGEST_ANSWER:
                self._fail(httpx.RemoteProtocolError(f"the answer is larger than {_LARGEST_ANSWER} bytes"))
        elif isinstance(event, h11.EndOfMessage) and self._head is not None and self._answer is not None:
            if self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE:
                self._protocol.start_next_cycle()
            else:
                self.transport.close()
            try:
                response = httpx.Response(
                    self._head.status_code, headers=self._head.headers.raw_items(), content=bytes(self._body)
                )
            except httpx.DecodingError as error:
                self._fail(error)
            else:
                self._answer.set_result(response)
        elif isinstance(event, h11.ConnectionClosed):
            self._fail(httpx.RemoteProtocolError("the server disconnected without an answer"))

    def _fail(self, error: httpx.TransportError | httpx.DecodingError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class DirectTransport(httpx.AsyncBaseTransport):
    """Sends requests without a body to one origin.

    :param ssl_context: certificates to trust; None for plain HTTP.
    :param most: connections at the most; more requests than that wait for one another.
    """

    def __init__(self, ssl_context: ssl.SSLContext | None, most: int) -> None:
        self._ssl_context = ssl_context
        self._free: deque[_Connection] = deque()
        self._all: set[_Connection] = set()
        self._places = asyncio.Semaphore(most)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return the whole answer."""
        async with self._places:
            while True:
                connection = self._kept()
                reused = connection is not None
                if connection is None:
                    connection = await self._connect(request)
                try:
                    response = await connection.ask(request)
                except (httpx.ReadError, httpx.RemoteProtocolError):
                    if reused and connection.was_stale:
                        continue
                    raise
                if connection.is_usable:
                    self._keep(connection)
                return response

    async def aclose(self) -> None:
        """Close the connections."""
        for connection in self._all:
            connection.transport.close()
        if self._all:
            await asyncio.wait([connection.lost for connection in self._all], timeout=_CLOSING_S)
        for connection in list(self._all):
            connection.transport.abort()
        self._free.clear()
        await asyncio.sleep(0)

    def _kept(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._free:
            connection = self._free.pop()
            if connection.is_usable and now - connection.idle_since < _IDLE_S:
                return connection
            connection.transport.close()
        return None

    def _keep(self, connection: _Connection) -> None:
        now = connection.idle_since = asyncio.get_running_loop().time()
        self._free.append(connection)
        # The last one used is used next, so that those that are too many grow old and go.
        while now - self._free[0].idle_since >= _IDLE_S:
            self._free.popleft().transport.close()

    async def _connect(self, request: httpx.Request) -> _Connection:
        secure = request.url.scheme == "https"
        host = request.url.raw_host.decode("ascii")
        try:
            async with asyncio.timeout(_timeout(request, "connect")):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection,
                    host,
                    request.url.port or (443 if secure else 80),
                    ssl=self._ssl_context if secure else None,
                    happy_eyeballs_delay=0.25,
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection in time", request=request) from None
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        self._all.add(connection)
        connection.lost.add_done_callback(lambda _: self._all.discard(connection))
        return connection


class PooledTransport(httpx.AsyncBaseTransport):
    """Hands each request to a free transport of httpx, each a pool of one connection.

    :param make: makes one.
    :param most: how many at the most; more requests than that wait for one another.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], most: int) -> None:
        self._make = make
        self._all: list[httpx.AsyncBaseTransport] = []
        self._free: list[httpx.AsyncBaseTransport] = []
        self._places = asyncio.Semaphore(most)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return the whole answer."""
        async with self._places:
            if not self._free:
                self._free.append(self._make())
                self._all.append(self._free[-1])
            transport = self._free.pop()
            try:
                with quiet():
                    response = await transport.handle_async_request(request)
                    await response.aread()
                    await response.aclose()
                return response
            finally:
                self._free.append(transport)

    async def aclose(self) -> None:
        """Close the connections."""
        with quiet():
            for transport in self._all:
                await transport.aclose()


def transport_to(*, verify: ssl.SSLContext | None, proxy: str | None, most: int) -> httpx.AsyncBaseTransport:
    """Return the transport for one host.

    :param verify: certificates to trust; None for plain HTTP without a proxy.
    :param proxy: address of a proxy, or None.
    :param most: connections at the most.
    """
    if proxy is None:
        return DirectTransport(verify, most)
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_S)
    through = httpx.Proxy(proxy, ssl_context=verify)
    return PooledTransport(lambda: httpx.AsyncHTTPTransport(verify=verify or False, limits=limits, proxy=through), most)
