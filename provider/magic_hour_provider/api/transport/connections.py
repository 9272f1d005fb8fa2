"""How the triggerer's client sends its polls: each over a free connection of its own.

Hundreds of requests that share httpx's pool cost 18 ms each, as the pool goes through all of them at every change; one
pool per connection still costs 0.7 ms per poll, most of it in layers that a small GET has no use for. So without a
proxy h11, which speaks HTTP for httpx too, is put straight on asyncio. With a proxy it is httpx's own transport, a
pool of one connection each.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import h11
import httpx

from magic_hour_provider.api.responses import Response
from magic_hour_provider.api.transport.http import quiet

# Load balancers drop connections that were idle for a minute or more, some without a word.
_IDLE_S = 50.0
_CLOSING_S = 1.0
# A job's details are a few KiB.
_LARGEST_ANSWER = 1024 * 1024


class Getter(Protocol):
    """Sends GET requests to one host."""

    async def get(self, path: str) -> Response:
        """Ask for a path below the base URL.

        :raises httpx.RequestError: no whole answer came.
        """

    async def aclose(self) -> None:
        """Close the connections."""


class _Connection(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.idle_since = 0.0
        self._protocol = h11.Connection(h11.CLIENT)
        self._answer: asyncio.Future[Response] | None = None
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

    async def ask(self, head: h11.Request, patience: float) -> Response:
        """Send a request without a body and return the whole answer.

        :param patience: seconds to wait for it.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._head, self._heard = None, False
        self._body.clear()
        self.transport.write((self._protocol.send(head) or b"") + (self._protocol.send(h11.EndOfMessage()) or b""))
        try:
            async with asyncio.timeout(patience):
                return await self._answer
        except BaseException as error:
            # Whatever still comes belongs to nobody.
            self.transport.abort()
            if isinstance(error, TimeoutError):
                raise httpx.ReadTimeout(f"no whole answer within {patience:g} s") from None
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
            # What comes after an answer unasked must not become the next poll's.
            done = self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE
            if done and not self._protocol.trailing_data[0]:
                self._protocol.start_next_cycle()
            else:
                self.transport.close()
            self._answer.set_result(_answer(self._head, bytes(self._body)))
        elif isinstance(event, h11.ConnectionClosed):
            self._fail(httpx.RemoteProtocolError("the server disconnected without an answer"))

    def _fail(self, error: httpx.TransportError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def _answer(head: h11.Response, body: bytes) -> Response:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    return Response(head.status_code, headers, body)


class Direct:
    """Getter without a proxy.

    :param base_url: where to.
    :param headers: sent with every request.
    :param timeout: seconds for connecting, and for the whole answer.
    :param verify: certificates to trust, for https.
    :param most: connections at the most; more requests than that wait for one another.
    """

    def __init__(
        self,
        base_url: httpx.URL,
        headers: Mapping[str, str],
        timeout: httpx.Timeout,
        verify: ssl.SSLContext | None,
        most: int,
    ) -> None:
        self._host = base_url.raw_host.decode("ascii")
        self._port = base_url.port or (443 if base_url.scheme == "https" else 80)
        self._path = base_url.raw_path.rstrip(b"/")
        self._verify = verify if base_url.scheme == "https" else None
        self._timeout = timeout
        # Checked and normalized once: h11 takes them as they are from then on.
        pairs = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        self._headers = h11.Request(method="GET", target="/", headers=[(b"Host", base_url.netloc), *pairs]).headers
        self._free: deque[_Connection] = deque()
        self._all: set[_Connection] = set()
        self._places = asyncio.Semaphore(most)

    async def get(self, path: str) -> Response:
        """Ask for a path below the base URL."""
        head = h11.Request(method=b"GET", target=self._path + path.encode("ascii"), headers=self._headers)
        async with self._places:
            while True:
                connection = self._kept()
                reused = connection is not None
                if connection is None:
                    connection = await self._connect()
                try:
                    answer = await connection.ask(head, self._timeout.read or _IDLE_S)
                except (httpx.ReadError, httpx.RemoteProtocolError):
                    if reused and connection.was_stale:
                        continue
                    raise
                if connection.is_usable:
                    self._keep(connection)
                return answer

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
        while len(self._free) > 1 and now - self._free[0].idle_since >= _IDLE_S:
            self._free.popleft().transport.close()

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(self._timeout.connect):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, self._host, self._port, ssl=self._verify, happy_eyeballs_delay=0.25
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection in time") from None
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        self._all.add(connection)
        connection.lost.add_done_callback(lambda _: self._all.discard(connection))
        return connection


class Pooled:
    """Getter over transports of httpx, each with a pool of one connection.

    :param make: makes one.
    :param most: how many at the most; more requests than that wait for one another.
    """

    def __init__(
        self,
        base_url: httpx.URL,
        headers: Mapping[str, str],
        timeout: httpx.Timeout,
        make: Callable[[], httpx.AsyncBaseTransport],
        most: int,
    ) -> None:
        self._base_url = str(base_url).rstrip("/")
        self._headers = httpx.Headers(headers)
        self._extensions = {"timeout": timeout.as_dict()}
        self._make = make
        self._all: set[httpx.AsyncBaseTransport] = set()
        self._free: list[httpx.AsyncBaseTransport] = []
        self._places = asyncio.Semaphore(most)

    async def get(self, path: str) -> Response:
        """Ask for a path below the base URL."""
        request = httpx.Request("GET", self._base_url + path, headers=self._headers, extensions=self._extensions)
        async with self._places:
            if not self._free:
                self._free.append(self._make())
                self._all.add(self._free[-1])
            transport = self._free.pop()
            try:
                with quiet():
                    async with asyncio.timeout(self._extensions["timeout"]["read"]):
                        response = await transport.handle_async_request(request)
                        await response.aread()
                return Response.of(response)
            except TimeoutError:
                raise httpx.ReadTimeout("no whole answer in time") from None
            finally:
                self._free.append(transport)

    async def aclose(self) -> None:
        """Close the connections."""
        with quiet():
            for transport in self._all:
                await transport.aclose()


def proxied(proxy: str, verify: ssl.SSLContext) -> Callable[[], httpx.AsyncBaseTransport]:
    """Return what makes a transport of one connection through a proxy.

    :param verify: certificates to trust, the proxy's too.
    """
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_S)
    # httpx would make a context of its own for an https proxy, on the event loop, and takes none for another.
    through = httpx.Proxy(proxy, ssl_context=verify if httpx.URL(proxy).scheme == "https" else None)
    return lambda: httpx.AsyncHTTPTransport(verify=verify, limits=limits, proxy=through)
